#!/bin/sh
# Counts the instructions of each stage of a report's way with valgrind, and holds them to the ceilings in scripts/instructions.txt. Unlike time, they
# are nearly the same on every amd64 machine, however busy it is. Elsewhere, and without valgrind, it says so and passes.
set -eu
cd "$(dirname "$0")/.."

ceilings=scripts/instructions.txt
# From one count to the other the same is done so many times more: what it takes to begin and to end does not show.
few=400 many=1400

if [ "$(go env GOARCH)" != amd64 ]; then
	echo "Not counting instructions: the ceilings are for amd64."
	exit
fi
version=$(sed -n 's/^# Go //p' "$ceilings")
case $(go env GOVERSION) in
go"$version" | go"$version".*) ;;
*)
	echo "Not counting instructions: the ceilings are for Go $version, and this is $(go env GOVERSION)."
	exit
	;;
esac
if ! command -v valgrind >/dev/null; then
	echo "Not counting instructions: there is no valgrind."
	exit
fi

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

counted() { # instructions of the benchmark $2 in the folder $1, run $3 times
	# One thread of Go code at a time, no garbage collection and no signals (which valgrind takes badly) make the count repeatable.
	(cd "$1" && GOMAXPROCS=1 GOGC=off GODEBUG=asyncpreemptoff=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$directory/log" \
		"$directory/$(basename "$1").test" -test.run '^$' -test.bench "$2" -test.benchtime "${3}x" >"$directory/output" 2>&1) && grep -q '^Benchmark' "$directory/output" || {
		cat "$directory/output" "$directory/log" >&2
		return 1
	}
	sed -n 's/.*Collected : *//p' "$directory/log"
}

failed=0
printf '%-12s %-12s %s\n' instructions 'at most' benchmark
while read -r folder benchmark ceiling; do
	case $folder in '' | '#'*) continue ;; esac
	[ -e "$directory/$(basename "$folder").test" ] || go test -c -o "$directory/$(basename "$folder").test" "./$folder"
	pattern=$(echo "$benchmark" | sed 's|[^/]*|^&$|g')
	first=$(counted "$folder" "$pattern" "$few")
	second=$(counted "$folder" "$pattern" "$many")
	each=$(((second - first) / (many - few)))
	printf '%-12s %-12s %s %s\n' "$each" "$ceiling" "$folder" "$benchmark"
	if [ "$each" -gt "$ceiling" ]; then
		echo "$folder $benchmark takes more instructions than before: find out why, or raise the ceiling in $ceilings for a reason." >&2
		failed=1
	fi
done <"$ceilings"
exit "$failed"
