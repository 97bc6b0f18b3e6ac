#!/bin/sh
# After the files are gone. dpkg says "purge" when logs and the like shall go, too.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/log/private/yatagarasu /var/log/yatagarasu
fi
case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
		systemctl reset-failed yatagarasu.service 2>/dev/null || true
	fi
	;;
esac
exit 0
