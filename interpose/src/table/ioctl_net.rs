//! Requests of ioctl(2) on sockets, interfaces and tunnels (netdevice(7), socket(7)).
//!
//! Invariant: data only, ascending. `struct ifreq` has 40 bytes; where its union holds a pointer
//! the request is refused.

use super::words::*;

/// Why an interface request is refused.
const POINTER: &str =
    "Its structure points to further memory; programs can ask over netlink instead.";

/// Sockets and interfaces.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(0x8901, "ioctl FIOSETOWN", Sync, &[Fd, Int, reads(4)]),
    call(0x8902, "ioctl SIOCSPGRP", Sync, &[Fd, Int, reads(4)]),
    call(0x8903, "ioctl FIOGETOWN", First, &[Fd, Int, writes(4)]),
    call(0x8904, "ioctl SIOCGPGRP", First, &[Fd, Int, writes(4)]),
    call(0x8905, "ioctl SIOCATMARK", Sync, &[Fd, Int, writes(4)]),
    call(0x8906, "ioctl SIOCGSTAMP", Sync, &[Fd, Int, writes(16)]),
    call(0x8907, "ioctl SIOCGSTAMPNS", Sync, &[Fd, Int, writes(16)]),
    call(0x890b, "ioctl SIOCADDRT", Refused, &[Fd, Int, Addr]).error(libc::EINVAL).note(POINTER),
    call(0x890c, "ioctl SIOCDELRT", Refused, &[Fd, Int, Addr]).error(libc::EINVAL).note(POINTER),
    call(0x8910, "ioctl SIOCGIFNAME", First, &[Fd, Int, updates(40)]),
    call(0x8912, "ioctl SIOCGIFCONF", First, &[Fd, Int, Ifconf]),
    call(0x8913, "ioctl SIOCGIFFLAGS", First, &[Fd, Int, updates(40)]),
    call(0x8914, "ioctl SIOCSIFFLAGS", Sync, &[Fd, Int, reads(40)]),
    call(0x8915, "ioctl SIOCGIFADDR", First, &[Fd, Int, updates(40)]),
    call(0x8916, "ioctl SIOCSIFADDR", Sync, &[Fd, Int, reads(40)]),
    call(0x8917, "ioctl SIOCGIFDSTADDR", First, &[Fd, Int, updates(40)]),
    call(0x8918, "ioctl SIOCSIFDSTADDR", Sync, &[Fd, Int, reads(40)]),
    call(0x8919, "ioctl SIOCGIFBRDADDR", First, &[Fd, Int, updates(40)]),
    call(0x891a, "ioctl SIOCSIFBRDADDR", Sync, &[Fd, Int, reads(40)]),
    call(0x891b, "ioctl SIOCGIFNETMASK", First, &[Fd, Int, updates(40)]),
    call(0x891c, "ioctl SIOCSIFNETMASK", Sync, &[Fd, Int, reads(40)]),
    call(0x891d, "ioctl SIOCGIFMETRIC", First, &[Fd, Int, updates(40)]),
    call(0x8921, "ioctl SIOCGIFMTU", First, &[Fd, Int, updates(40)]),
    call(0x8922, "ioctl SIOCSIFMTU", Sync, &[Fd, Int, reads(40)]),
    call(0x8923, "ioctl SIOCSIFNAME", Sync, &[Fd, Int, reads(40)]),
    call(0x8924, "ioctl SIOCSIFHWADDR", Sync, &[Fd, Int, reads(40)]),
    call(0x8927, "ioctl SIOCGIFHWADDR", First, &[Fd, Int, updates(40)]),
    call(0x8931, "ioctl SIOCADDMULTI", Sync, &[Fd, Int, reads(40)]),
    call(0x8932, "ioctl SIOCDELMULTI", Sync, &[Fd, Int, reads(40)]),
    call(0x8933, "ioctl SIOCGIFINDEX", First, &[Fd, Int, updates(40)]),
    call(0x8936, "ioctl SIOCDIFADDR", Sync, &[Fd, Int, reads(40)]),
    call(0x8937, "ioctl SIOCSIFHWBROADCAST", Sync, &[Fd, Int, reads(40)]),
    call(0x8942, "ioctl SIOCGIFTXQLEN", First, &[Fd, Int, updates(40)]),
    call(0x8943, "ioctl SIOCSIFTXQLEN", Sync, &[Fd, Int, reads(40)]),
    call(0x8946, "ioctl SIOCETHTOOL", Refused, &[Fd, Int, Addr]).error(libc::EOPNOTSUPP).note(POINTER),
    call(0x8947, "ioctl SIOCGMIIPHY", First, &[Fd, Int, updates(40)]),
    call(0x8948, "ioctl SIOCGMIIREG", First, &[Fd, Int, updates(40)]),
    call(0x894b, "ioctl SIOCOUTQNSD", Sync, &[Fd, Int, writes(4)]),
    call(0x894c, "ioctl SIOCGSKNS", Sync, &[Fd, Int, Addr]),
    call(0x8953, "ioctl SIOCDARP", Sync, &[Fd, Int, reads(68)]),
    call(0x8954, "ioctl SIOCGARP", First, &[Fd, Int, updates(68)]),
    call(0x8955, "ioctl SIOCSARP", Sync, &[Fd, Int, reads(68)]),
    call(0x8970, "ioctl SIOCGIFMAP", First, &[Fd, Int, updates(40)]),
    call(0x8971, "ioctl SIOCSIFMAP", Sync, &[Fd, Int, reads(40)]),
    call(0x4004_54ca, "ioctl TUNSETIFF", Sync, &[Fd, Int, updates(40)])
        .note("A struct ifreq, whatever the size in the number says."),
    call(0x4004_54cb, "ioctl TUNSETPERSIST", Sync, &[Fd, Int, Int]),
    call(0x4004_54cc, "ioctl TUNSETOWNER", Sync, &[Fd, Int, Int]),
    call(0x4004_54ce, "ioctl TUNSETGROUP", Sync, &[Fd, Int, Int]),
    call(0x8004_54cf, "ioctl TUNGETFEATURES", First, &[Fd, Int, writes(4)]),
    call(0x8004_54d2, "ioctl TUNGETIFF", First, &[Fd, Int, updates(40)])
        .note("A struct ifreq, whatever the size in the number says."),
    call(0x8010_8906, "ioctl SIOCGSTAMP_NEW", Sync, &[Fd, Int, writes(16)]),
    call(0x8010_8907, "ioctl SIOCGSTAMPNS_NEW", Sync, &[Fd, Int, writes(16)]),
];
