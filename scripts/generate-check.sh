#!/bin/sh
# Fails when `make generate` changes what it generates. Compares the files with themselves rather
# than with the last commit, so that it can be run in the middle of other work.
set -eu
cd "$(dirname "$0")/.."

generated() {
	find receiver examples/grafana -type f \
		\( -name 'generated_*' -o -name documentation.md -o -path '*/internal/metadata*' -o -name dashboard.json \) \
		-exec cksum {} + | sort -k 3
}

before=$(generated)
"${MAKE:-make}" --no-print-directory generate
after=$(generated)
[ "$before" = "$after" ] && exit

echo "Generated files were not up to date with metadata.yaml; they are now. Commit these:" >&2
printf '%s\n' "$before" "$after" | sort -k 3 | uniq -u | cut -d ' ' -f 3- | sort -u >&2
exit 1
