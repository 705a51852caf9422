#!/bin/sh
# Run by dpkg and rpm before the files go: with `remove` or 0 where no newer version follows.
set -e
case ${1-} in
remove | 0)
	if [ -z "${DPKG_ROOT-}" ] && [ -d /run/systemd/system ]; then
		systemctl disable --now otelcol-smtpfailure.service
	fi
	;;
esac
