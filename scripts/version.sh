#!/bin/sh
# Prints the version that a build of this tree is stamped with: the manifest's own where what goes
# into the binary is what that version's tag holds, else that with -dev and the last commit that
# changed it. A commit that touches only documentation or tests leaves it alone, so the same sources
# make the same bytes. Wants the history: a shallow clone names its newest commit.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^  version: *//p' builder-config.yaml)
set -- builder-config.yaml go.mod go.sum receiver internal ':!*_test.go' ':!*/testdata/*' ':!*.md'

commit=$(git log -1 --format=%h --abbrev=12 -- "$@" 2>/dev/null) || commit=
if [ -z "$commit" ]; then
	echo "$version-dev"
	exit
fi
changes=$(git status --porcelain -- "$@")
if [ -z "$changes" ] && git diff --quiet "v$version" HEAD -- "$@" 2>/dev/null; then
	echo "$version"
else
	echo "$version-dev+$commit${changes:+.dirty}"
fi
