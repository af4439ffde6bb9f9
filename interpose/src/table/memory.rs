//! Rows of the calls on the address space.
//!
//! Invariant: data only. The address space is the sphere of replication, so that most of these are
//! never trapped, or only where memory is shared; the placement of memory on NUMA nodes is left to the kernel.

use super::words::*;

/// Why calls on NUMA placement answer as a kernel without CONFIG_NUMA.
const NUMA: &str =
    "Nodes are the machine's, and differ between replicas; as a kernel without NUMA.";

/// Why calls on stretches of addresses are trapped at all.
const SHARED: &str =
    "Native, but in the addresses of writable shared mappings, whose changes go out with it.";

/// Memory.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(12, "brk", Native, &[Addr]),
    call(9, "mmap", own(Special::Mmap), &[Addr, Int, Int, Int, Fd, Int])
        .note("Private anonymous mappings are native; a file's descriptor is planted in the replica first. Of what is shared and written each replica maps a copy of its own."),
    call(11, "munmap", own(Special::SharedRange), &[Addr, Int]).note(SHARED),
    call(25, "mremap", own(Special::SharedRange), &[Addr, Int, Int, Int, Addr])
        .note("Made by each replica. Trapped but in a single replica without checkpoints: mappings that are several because of us alone are moved as one."),
    call(10, "mprotect", Native, &[Addr, Int, Int]),
    call(28, "madvise", Native, &[Addr, Int, Int])
        .note("MADV_DONTFORK and MADV_WIPEONFORK are trapped, so that a copy of a replica has those pages nevertheless: see resolve."),
    call(26, "msync", own(Special::SharedRange), &[Addr, Int, Int]).note(SHARED),
    call(27, "mincore", Native, &[Addr, Int, Addr])
        .note("What is resident may differ between replicas; a program that acts on it diverges."),
    call(149, "mlock", Native, &[Addr, Int]),
    call(325, "mlock2", Native, &[Addr, Int, Int]),
    call(150, "munlock", Native, &[Addr, Int]),
    call(151, "mlockall", Native, &[Int]),
    call(152, "munlockall", Native, &[]),
    call(216, "remap_file_pages", Native, &[Addr, Int, Int, Int, Int]),
    call(329, "pkey_mprotect", Native, &[Addr, Int, Int, Int]),
    call(330, "pkey_alloc", Native, &[Int, Int]),
    call(331, "pkey_free", Native, &[Int]),
    call(462, "mseal", Native, &[Addr, Int, Int]),
    call(324, "membarrier", Native, &[Int, Int, Int]),
    call(158, "arch_prctl", Native, &[Int, Addr]),
    call(154, "modify_ldt", Native, &[Int, Addr, Int])
        .note("Segments of the replica's own address space; a fork copies them."),
    call(205, "set_thread_area", Nosys, &[]).note("Not on x86-64."),
    call(211, "get_thread_area", Nosys, &[]).note("Not on x86-64."),
    call(334, "rseq", Nosys, &[Addr, Int, Int, Int])
        .note("The kernel would write the number of the CPU into memory, a different one in each replica."),
    call(323, "userfaultfd", Nosys, &[Int])
        .note("Faults of one replica would be answered by a thread of it at moments of their own."),
    call(447, "memfd_secret", Nosys, &[Int])
        .note("Memory that a monitor cannot read cannot be compared or repaired; off by default in the kernel."),
    call(453, "map_shadow_stack", Nosys, &[Addr, Int, Int])
        .note("Shadow stacks would have to be repaired too; as a kernel without them."),
    call(335, "uretprobe", Native, &[]).note("Only the kernel's own trampoline calls it, and filters never see it."),
    call(336, "uprobe", Native, &[]).note("Only the kernel's own trampoline calls it, and filters never see it."),
    call(237, "mbind", Nosys, &[Addr, Int, Int, Addr, Int, Int]).note(NUMA),
    call(238, "set_mempolicy", Nosys, &[Int, Addr, Int]).note(NUMA),
    call(239, "get_mempolicy", Nosys, &[Addr, Addr, Int, Addr, Int]).note(NUMA),
    call(256, "migrate_pages", Nosys, &[Int, Int, Addr, Addr]).note(NUMA),
    call(279, "move_pages", Nosys, &[Int, Int, Addr, Addr, Addr, Int]).note(NUMA),
    call(450, "set_mempolicy_home_node", Nosys, &[Addr, Int, Int, Int]).note(NUMA),
];
