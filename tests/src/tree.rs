//! A picture of a directory: names, kinds, modes and content.
//!
//! Invariant: nothing in it depends on when or where it was taken (no times, no inode numbers). Taken
//! after each run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory with these permission bits.
    Directory(u32),
    /// A file with these permission bits and this content.
    File(u32, Vec<u8>),
    /// A symbolic link to this.
    Link(Vec<u8>),
    /// A FIFO, socket or device.
    Other(&'static str),
}

/// Entries by their path below the directory.
pub type Tree = BTreeMap<String, Entry>;

/// Takes the picture of a directory.
///
/// # Panics
/// If it cannot be read.
pub(crate) fn snapshot(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, "", &mut tree);
    tree
}

fn walk(directory: &Path, prefix: &str, tree: &mut Tree) {
    let list =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in list {
        let entry = entry.expect("the directory can be read");
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let info = fs::symlink_metadata(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mode = info.mode() & 0o7777;
        let kind = info.file_type();
        let seen = if kind.is_dir() {
            walk(&path, &format!("{name}/"), tree);
            Entry::Directory(mode)
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link can be read");
            Entry::Link(target.into_os_string().into_encoded_bytes())
        } else if kind.is_file() {
            let content =
                fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Entry::File(mode, content)
        } else if kind.is_fifo() {
            Entry::Other("FIFO")
        } else if kind.is_socket() {
            Entry::Other("socket")
        } else {
            Entry::Other("device")
        };
        tree.insert(name, seen);
    }
}
