//! Tables for people: columns of text, without lines.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// A table with these heads.
pub fn table<const N: usize>(
    heads: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(heads);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Control characters of what others wrote are not for the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
