#!/bin/bash
# Boots systemd in a container over an overlay of this machine's / and runs a script there, as root:
#   boot.sh SECONDS CHAMELEON SCRIPT DIRECTORY
# What the script says is then in DIRECTORY/said, its status in DIRECTORY/status, what systemd said in
# DIRECTORY/console. Nothing is changed but DIRECTORY: mounts are in a namespace of their own, cgroups go.
set -euo pipefail
if [ -z "${BOOT_INSIDE-}" ]; then
	BOOT_INSIDE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi
seconds=$1 chameleon=$2 script=$3 directory=$4
root=$directory/root

# Cgroups of this container's own: the second hierarchy is there where the first is of version 1.
groups=()
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
	[ -e $hierarchy/cgroup.procs ] || continue
	groups+=("$hierarchy/chameleon-boot-$$")
	mkdir "$hierarchy/chameleon-boot-$$"
	echo $$ >"$hierarchy/chameleon-boot-$$/cgroup.procs"
done
leave() {
	for group in "${groups[@]}"; do
		echo $$ >"${group%/*}/cgroup.procs"
		for _ in $(seq 100); do
			find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.02
		done
	done
}
trap leave EXIT

mkdir "$root" "$directory/up"
mount -t tmpfs tmpfs "$directory/up"
mkdir "$directory/up/upper" "$directory/up/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/up/upper,workdir=$directory/up/work" "$root"
# None of this machine's services, and an identity of its own.
rm -rf "$root"/etc/systemd/system/*.wants "$root/var/lib/chameleon"
rm -f "$root/etc/machine-id"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
install -m 755 "$chameleon" "$root/usr/bin/chameleon"
install -m 755 "$script" "$root/script"
cat >"$root/etc/systemd/system/script.service" <<-'END'
	[Unit]
	Requires=basic.target
	After=basic.target
	[Service]
	Type=oneshot
	ExecStart=/bin/sh -c '/script >/said 2>&1; echo $? >/status'
	ExecStopPost=/bin/systemctl poweroff --force --force
END
# systemd wants a terminal as its console.
# The container's filter does not have what a machine's kernel has: pidfd_getfd(2).
options="--register=no --keep-unit --boot --system-call-filter=pidfd_getfd --directory=$root"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
timeout -k 2 "$seconds" script -qec "systemd-nspawn $options systemd.unit=script.service" "$directory/console" \
	>/dev/null 2>&1 </dev/null || true
cp "$root/said" "$root/status" "$directory"
