//! The controller reads tokio's clock and starts no threads, so that it runs in virtual time as it is.

use std::fs;

use super::{files, repository};

/// The crates that the controller consists of.
const CRATES: [&str; 5] = ["api", "core", "signals", "cluster", "controller"];

/// What reads a clock that a simulation cannot pause, or runs beside its one thread.
const FORBIDDEN: [&str; 5] = ["std::time::Instant", "SystemTime", "Timestamp::now", "thread::spawn", "spawn_blocking"];

/// The wall clock of the machine: for log lines, before the API server has answered, and to say in the
/// log that it differs from the API server's.
const WALL_CLOCK: &str = "crates/controller/src/clock.rs";

#[test]
fn the_controller_reads_no_clock_that_cannot_be_paused() {
    for path in CRATES.iter().flat_map(|one| files(&format!("crates/{one}/src"), "rs")) {
        let place = path.strip_prefix(repository()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let hidden = line.contains("use std::time::{") && line.contains("Instant");
            let found = FORBIDDEN.into_iter().find(|one| line.contains(one));
            let allowed = place == WALL_CLOCK && found == Some("Timestamp::now");
            assert!(
                (found.is_none() || allowed) && !hidden,
                "{place}:{} uses {}: use tokio::time::Instant, or take the time as an argument",
                number + 1,
                found.unwrap_or("std::time::Instant")
            );
        }
    }
}
