#!/bin/sh
# After the files are there: a running gateway hands over to the new program. dpkg says
# "configure", rpm 1 or, for an upgrade, 2. Nothing here fails the installation.
set -e
[ -d /run/systemd/system ] || exit 0
case "$1" in
configure | 1 | 2) ;;
*) exit 0 ;;
esac
systemctl daemon-reload || true

main() { systemctl show -p MainPID --value yatagarasu.service || echo 0; }
if ! systemctl -q is-active yatagarasu.service; then
	if ! systemctl -q is-enabled yatagarasu.service 2>/dev/null; then
		echo "yatagarasu: name a bucket in /etc/yatagarasu/environment, then: systemctl enable --now yatagarasu"
	fi
	exit 0
fi
old=$(main)
[ "$old" -gt 0 ] && kill -USR2 "$old" || exit 0
# The new process gets -upgrade.timeout, 30 s, to set itself up; it is a child of the old one
# until that gives up.
waited=0 gone=0
while [ "$waited" -lt 80 ] && [ "$gone" -lt 4 ]; do
	sleep 0.5
	waited=$((waited + 1))
	new=$(main)
	if [ "$new" != "$old" ] && [ "$new" -gt 0 ]; then
		program=$(readlink "/proc/$new/exe" || echo /usr/bin/yatagarasu)
		if [ "$program" != /usr/bin/yatagarasu ]; then
			echo "yatagarasu: the service runs $program, not this package's program: remove that, and restart it" >&2
			exit 0
		fi
		echo "yatagarasu: the new version serves; the old one ends its requests"
		exit 0
	fi
	if [ ! -r "/proc/$old/task/$old/children" ] || [ -n "$(cat "/proc/$old/task/"*/children 2>/dev/null)" ]; then
		gone=0 # or the kernel does not say
	else
		gone=$((gone + 1))
	fi
done
echo "yatagarasu: the new version has not taken over, and the old one serves on. The reason:" >&2
echo "  journalctl -u yatagarasu" >&2
echo "When it is mended: systemctl kill -s USR2 --kill-who=main yatagarasu" >&2
exit 0
