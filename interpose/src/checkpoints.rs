//! Temporary.

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints {
    /// ns
    pub every: Option<u64>,
    /// calls
    pub calls: Option<u64>,
    /// retries
    pub retries: u32,
    /// ns
    pub livelock: Option<u64>,
}

impl Checkpoints {
    /// From the environment.
    pub fn from_env() -> Option<Self> {
        let text = std::env::var("CHAMELEON_CKPT").ok()?;
        let mut it = text.split(',');
        let ms: u64 = it.next()?.parse().ok()?;
        let calls: u64 = it.next().and_then(|c| c.parse().ok()).unwrap_or(0);
        let live: u64 = it.next().and_then(|c| c.parse().ok()).unwrap_or(0);
        Some(Self {
            every: (ms != 0).then_some(ms * 1_000_000),
            calls: (calls != 0).then_some(calls),
            retries: 3,
            livelock: (live != 0).then_some(live * 1_000_000),
        })
    }
}
