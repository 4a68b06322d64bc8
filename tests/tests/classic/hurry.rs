//! Each rule in the version of `make demo`.

use std::time::Duration;

use anyhow::Result;

use crate::app::Folder;
use crate::heal::{Patience, healed};
use crate::rules::{self, Rule};

const HURRY: Folder = Folder { path: "policies/demo" };
/// A fault takes up to half a minute to show, and an action as long to be verified. This is
/// longer, for a busy machine.
const PATIENCE: Patience = Patience { in_all: Duration::from_mins(4), verified: Duration::from_mins(2) };

async fn in_a_hurry(rule: Rule) -> Result<()> {
    healed(rule, HURRY, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_uses_too_much_memory_is_evicted() -> Result<()> {
    in_a_hurry(rules::HIGH_MEMORY_USAGE).await
}

/// The pod is not ready either, but the rule for that must not act.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployment_with_a_pod_in_a_crash_loop_is_restarted_and_by_one_rule_only() -> Result<()> {
    in_a_hurry(rules::POD_CRASH_LOOPING).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_answers_with_errors_is_evicted() -> Result<()> {
    in_a_hurry(rules::HIGH_ERROR_RATE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_runs_and_is_not_ready_is_evicted() -> Result<()> {
    in_a_hurry(rules::POD_NOT_READY).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployment_whose_pods_are_near_their_cpu_limit_gets_one_more() -> Result<()> {
    in_a_hurry(rules::HIGH_CPU_USAGE).await
}
