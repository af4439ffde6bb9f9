#!/bin/bash
# Installs what the tests need, on Debian and Ubuntu: setup.sh
# One call of apt-get when something is missing and we are root; else one line that says what.
set -euo pipefail

# Command and the package that brings it.
wanted="gcc:gcc make:make sort:coreutils gzip:gzip xz:xz-utils bzip2:bzip2 tar:tar find:findutils
grep:grep sed:sed mawk:mawk bash:bash dash:dash perl:perl python3:python3 sqlite3:sqlite3
openssl:openssl git:git bc:bc nc:netcat-openbsd socat:socat strace:strace tmux:tmux less:less
ip:iproute2 nsenter:util-linux unshare:util-linux
systemd-nspawn:systemd-container setpriv:util-linux taskset:util-linux diff:diffutils ps:procps
redis-server:redis-server redis-benchmark:redis-tools memcached:memcached nginx:nginx-light wrk:wrk
sshd:openssh-server ssh:openssh-client pg_ctlcluster:postgresql
pigz:pigz zstd:zstd ffmpeg:ffmpeg node:nodejs javac:default-jdk-headless go:golang-go vim:vim curl:curl"

# Servers are where the path of an ordinary user does not lead.
PATH+=:/usr/sbin:/sbin
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

if [ -n "$missing" ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "the tests need these packages, please install them: $missing" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	# No server that is installed is started: invoke-rc.d(8) asks this.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	# shellcheck disable=SC2086
	apt-get update -q && apt-get install -y -q --no-install-recommends $missing
fi

# What its service would make before sshd(8) starts.
if [ "$(id -u)" -eq 0 ]; then
	mkdir -p /run/sshd
fi
