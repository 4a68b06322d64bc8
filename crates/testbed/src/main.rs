//! Written in the next commits.
fn main() {}
