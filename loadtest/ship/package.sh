# Installs, upgrades and removes the packages as their users would, on a booted Debian without
# anything else. It ends with the first command that fails.
# shellcheck shell=bash disable=SC2154 # the trap assigns the code

set -o pipefail

fact() { echo "FACT $*"; }
fail() { echo "FAILED: $*"; exit 1; }
not() { if "$@"; then fail "it holds: $*"; fi; }
eventually() { for _ in $(seq 100); do "$@" && return; sleep 0.1; done; fail "$*"; }
main() { systemctl show -p MainPID --value yatagarasu.service; }
# What is on the disk, but for what the system and the package managers write for themselves.
files() { find /etc /opt /usr /var -xdev | grep -vE '^/var/(cache|lib/(apt|dpkg|rpm|systemd|logrotate)|log/(apt|dpkg|journal|alternatives|wtmp))|/__pycache__|^/etc/(ld.so.cache|mailcap)' | sort; }

# Why it failed, if it did.
set -E
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND"' ERR
trap 'code=$?; set +x; [ $code = 0 ] || { journalctl --no-pager -n 20 -u yatagarasu.service -u s3.service; tail -n 5 /var/log/yatagarasu/*.log || true; }' EXIT

export DEBIAN_FRONTEND=noninteractive YATAGARASU=/etc/yatagarasu/config.yaml
url=http://127.0.0.1:8080

# A real S3 server, with two objects.
mkdir -p /srv/s3/things /srv/meta
echo "a small object" > /srv/s3/things/small
head -c 64M /dev/urandom > /srv/s3/things/large
systemd-run -q --unit=s3 -E ROOT_ACCESS_KEY_ID=demo -E ROOT_SECRET_ACCESS_KEY=demo-secret-key \
	versitygw --quiet --keep-alive --port 127.0.0.1:7070 --region us-east-1 posix --sidecar /srv/meta /srv/s3
eventually curl -sS -o /dev/null http://127.0.0.1:7070/

# fresh: after the installation. The service waits for its administrator, and its error says
# what it waits for.
fresh() {
	not systemctl -q is-enabled yatagarasu.service
	not systemctl -q is-active yatagarasu.service
	not systemctl start yatagarasu.service
	eventually sh -c "journalctl -u yatagarasu.service | grep -q 'the variable YATAGARASU_BUCKET is not set'"
	systemctl stop yatagarasu.service
	[ "$(stat -c %a:%U /etc/yatagarasu/environment)" = 600:root ]
	bash -c '. /usr/share/bash-completion/completions/yatagarasu; complete -p yatagarasu' | grep -q -e -upgrade.drain
	systemd-analyze verify /usr/lib/systemd/system/yatagarasu.service /usr/lib/systemd/system/yatagarasu.socket
	systemd-analyze security --no-pager --threshold=20 yatagarasu.service > /run/security
	fact "systemd-analyze security: $(tail -n 1 /run/security | cut -c 5-)"
}

# configured: an object is served, by the port that $1 opens.
configured() {
	sed -i 's,#endpoint: .*,endpoint: "http://127.0.0.1:7070",' $YATAGARASU
	echo 'logging: {output: /var/log/yatagarasu/access.log}' >> $YATAGARASU
	printf '%s\n' YATAGARASU_BUCKET=things AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo-secret-key >> /etc/yatagarasu/environment
	systemctl enable -q --now "$@"
	curl -sSf $url/small | cmp - /srv/s3/things/small
	yatagarasu -config $YATAGARASU -probe
}

