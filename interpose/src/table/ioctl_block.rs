//! Requests of ioctl(2) on block devices, loop devices and CD drives.
//!
//! Invariant: data only, ascending.

use super::words::*;

/// Why a CD request is refused.
const CD: &str = "Its structures point to further memory, or hold what the drive's firmware says.";

/// Block devices.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(0x0301, "ioctl HDIO_GETGEO", First, &[Fd, Int, writes(16)]),
    call(0x125d, "ioctl BLKROSET", Sync, &[Fd, Int, reads(4)]),
    call(0x125e, "ioctl BLKROGET", First, &[Fd, Int, writes(4)]),
    call(0x125f, "ioctl BLKRRPART", Sync, &[Fd, Int, Addr]),
    call(0x1260, "ioctl BLKGETSIZE", First, &[Fd, Int, writes(8)]),
    call(0x1261, "ioctl BLKFLSBUF", Sync, &[Fd, Int, Addr]),
    call(0x1262, "ioctl BLKRASET", Sync, &[Fd, Int, Int]),
    call(0x1263, "ioctl BLKRAGET", First, &[Fd, Int, writes(8)]),
    call(0x1264, "ioctl BLKFRASET", Sync, &[Fd, Int, Int]),
    call(0x1265, "ioctl BLKFRAGET", First, &[Fd, Int, writes(8)]),
    call(0x1267, "ioctl BLKSECTGET", First, &[Fd, Int, Out { cap: Len::Fixed(4), used: Len::Fixed(2) }])
        .note("A short; only the SCSI generic driver writes an int."),
    call(0x1268, "ioctl BLKSSZGET", First, &[Fd, Int, writes(4)]),
    call(0x1269, "ioctl BLKPG", Refused, &[Fd, Int, Addr]).error(libc::EINVAL)
        .note("Its structure points to further memory."),
    call(0x1277, "ioctl BLKDISCARD", Sync, &[Fd, Int, reads(16)]),
    call(0x1278, "ioctl BLKIOMIN", First, &[Fd, Int, writes(4)]),
    call(0x1279, "ioctl BLKIOOPT", First, &[Fd, Int, writes(4)]),
    call(0x127a, "ioctl BLKALIGNOFF", First, &[Fd, Int, writes(4)]),
    call(0x127b, "ioctl BLKPBSZGET", First, &[Fd, Int, writes(4)]),
    call(0x127c, "ioctl BLKDISCARDZEROES", First, &[Fd, Int, writes(4)]),
    call(0x127d, "ioctl BLKSECDISCARD", Sync, &[Fd, Int, reads(16)]),
    call(0x127e, "ioctl BLKROTATIONAL", First, &[Fd, Int, writes(2)]),
    call(0x127f, "ioctl BLKZEROOUT", Sync, &[Fd, Int, reads(16)]),
    call(0x4c00, "ioctl LOOP_SET_FD", Sync, &[Fd, Int, Fd]),
    call(0x4c01, "ioctl LOOP_CLR_FD", Sync, &[Fd, Int, Addr]),
    call(0x4c02, "ioctl LOOP_SET_STATUS", Sync, &[Fd, Int, reads(168)]),
    call(0x4c03, "ioctl LOOP_GET_STATUS", First, &[Fd, Int, writes(168)]),
    call(0x4c04, "ioctl LOOP_SET_STATUS64", Sync, &[Fd, Int, reads(232)]),
    call(0x4c05, "ioctl LOOP_GET_STATUS64", First, &[Fd, Int, writes(232)]),
    call(0x4c06, "ioctl LOOP_CHANGE_FD", Sync, &[Fd, Int, Fd]),
    call(0x4c07, "ioctl LOOP_SET_CAPACITY", Sync, &[Fd, Int, Addr]),
    call(0x4c08, "ioctl LOOP_SET_DIRECT_IO", Sync, &[Fd, Int, Int]),
    call(0x4c09, "ioctl LOOP_SET_BLOCK_SIZE", Sync, &[Fd, Int, Int]),
    call(0x4c0a, "ioctl LOOP_CONFIGURE", Sync, &[Fd, Int, reads(304)]),
    call(0x4c80, "ioctl LOOP_CTL_ADD", Sync, &[Fd, Int, Int]),
    call(0x4c81, "ioctl LOOP_CTL_REMOVE", Sync, &[Fd, Int, Int]),
    call(0x4c82, "ioctl LOOP_CTL_GET_FREE", Sync, &[Fd, Int, Addr]),
    call(0x5305, "ioctl CDROMREADTOCHDR", Refused, &[Fd, Int, Addr]).error(libc::ENOTTY).note(CD),
    call(0x5306, "ioctl CDROMREADTOCENTRY", Refused, &[Fd, Int, Addr]).error(libc::ENOTTY).note(CD),
    call(0x5309, "ioctl CDROMEJECT", Sync, &[Fd, Int, Addr]),
    call(0x5319, "ioctl CDROMCLOSETRAY", Sync, &[Fd, Int, Addr]),
    call(0x5326, "ioctl CDROM_DRIVE_STATUS", First, &[Fd, Int, Int]),
    call(0x5329, "ioctl CDROM_LOCKDOOR", Sync, &[Fd, Int, Int]),
    call(0x5331, "ioctl CDROM_GET_CAPABILITY", First, &[Fd, Int, Addr]),
    call(0x5393, "ioctl CDROM_SEND_PACKET", Refused, &[Fd, Int, Addr]).error(libc::ENOTTY).note(CD),
    call(0x4008_1271, "ioctl BLKBSZSET", Sync, &[Fd, Int, reads(4)])
        .note("An int, whatever the size in the number says."),
    call(0x8008_1270, "ioctl BLKBSZGET", First, &[Fd, Int, writes(4)])
        .note("An int, whatever the size in the number says."),
    call(0x8008_1272, "ioctl BLKGETSIZE64", First, &[Fd, Int, writes(8)]),
    call(0x8008_1280, "ioctl BLKGETDISKSEQ", First, &[Fd, Int, writes(8)]),
    call(0x8020_0204, "ioctl FDGETPRM", First, &[Fd, Int, writes(32)])
        .note("Programs that make file systems ask every device and file whether it is a floppy."),
];
