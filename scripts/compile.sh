#!/bin/sh
# Compiles the distribution from what ocb made in build/ into the file that is named, for GOOS and GOARCH if they are set. What Go knows of the
# checkout is left out, for the same bytes everywhere; the version names the commit.
set -eu
cd "$(dirname "$0")/../build"

case $1 in
/*) output=$1 ;;
*) output=../$1 ;;
esac
verbose=
[ ! -t 2 ] || verbose=-v
CGO_ENABLED=0 go build $verbose -trimpath -buildvcs=false -ldflags '-s -w' -o "$output" .
