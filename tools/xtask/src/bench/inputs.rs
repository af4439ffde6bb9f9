//! Input files for the programs: large enough that a run takes a second or so, the same each time.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// A small generator (xorshift64*): the inputs must be equal from run to run, not unpredictable.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Lines of hexadecimal digits, about so many bytes.
pub fn lines(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut numbers = Numbers(0x00c0_ffee);
    let mut file = BufWriter::new(File::create(path)?);
    // 16 digits twice and the end of the line.
    for _ in 0..bytes / 33 {
        writeln!(file, "{:016x}{:016x}", numbers.next(), numbers.next())?;
    }
    file.flush()
}

/// Bytes without a pattern.
pub fn noise(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut numbers = Numbers(0x0bad_cafe);
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..bytes / 8 {
        file.write_all(&numbers.next().to_le_bytes())?;
    }
    file.flush()
}

/// A tree of small files: so many directories, so many files in each.
pub fn tree(path: &Path, directories: u32, files: u32) -> std::io::Result<()> {
    for directory in 0..directories {
        let below = path.join(format!("directory-{directory}"));
        fs::create_dir_all(&below)?;
        for file in 0..files {
            fs::write(below.join(format!("file-{file}")), b"x")?;
        }
    }
    Ok(())
}

/// A program for python3 that hashes, sorts, builds and parses, and prints little.
pub const PYTHON: &str = r#"
import hashlib, json
digest = hashlib.sha256()
table = {}
for i in range(400000):
    key = str(i * 2654435761 % 1000003)
    table[key] = table.get(key, 0) + i
for key in sorted(table):
    digest.update(key.encode())
text = json.dumps([[key, table[key]] for key in sorted(table)[:20000]])
print(digest.hexdigest(), len(json.loads(text)))
"#;