# upgraded: $@ installs the new version, and no request is lost, neither of many short ones nor
# a download that is under way meanwhile.
upgraded() {
	local before began
	before=$(main)
	rm -f /run/upgraded
	wrk -t 1 -c 16 -d 120s $url/small > /run/wrk & local load=$!
	curl -sSf $url/large | { head -c 1000000; until [ -e /run/upgraded ]; do sleep 0.1; done; cat; } | sha256sum > /run/large & local download=$!
	sleep 1
	began=$(date +%s%N)
	"$@" 2>&1 | tee /run/upgrade
	began=$((($(date +%s%N) - began) / 1000000))
	grep -q 'the new version serves' /run/upgrade
	[ "$(main)" != "$before" ]
	[ -d "/proc/$before" ] || fail "the old process ended before its download"
	[ "$(cat "/proc/$(main)/timerslack_ns")" = 1000000 ]
	"/proc/$(main)/exe" -version | grep -q 'yatagarasu v1.0.1 '
	touch /run/upgraded
	sleep 1
	kill -INT $load
	wait $load $download
	[ "$(cut -c 1-64 /run/large)" = "$(sha256sum < /srv/s3/things/large | cut -c 1-64)" ]
	cat /run/wrk
	not grep -E 'Socket errors|Non-2xx' /run/wrk
	eventually [ ! -d "/proc/$before" ]
	fact "$1: upgraded in $began ms under load: $(awk '/requests in/ {print $1}' /run/wrk) requests and a download, none lost"
}

# A version that cannot start changes nothing, and the package manager does not fail by it.
refused() {
	local before
	before=$(main)
	cp $YATAGARASU /run/config
	echo 'nonsense: true' >> $YATAGARASU
	"$@" 2>&1 | tee /run/upgrade
	grep -q 'has not taken over' /run/upgrade
	[ "$(main)" = "$before" ]
	curl -sSf $url/small | cmp - /srv/s3/things/small
	cp /run/config $YATAGARASU
	systemctl reload yatagarasu.service
}

rotated() {
	[ -s /var/log/yatagarasu/access.log ]
	logrotate -f /etc/logrotate.d/yatagarasu
	eventually [ -e /var/log/yatagarasu/access.log ]
	curl -sSf $url/small?rotated > /dev/null
	eventually grep -q small /var/log/yatagarasu/access.log
	[ -s /var/log/yatagarasu/access.log.1 ]
}

# An account of the service's name is taken instead of one that systemd makes up.
owned() {
	useradd --system --no-create-home yatagarasu
	systemctl restart yatagarasu.service
	[ "$(stat -c %U "/proc/$(main)/environ")" = root ] # the memory is closed to its own user
	grep -q "^Uid:[[:space:]]*$(id -u yatagarasu)[[:space:]]" "/proc/$(main)/status"
	curl -sSf $url/small | cmp - /srv/s3/things/small
}

removed() {
	not systemctl -q is-active yatagarasu.service yatagarasu.socket
	not curl -sS $url/health
	[ ! -e /usr/bin/yatagarasu ]
	[ -z "$(find /etc/systemd/system -name 'yatagarasu*')" ]
}

files > /run/before

apt-get install -y --no-install-recommends /trial/1.0.0.deb
fresh
configured yatagarasu.service
upgraded apt-get install -y --no-install-recommends /trial/1.0.1.deb
refused apt-get install -y --no-install-recommends --reinstall /trial/1.0.1.deb
rotated
apt-get remove -y yatagarasu
removed
grep -q demo-secret-key /etc/yatagarasu/environment # dpkg keeps them until purge
apt-get purge -y yatagarasu
files > /run/after
diff /run/before /run/after
fact "deb: purged, nothing left"

rpm -i --nodeps /trial/1.0.0.rpm
fresh
configured yatagarasu.socket yatagarasu.service
upgraded rpm -U --nodeps /trial/1.0.1.rpm
refused rpm -U --nodeps --replacepkgs /trial/1.0.1.rpm
rotated
owned
rpm -e yatagarasu
removed
grep -q demo-secret-key /etc/yatagarasu/environment.rpmsave
rm -r /etc/yatagarasu /var/log/yatagarasu /var/log/private/yatagarasu # rpm has no purge
files > /run/after
diff /run/before /run/after
fact "rpm: removed, changed files kept as .rpmsave"
