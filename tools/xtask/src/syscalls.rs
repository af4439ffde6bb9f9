//! `cargo xtask syscalls`: the page docs/syscalls.md comes from the syscall table alone.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use chameleon_interpose::table;

fn path() -> PathBuf {
    crate::root().join("docs/syscalls.md")
}

/// Writes the page, or only compares it.
pub fn run(check: bool) -> anyhow::Result<()> {
    let path = path();
    let page = table::page();
    if !check {
        return fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()));
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    if written != page {
        let line =
            1 + written.lines().zip(page.lines()).take_while(|(old, new)| old == new).count();
        bail!("docs/syscalls.md is not current from line {line} on: run `cargo xtask syscalls`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_what_the_table_says() {
        super::run(true).expect("it is current");
    }
}
