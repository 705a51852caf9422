#!/bin/sh
# Run by dpkg and rpm after the files are there. A new service is not started: its environment file
# has to be filled in first.
set -e
systemd-sysusers --root="${DPKG_ROOT:-/}" otelcol-smtpfailure.conf
if [ -z "${DPKG_ROOT-}" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart otelcol-smtpfailure.service
fi
