//! Each rule with its real thresholds and times. All five run at the same time, each with its
//! own app.

use std::time::Duration;

use anyhow::Result;

use crate::app::CLASSIC;
use crate::heal::{Patience, healed};
use crate::rules::{self, Rule};

/// Longer than the longest `for` with the time before it, and the longest `verify.within`.
const PATIENCE: Patience = Patience { in_all: Duration::from_mins(20), verified: Duration::from_mins(10) };

async fn with_its_numbers(rule: Rule) -> Result<()> {
    healed(rule, CLASSIC, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn more_than_200_mb_for_one_minute() -> Result<()> {
    with_its_numbers(rules::HIGH_MEMORY_USAGE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn more_than_three_restarts_in_five_minutes_for_two() -> Result<()> {
    with_its_numbers(rules::POD_CRASH_LOOPING).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn more_than_a_tenth_of_the_answers_for_one_minute() -> Result<()> {
    with_its_numbers(rules::HIGH_ERROR_RATE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn running_and_not_ready_for_two_minutes() -> Result<()> {
    with_its_numbers(rules::POD_NOT_READY).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn more_than_four_fifths_of_the_cpu_limit_for_two_minutes() -> Result<()> {
    with_its_numbers(rules::HIGH_CPU_USAGE).await
}
