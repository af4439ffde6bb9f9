#!/bin/sh
# Builds every guest of this directory into OUTDIR: build.sh OUTDIR
# Only what is older than its source is built again, as many at a time as there are processors. Any compiler
# through CC. With sources behind OUTDIR it builds these alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUTDIR [SOURCE...]}
shift
cc=${CC:-gcc}
mkdir -p "$out"

newer() { # newer TARGET SOURCE: is there nothing to do?
	[ -e "$1" ] || return 1
	for input in "$2" "$here"/*.h "$here/build.sh"; do
		[ "$1" -nt "$input" ] || return 1
	done
}

all=$#
if [ "$all" -eq 0 ]; then
	printf '%s\0' "$here"/*.c | xargs -0 -n 8 -P "$(nproc)" "$here/build.sh" "$out"
fi
for source in "$@"; do
	name=$(basename "$source" .c)
	newer "$out/$name" "$source" && continue
	flags=
	case $name in
	*_static) flags=-static ;;
	# The dynamic linker leaves registers on the stack that differ from run to run.
	thread_busy) flags="-pthread -Wl,-z,now" ;;
	thread* | image_* | shared_robust | shared_group | detours) flags=-pthread ;;
	pty | curses) flags=-lutil ;;
	esac
	[ "$name" = curses ] && flags="-lncurses"
	# shellcheck disable=SC2086
	$cc -std=gnu11 -O1 -g -Wall -Wno-unused-result -Wno-stringop-overflow -Wno-stringop-overread -fno-strict-aliasing \
		-o "$out/$name.new" "$source" $flags -lrt -lm
	mv "$out/$name.new" "$out/$name"
done

[ "$all" -eq 0 ] || exit 0

# Not runnable here: only the header of a 32-bit program for the i386.
printf '\177ELF\001\001\001\000\000\000\000\000\000\000\000\000\002\000\003\000\001\000\000\000\124\200\004\010\064\000\000\000\000\000\000\000\000\000\000\000\064\000\040\000\001\000\050\000\000\000\000\000' >"$out/elf32.new"
printf '\001\000\000\000\000\000\000\000\000\200\004\010\000\200\004\010\140\000\000\000\140\000\000\000\005\000\000\000\000\020\000\000' >>"$out/elf32.new"
printf '\270\001\000\000\000\273\000\000\000\000\315\200' >>"$out/elf32.new"
chmod 755 "$out/elf32.new"
mv "$out/elf32.new" "$out/elf32"
