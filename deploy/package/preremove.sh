#!/bin/sh
# Before the files go: the gateway ends its requests and stops. dpkg says "remove", rpm 0; at
# an upgrade both say something else, and the gateway runs on.
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl -q disable --now yatagarasu.socket yatagarasu.service || true
fi
exit 0
