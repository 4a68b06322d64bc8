//! A source file is about one thing and stays short enough to read.

use std::fs;

use super::files;

const LINES_AT_MOST: usize = 600;

#[test]
fn no_source_file_is_too_long() {
    for path in files("crates", "rs").into_iter().chain(files("tests", "rs")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_AT_MOST, "{} has {lines} lines: split it by topic", path.display());
    }
}
