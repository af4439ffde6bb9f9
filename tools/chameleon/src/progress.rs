//! Progress bars.
//!
//! Invariant: drawn on stderr, and only if that is a terminal; gone when they are finished. Called by
//! whatever takes long in the foreground.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of bytes, with room for a message before it.
pub fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let form = "{msg} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {eta}";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}
