//! The rows, by kind.
//!
//! Invariant: names are unique. A row more is one entry in one of these files.

mod languages;
mod network;
mod packing;
mod tools;

use super::row::Row;

/// All rows, in the order of the page.
pub fn all() -> Vec<Row> {
    [packing::rows(), languages::rows(), network::rows(), tools::rows()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let rows = super::all();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
    }
}
