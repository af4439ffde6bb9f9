//! Input for programs: text and bytes that look irregular and are the same every time.
//!
//! Invariant: a function of the seed and the size alone. Called by the program tests.

/// A generator of numbers (xorshift64*), seeded.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Starts at this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Lines of three to nine words and a number, at least `bytes` bytes.
pub fn text(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "replica", "ballot", "voter", "quorum", "the", "of", "journal", "epoch", "lease", "a",
        "fault", "masked", "outside", "sphere", "call", "repair",
    ];
    let mut numbers = Numbers::new(seed);
    let mut all = Vec::with_capacity(bytes + 100);
    while all.len() < bytes {
        for _ in 0..3 + numbers.draw() % 7 {
            all.extend_from_slice(WORDS[(numbers.draw() % 16) as usize].as_bytes());
            all.push(b' ');
        }
        all.extend_from_slice(format!("{}\n", numbers.draw() % 1_000_000).as_bytes());
    }
    all
}

/// Bytes without pattern.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        all.extend_from_slice(&numbers.draw().to_le_bytes());
    }
    all.truncate(bytes);
    all
}

/// A TCP port of the loopback that was free a moment ago.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
