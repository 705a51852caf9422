#!/bin/sh
# Runs the tests of the root module and holds the coverage of what was written by hand to a floor,
# in all and in each package.
set -eu
cd "$(dirname "$0")/.."

floor=92
package_floor=85
profile=coverage.out

# Go turns cgo off by itself where it finds no C compiler, and the race detector needs cgo.
if [ "$(go env CGO_ENABLED)" = 1 ]; then
	echo "Testing with the race detector."
	race=-race
else
	echo "Testing without the race detector, which needs cgo and a C compiler."
	race=
fi

# A package counts as covered whoever runs it: much of internal/ is best tested through the
# receiver.
go test $race -covermode=atomic -coverpkg=./... -coverprofile="$profile" ./...

# Both the race detector and the counting of coverage change what is allocated.
go test -count=1 -run '^TestAllocations$' ./receiver/smtpfailurereceiver

# Each test binary lists every block, so a block counts once and is covered if any of them ran it.
awk -v floor="$floor" -v package_floor="$package_floor" '
	FNR == 1 || /\/internal\/metadata/ || $1 ~ /\/generated_[^\/]*$/ { next }
	{ statements[$1] = $2; if ($3 > 0) ran[$1] = 1 }
	END {
		for (block in statements) {
			package = block
			sub(/\/[^\/]*$/, "", package)
			all[package] += statements[block]
			total += statements[block]
			if (block in ran) { covered[package] += statements[block]; hits += statements[block] }
		}
		if (!total) { print "There is no statement to cover."; exit 1 }
		print "\nCoverage of statements, without generated code:"
		fflush()
		failed = 100 * hits < floor * total
		for (package in all) {
			printf "%6.1f %%  %s\n", 100 * covered[package] / all[package], package | "sort -k 3"
			failed = failed || 100 * covered[package] < package_floor * all[package]
		}
		close("sort -k 3")
		printf "%6.1f %%  total, of at least %d %%, and %d %% in each package\n", 100 * hits / total, floor, package_floor
		exit failed
	}
' "$profile"
