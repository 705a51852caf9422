#!/bin/sh
# Compiles the distribution from what ocb made in build/ into the file that is named, for GOOS and
# GOARCH if they are set. Go's notes about the checkout are left out, for the same bytes everywhere;
# the version names the commit. On a terminal it shows how many packages are done.
set -eu
cd "$(dirname "$0")/../build"
export CGO_ENABLED=0

case $1 in
/*) output=$1 ;;
*) output=../$1 ;;
esac
compile() {
	go build "$@" -trimpath -buildvcs=false -ldflags '-s -w' -o "$output" .
}
if [ ! -t 2 ]; then
	compile
	exit
fi

total=$(go list -deps -trimpath -f '{{if .Stale}}{{.ImportPath}}{{end}}' . | grep -c .) || true
# A pipe would hide the status.
{ compile -v 2>&1 && echo 'compile: ok'; } | {
	status=1 packages=0
	while IFS= read -r line; do
		case $line in
		'compile: ok') status=0 ;;
		*' '* | '#'*) printf '\n%s' "$line" ;;
		*)
			packages=$((packages + 1))
			printf '\r%d of %d packages' "$packages" "$total"
			;;
		esac
	done
	echo
	exit "$status"
} >&2
