//! Lines on stdout, where `kubectl logs` finds them.

use std::fmt::Display;
use std::io::{Write, stdout};

/// Prints one line. A reader that has gone away is no reason to fail, which is
/// what `println!` would do.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout().lock(), "{line}");
}
