#!/bin/sh
# Lists the licences of what the distribution is made of in docs/licenses.md, on any of the systems
# that are released; `check` compares the page instead, and `texts` puts what goes with the binaries
# into build/licenses/. It fails for a licence that is not one of those allowed.
set -eu
cd "$(dirname "$0")/.."

page=$PWD/docs/licenses.md
template=$PWD/packaging/licenses.tpl
# These ask for a notice at most, or for changes to the file itself.
allowed='Apache-2.0 BSD-2-Clause BSD-3-Clause GNU-All-permissive-Copying-License ISC MIT MPL-2.0'
systems='linux darwin windows'

go_licenses() { # for the system $1, which it learns from the environment, as it does where Go's own packages are
	system=$1
	shift
	# It tells much about assembly that it cannot read.
	GOOS=$system CGO_ENABLED=0 GOROOT=$(go env GOROOT) ../.tools/go-licenses "$@" --ignore github.com/smtpfailure 2>"licenses-$system.log" ||
		{ tail -n 5 "licenses-$system.log" >&2; return 1; }
}

cd build
if [ "${1-}" = texts ]; then
	rm -rf licenses
	for system in $systems; do
		# It does not save this one, since the licence of one of its files is of no type that it
		# knows.
		go_licenses "$system" save . --ignore github.com/apache/thrift --save_path "licenses/$system"
		mkdir -p "licenses/$system/github.com/apache/thrift" "licenses/$system/go"
		thrift=$(go list -m -f '{{.Dir}}' github.com/apache/thrift)
		cp "$thrift/LICENSE" "$thrift/NOTICE" "licenses/$system/github.com/apache/thrift/"
		# In every binary there is Go's own library.
		cp "$(go env GOROOT)/LICENSE" "licenses/$system/go/"
	done
	chmod -R u+w licenses
	exit
fi

made=$(mktemp)
trap 'rm -f "$made" "$made".*' EXIT
# Each waits for the network more than it works.
running=
for system in $systems; do
	go_licenses "$system" report . --template "$template" >"$made.$system" &
	running="$running $!"
done
for pid in $running; do wait "$pid"; done
grep -h '^|' "$made".* | LC_ALL=C sort -u >"$made.rows"

awk -F ' *[|] *' -v allowed="$allowed" '
	BEGIN { split(allowed, names, " "); for (i in names) known[names[i]] }
	!($3 in known) { print $2 ": " $3 " is not among the licences that are allowed"; failed = 1 }
	END { exit failed }
' "$made.rows" >&2

cat >"$made" <<END
# Licences of the dependencies

Made by \`make licenses\` with go-licenses: what goes into the distribution on any of the systems that are released. A folder with a licence of its own is a
row, and so is each licence in a text that has several. It fails for a licence that is not one of
$(echo "$allowed" | sed 's/ /, /g'). Archives and packages of a release have
the texts, and the versions in their bills of materials.

| Package | Licence |
|---|---|
$(cat "$made.rows")
END
if [ "${1-}" != check ]; then
	cp "$made" "$page"
elif ! diff "$page" "$made"; then
	echo "docs/licenses.md is not up to date: run \`make licenses\`" >&2
	exit 1
fi
