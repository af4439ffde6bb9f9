//! Where a dispatcher may be killed on purpose, in builds with the feature `crash-points` alone:
//! behind every store that a successor goes by. Elsewhere all of this is nothing.
//!
//! `CHAMELEON_CRASH=SEED:MOST` has each life of a dispatcher end after 1 to MOST such points, as
//! SEED decides; so that with some seeds every window between two stores is met, which kills from
//! outside find only by luck.

#[cfg(feature = "crash-points")]
mod on {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Points that this process has left.
    static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

    pub(super) fn arm(life: u64) {
        let told = std::env::var("CHAMELEON_CRASH").unwrap_or_default();
        let Some((seed, most)) = told.split_once(':') else { return };
        let (Ok(seed), Ok(most)) = (seed.parse::<u64>(), most.parse::<u64>()) else { return };
        // splitmix64: neighbouring seeds and lives have nothing in common.
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(life << 32 | life);
        for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            x = (x ^ x >> 30).wrapping_mul(factor);
        }
        LEFT.store((x >> 8) % most.max(1) + 1, Ordering::Relaxed);
    }

    pub(super) fn pass() {
        if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
            chameleon_sys::process::kill(std::process::id(), libc::SIGKILL);
        }
    }
}

/// This process is life number `life` of a dispatcher, and ends when it is told to.
pub(crate) fn arm(life: u64) {
    #[cfg(feature = "crash-points")]
    on::arm(life);
    let _ = life;
}

/// Between two effects: a successor must find its way from here.
pub(crate) fn point() {
    #[cfg(feature = "crash-points")]
    on::pass();
}
