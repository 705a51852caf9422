#!/bin/sh
# Looks for known vulnerabilities in what is called from the distribution, which has the receiver in
# it. The database comes from the network; VULNDB=file:///DIRECTORY takes a copy instead, and
# VULNDB=skip says that nothing was checked and goes on.
set -eu
cd "$(dirname "$0")/.."

database=${VULNDB:-https://vuln.go.dev}
if [ "$database" = skip ]; then
	echo "NOT CHECKED for known vulnerabilities: VULNDB=skip" >&2
	exit
fi
case $database in
https://*)
	# Asked for first, so that a machine without the network is told from a finding.
	if ! curl --silent --show-error --fail --max-time 20 --output /dev/null "$database/index/db.json"; then
		echo "The vulnerability database $database cannot be reached. Give a copy with VULNDB=file:///DIRECTORY, or skip this with VULNDB=skip." >&2
		exit 1
	fi
	;;
esac

govulncheck=$PWD/.tools/govulncheck
cd build
CGO_ENABLED=0 "$govulncheck" -db "$database" .
