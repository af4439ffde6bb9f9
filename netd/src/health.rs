//! How the node does, from /proc and /sys (paper 4.2.1: the heartbeat with health).
//!
//! Invariant: what the machine does not count is nothing, not 0. Used by `own`.

use std::fs;
use std::path::Path;

use chameleon_proto::message::env::Health;

/// How the node does now, with so many ARMORs on it.
pub fn now(armors: u32) -> Health {
    Health {
        load: load(&read("/proc/loadavg")).unwrap_or(0),
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        memory_available: memory(&read("/proc/meminfo"), "MemAvailable:").unwrap_or(0),
        memory: memory(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        memory_errors: memory_errors(Path::new("/sys/devices/system/edac/mc")),
        io_errors: io_errors(Path::new("/sys/block")),
        armors,
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The load of the last minute in hundredths, of `proc_loadavg(5)`.
fn load(text: &str) -> Option<u32> {
    let (whole, part) = text.split_whitespace().next()?.split_once('.')?;
    Some(whole.parse::<u32>().ok()?.saturating_mul(100).saturating_add(part.parse().ok()?))
}

/// A row of `proc_meminfo(5)`, in bytes.
fn memory(text: &str, row: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(row))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Corrected and uncorrected errors of all memory controllers that count them (EDAC).
fn memory_errors(controllers: &Path) -> Option<u64> {
    let counts = fs::read_dir(controllers).ok()?.flatten().flat_map(|controller| {
        ["ce_count", "ue_count"]
            .map(|count| read(controller.path().join(count)).trim().parse().ok())
    });
    counts.flatten().reduce(u64::saturating_add)
}

/// Errors of all block devices that count them (SCSI's `ioerr_cnt`, hexadecimal).
fn io_errors(devices: &Path) -> Option<u64> {
    let counts = fs::read_dir(devices).ok()?.flatten().map(|device| {
        let text = read(device.path().join("device/ioerr_cnt"));
        u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    });
    counts.flatten().reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_its_manual_says() {
        assert_eq!(load("1.07 0.50 0.20 1/100 1234\n"), Some(107));
        assert_eq!(load(""), None);
        assert_eq!(
            memory("MemTotal:       2000 kB\nMemFree: 1 kB\n", "MemTotal:"),
            Some(2_048_000)
        );
        let health = now(3);
        assert!(health.memory >= health.memory_available && health.memory > 0 && health.cpus > 0);
        assert_eq!(health.armors, 3);
    }

    #[test]
    fn counters_are_added_and_none_is_not_zero() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!((memory_errors(at), io_errors(at)), (None, None));
        for (name, count) in
            [("mc0/ce_count", "3\n"), ("mc0/ue_count", "1\n"), ("mc1/ce_count", "2\n")]
        {
            fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
            fs::write(at.join(name), count).unwrap();
        }
        fs::create_dir_all(at.join("sda/device")).unwrap();
        fs::write(at.join("sda/device/ioerr_cnt"), "0x1f\n").unwrap();
        assert_eq!((memory_errors(at), io_errors(at)), (Some(6), Some(31)));
    }
}
