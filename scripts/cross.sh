#!/bin/sh
# Makes what a release consists of in dist/, from what ocb made in build/: for each platform an archive and its bill of materials, then the checksums
# of all. `make cross` runs it. PLATFORMS="linux/arm64" makes only that; AGAIN=1 compiles twice and fails if the bytes differ, which takes twice as
# long, since the second time everything is compiled anew.
set -eu
cd "$(dirname "$0")/.."

name=otelcol-smtpfailure
version=$(cat build/version)
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
release=$PWD/.tools/release
dist=$PWD/${DIST:-dist}
# Files in an archive carry the time of the last commit, or that of a checkout without history.
time=$(git log -1 --format=%ct 2>/dev/null || echo 315532800)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$dist"
mkdir -p "$dist"
"$release" texts "$PWD" "$work/THIRD_PARTY_LICENSES"

for platform in $platforms; do
	os=${platform%/*}
	architecture=${platform#*/}
	suffix=
	format=tar.gz
	if [ "$os" = windows ]; then
		suffix=.exe
		format=zip
	fi
	echo "Building $platform $version"
	binary=$work/$os-$architecture/$name$suffix
	GOOS=$os GOARCH=$architecture scripts/compile.sh "$binary"
	if [ -n "${AGAIN:-}" ]; then
		echo "Building $platform again, from nothing"
		GOCACHE=$work/cache GOOS=$os GOARCH=$architecture scripts/compile.sh "$work/again"
		cmp "$binary" "$work/again"
		rm -rf "$work/cache" "$work/again"
	fi

	# Not what we asked for, but what the linker says that it made.
	made=$("$release" platform "$binary")
	[ "$made" = "$platform" ] || { echo "The binary for $platform is one for $made." >&2; exit 1; }

	archive=${name}_${version}_${os}_${architecture}
	set -- "$archive/$name$suffix=$binary" \
		"$archive/LICENSE=LICENSE" \
		"$archive/THIRD_PARTY_LICENSES=$work/THIRD_PARTY_LICENSES" \
		"$archive/README.md=README.md" \
		"$archive/CHANGELOG.md=CHANGELOG.md" \
		"$archive/config.yaml=examples/quickstart/config.yaml"
	if [ "$os" = linux ]; then
		for file in otelcol-smtpfailure.service environment config.yaml; do
			set -- "$@" "$archive/systemd/$file=packaging/systemd/$file"
		done
	fi
	"$release" archive -time "$time" "$dist/$archive.$format" "$@"
	"$release" sbom -version "$version" "$PWD" "$binary" "$dist/$archive.cdx.json"
done

"$release" checksums "$dist"
cat "$dist/SHA256SUMS"
