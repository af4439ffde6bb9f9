//! Requests of ioctl(2): finding the row of one, and those on files of every kind.
//!
//! Invariant: a request is found by its low 32 bits (the kernel's parameter is an `unsigned int`,
//! and some C libraries sign-extend it). One that is not here is unknown: its buffers are too.
//! `_IOC` sizes in the numbers are checked against the rows by a test.

use super::words::*;
use super::{ioctl_block, ioctl_net, ioctl_tty};

/// Files of every kind, random numbers, clocks, events.
#[rustfmt::skip]
pub(super) const FILES: &[Entry] = &[
    call(0x0001, "ioctl FIBMAP", Sync, &[Fd, Int, updates(4)]),
    call(0x0002, "ioctl FIGETBSZ", First, &[Fd, Int, writes(4)]),
    call(0x5204, "ioctl RNDZAPENTCNT", Sync, &[Fd, Int, Addr]),
    call(0x5206, "ioctl RNDCLEARPOOL", Sync, &[Fd, Int, Addr]),
    call(0x5207, "ioctl RNDRESEEDCRNG", Sync, &[Fd, Int, Addr]),
    call(0x541b, "ioctl FIONREAD", Sync, &[Fd, Int, writes(4)]),
    call(0x5421, "ioctl FIONBIO", Sync, &[Fd, Int, reads(4)]),
    call(0x5450, "ioctl FIONCLEX", Sync, &[Fd, Int, Addr]),
    call(0x5451, "ioctl FIOCLEX", Sync, &[Fd, Int, Addr]),
    call(0x5452, "ioctl FIOASYNC", Sync, &[Fd, Int, reads(4)]),
    call(0x5460, "ioctl FIOQSIZE", First, &[Fd, Int, writes(8)]),
    call(0x7001, "ioctl RTC_AIE_ON", Sync, &[Fd, Int, Addr]),
    call(0x7002, "ioctl RTC_AIE_OFF", Sync, &[Fd, Int, Addr]),
    call(0x7003, "ioctl RTC_UIE_ON", Sync, &[Fd, Int, Addr]),
    call(0x7004, "ioctl RTC_UIE_OFF", Sync, &[Fd, Int, Addr]),
    call(0x7005, "ioctl RTC_PIE_ON", Sync, &[Fd, Int, Addr]),
    call(0x7006, "ioctl RTC_PIE_OFF", Sync, &[Fd, Int, Addr]),
    call(0xb701, "ioctl NS_GET_USERNS", Sync, &[Fd, Int, Addr]),
    call(0xb702, "ioctl NS_GET_PARENT", Sync, &[Fd, Int, Addr]),
    call(0xb703, "ioctl NS_GET_NSTYPE", First, &[Fd, Int, Addr]),
    call(0xb704, "ioctl NS_GET_OWNER_UID", First, &[Fd, Int, writes(4)]),
    call(0x4004_4900, "ioctl INOTIFY_IOC_SETNEXTWD", Sync, &[Fd, Int, Int]),
    call(0x4004_5201, "ioctl RNDADDTOENTCNT", Sync, &[Fd, Int, reads(4)]),
    call(0x4004_7211, "ioctl FAT_IOCTL_SET_ATTRIBUTES", Sync, &[Fd, Int, reads(4)]),
    call(0x4004_9409, "ioctl FICLONE", Sync, &[Fd, Int, Fd]),
    call(0x4008_5203, "ioctl RNDADDENTROPY", Sync, &[Fd, Int, In(Len::Inside(Inside::RandPool(2)))]),
    call(0x4008_5400, "ioctl TFD_IOC_SET_TICKS", Sync, &[Fd, Int, reads(8)]),
    call(0x4008_6602, "ioctl FS_IOC_SETFLAGS", Sync, &[Fd, Int, reads(4)])
        .note("An int, whatever the size in the number says."),
    call(0x4008_700c, "ioctl RTC_IRQP_SET", Sync, &[Fd, Int, Int]),
    call(0x4008_7602, "ioctl FS_IOC_SETVERSION", Sync, &[Fd, Int, reads(4)])
        .note("An int, whatever the size in the number says."),
    call(0x4008_8a01, "ioctl EPIOCSPARAMS", Sync, &[Fd, Int, reads(8)]),
    call(0x400c_6615, "ioctl FS_IOC_GET_ENCRYPTION_POLICY", First, &[Fd, Int, writes(12)]),
    call(0x401c_5820, "ioctl FS_IOC_FSSETXATTR", Sync, &[Fd, Int, reads(28)]),
    call(0x4020_940d, "ioctl FICLONERANGE", Sync, &[Fd, Int, reads(32)]),
    call(0x4024_7007, "ioctl RTC_ALM_SET", Sync, &[Fd, Int, reads(36)]),
    call(0x4024_700a, "ioctl RTC_SET_TIME", Sync, &[Fd, Int, reads(36)]),
    call(0x4028_700f, "ioctl RTC_WKALM_SET", Sync, &[Fd, Int, reads(40)]),
    call(0x4100_9432, "ioctl FS_IOC_SETFSLABEL", Sync, &[Fd, Int, Str]),
    call(0x8004_5200, "ioctl RNDGETENTCNT", First, &[Fd, Int, writes(4)]),
    call(0x8004_7013, "ioctl RTC_VL_READ", First, &[Fd, Int, writes(4)]),
    call(0x8004_7210, "ioctl FAT_IOCTL_GET_ATTRIBUTES", First, &[Fd, Int, writes(4)]),
    call(0x8008_6601, "ioctl FS_IOC_GETFLAGS", First, &[Fd, Int, writes(4)])
        .note("An int, whatever the size in the number says."),
    call(0x8008_700b, "ioctl RTC_IRQP_READ", First, &[Fd, Int, writes(8)]),
    call(0x8008_7601, "ioctl FS_IOC_GETVERSION", First, &[Fd, Int, writes(4)])
        .note("An int, whatever the size in the number says."),
    call(0x8008_8a02, "ioctl EPIOCGPARAMS", First, &[Fd, Int, writes(8)]),
    call(0x8011_1500, "ioctl FS_IOC_GETFSUUID", First, &[Fd, Int, writes(17)]),
    call(0x801c_581f, "ioctl FS_IOC_FSGETXATTR", First, &[Fd, Int, writes(28)]),
    call(0x8024_7008, "ioctl RTC_ALM_READ", First, &[Fd, Int, writes(36)]),
    call(0x8024_7009, "ioctl RTC_RD_TIME", First, &[Fd, Int, writes(36)]),
    call(0x8028_7010, "ioctl RTC_WKALM_RD", First, &[Fd, Int, writes(40)]),
    call(0x8081_1501, "ioctl FS_IOC_GETFSSYSFSPATH", First, &[Fd, Int, writes(129)]),
    call(0x8100_9431, "ioctl FS_IOC_GETFSLABEL", First, &[Fd, Int, writes(256)]),
    call(0x8230_7201, "ioctl VFAT_IOCTL_READDIR_BOTH", Sync, &[Fd, Int, writes(560)]),
    call(0x8230_7202, "ioctl VFAT_IOCTL_READDIR_SHORT", Sync, &[Fd, Int, writes(560)]),
    call(0xc004_5877, "ioctl FIFREEZE", Sync, &[Fd, Int, Addr]),
    call(0xc004_5878, "ioctl FITHAW", Sync, &[Fd, Int, Addr]),
    call(0xc018_5879, "ioctl FITRIM", Sync, &[Fd, Int, updates(24)]),
    call(0xc018_9436, "ioctl FIDEDUPERANGE", Sync, &[Fd, Int, InOut(Len::Inside(Inside::Dedupe(2)))]),
    call(0xc020_660b, "ioctl FS_IOC_FIEMAP", First, &[Fd, Int, InOutAlways(Len::Inside(Inside::Fiemap(2)))])
        .note("The flags that are not understood are written with EBADR."),
];

/// The tables of requests with their titles; each is sorted.
pub(super) const TABLES: &[(&str, &[Entry])] = &[
    ("ioctl: files, random numbers, clocks", FILES),
    ("ioctl: terminals", ioctl_tty::ROWS),
    ("ioctl: block devices", ioctl_block::ROWS),
    ("ioctl: network", ioctl_net::ROWS),
];

const _: () = {
    let mut i = 0;
    while i < TABLES.len() {
        super::choice::ascending(TABLES[i].1);
        i += 1;
    }
};

/// The row of a request.
pub(super) fn find(request: u32) -> Option<&'static Row> {
    TABLES.iter().find_map(|(_, table)| super::choice::find(table, request))
}
