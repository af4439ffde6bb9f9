//! Rows of the calls that administer the machine: mounts, swap, names, modules, quotas.
//!
//! Invariant: data only. They are performed by the outside, with the privilege it has; what would
//! let a program reach hardware past the vote is refused.

use super::words::*;

/// The machine.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(63, "uname", First, &[writes(390)]),
    call(99, "sysinfo", First, &[writes(112)]),
    call(318, "getrandom", First, &[fills(1), Int, Int]).waits(),
    call(103, "syslog", Sync, &[Int, Addr, Int]).note("Types that read have a row of their own."),
    call(136, "ustat", First, &[Int, writes(32)]),
    call(139, "sysfs", Nosys, &[Int, Addr, Addr])
        .note("Obsolete; one of its options writes a string of unknown length. As a kernel without CONFIG_SYSFS_SYSCALL."),
    call(153, "vhangup", Sync, &[]),
    call(155, "pivot_root", Sync, &[Path, Path]),
    call(163, "acct", Sync, &[Path]),
    call(165, "mount", Sync, &[Str, Path, Str, Int, Str])
        .note("The data of a file system is taken as text."),
    call(166, "umount2", Sync, &[Path, Int]),
    call(428, "open_tree", Sync, &[DirFd, Path, Int]),
    call(467, "open_tree_attr", Sync, &[DirFd, Path, Int, reads_arg(4), Int]),
    call(429, "move_mount", Sync, &[DirFd, Path, DirFd, Path, Int]),
    call(430, "fsopen", Sync, &[Str, Int]),
    call(431, "fsconfig", Sync, &[Fd, Int, Str, Addr, Int]).note("Commands whose value is read have rows of their own."),
    call(432, "fsmount", Sync, &[Fd, Int, Int]),
    call(433, "fspick", Sync, &[DirFd, Path, Int]),
    call(442, "mount_setattr", Sync, &[DirFd, Path, Int, reads_arg(4), Int]),
    call(457, "statmount", First, &[In(Len::U32At(0)), Out { cap: Len::Arg(2), used: Len::U32At(1) }, Int, Int])
        .note("Both structures begin with their size."),
    call(458, "listmount", First, &[In(Len::U32At(0)), Out { cap: Len::ArgTimes(2, 8), used: Len::RetTimes(8) }, Int, Int]),
    call(167, "swapon", Sync, &[Path, Int]),
    call(168, "swapoff", Sync, &[Path]),
    call(169, "reboot", Sync, &[Int, Int, Int, Addr]).note("The command of LINUX_REBOOT_CMD_RESTART2 has a row of its own."),
    call(170, "sethostname", Sync, &[reads_arg32(1), Int]),
    call(171, "setdomainname", Sync, &[reads_arg32(1), Int]),
    call(172, "iopl", Refused, &[Int]).note("Ports would be written by every replica, past the vote."),
    call(173, "ioperm", Refused, &[Int, Int, Int]).note("Ports would be written by every replica, past the vote."),
    call(175, "init_module", Sync, &[reads_arg(1), Int, Str]),
    call(313, "finit_module", Sync, &[Fd, Str, Int]),
    call(176, "delete_module", Sync, &[Str, Int]),
    call(246, "kexec_load", Refused, &[Int, Int, Addr, Int])
        .note("Its segments point to further memory; kexec_file_load does the same by descriptor."),
    call(320, "kexec_file_load", Sync, &[Fd, Fd, Int, reads_arg(2), Int]),
    call(179, "quotactl", Refused, &[Int, Path, Int, Addr]).error(libc::EINVAL).note("Each command has a row of its own."),
    call(443, "quotactl_fd", Refused, &[Fd, Int, Int, Addr]).error(libc::EINVAL).note("Each command has a row of its own."),
    call(459, "lsm_get_self_attr", First, &[Int, InOut(Len::U32At(2)), touches(4), Int])
        .note("With LSM_FLAG_SINGLE the buffer is read first; the size is written when it was too small."),
    call(460, "lsm_set_self_attr", Mirror, &[Int, reads_arg32(2), Int, Int]),
    call(461, "lsm_list_modules", First, &[fills_at(1), touches(4), Int])
        .note("The size is written when the buffer was too small."),
    call(317, "seccomp", Refused, &[Int, Int, Addr]).error(libc::ENOSYS)
        .note("A filter of the program's own would judge calls that the outside performs in its place; the program is told that the kernel has none, and runs without."),
    call(444, "landlock_create_ruleset", Nosys, &[Addr, Int, Int])
        .note("Rules must hold for the outside and not for what replicas do for Chameleon; as a kernel without Landlock."),
    call(445, "landlock_add_rule", Nosys, &[Fd, Int, Addr, Int]).note("See landlock_create_ruleset."),
    call(446, "landlock_restrict_self", Nosys, &[Fd, Int]).note("See landlock_create_ruleset."),
    call(298, "perf_event_open", Nosys, &[Addr, Int, Int, Fd, Int])
        .note("It would count the outside; as a kernel without performance events."),
    call(321, "bpf", Nosys, &[Int, Addr, Int])
        .note("Its attributes point to further memory, differently for every command; as a kernel without it."),
    call(134, "uselib", Nosys, &[]).note("No longer in the kernel."),
    call(156, "_sysctl", Nosys, &[]).note("No longer in the kernel."),
    call(174, "create_module", Nosys, &[]).note("No longer in the kernel."),
    call(177, "get_kernel_syms", Nosys, &[]).note("No longer in the kernel."),
    call(178, "query_module", Nosys, &[]).note("No longer in the kernel."),
    call(180, "nfsservctl", Nosys, &[]).note("No longer in the kernel."),
    call(181, "getpmsg", Nosys, &[]).note("Never implemented."),
    call(182, "putpmsg", Nosys, &[]).note("Never implemented."),
    call(183, "afs_syscall", Nosys, &[]).note("Never implemented."),
    call(184, "tuxcall", Nosys, &[]).note("Never implemented."),
    call(185, "security", Nosys, &[]).note("Never implemented."),
    call(212, "lookup_dcookie", Nosys, &[]).note("No longer in the kernel."),
    call(236, "vserver", Nosys, &[]).note("Never implemented."),
];
