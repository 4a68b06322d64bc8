//! The end of the process, some time from now.

use std::process;
use std::time::{Duration, Instant};

use super::Stop;
use crate::quantity::Span;
use crate::say::say;

/// Time for the answer to reach whoever asked.
const LEAST_DELAY: Duration = Duration::from_millis(100);

pub(super) fn run(code: u8, delay: Span, ends: Option<Instant>, stop: &Stop) {
    let stopped = stop.within(delay.duration().max(LEAST_DELAY));
    let over = ends.is_some_and(|ends| Instant::now() >= ends);
    if !stopped && !over {
        say(format_args!("crash: exiting with code {code}"));
        process::exit(code.into());
    }
}
