#!/bin/bash
# Installs what the tests need, on Debian and Ubuntu: setup.sh
# One call of apt-get when something is missing and we are root; else one line that says what.
set -euo pipefail

# Command and the package that brings it.
wanted="gcc:gcc make:make sort:coreutils gzip:gzip xz:xz-utils bzip2:bzip2 tar:tar find:findutils
grep:grep sed:sed mawk:mawk bash:bash dash:dash perl:perl python3:python3 sqlite3:sqlite3
openssl:openssl git:git bc:bc nc:netcat-openbsd socat:socat strace:strace tmux:tmux less:less
setpriv:util-linux taskset:util-linux diff:diffutils ps:procps"

missing=
for pair in $wanted; do
	command -v "${pair%%:*}" >/dev/null || missing+=" ${pair##*:}"
done
try() { echo "#include <$1>" | gcc -E - >/dev/null 2>&1; }
if command -v gcc >/dev/null; then
	try ncurses.h || missing+=" libncurses-dev"
	try stdlib.h || missing+=" libc6-dev"
else
	missing+=" libncurses-dev libc6-dev"
fi
missing=$(tr ' ' '\n' <<<"$missing" | sort -u | tr '\n' ' ' | sed 's/^ *//;s/ *$//')

[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "the tests need these packages, please install them: $missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get update -q && apt-get install -y -q --no-install-recommends $missing
