//! Leaves out of a history what its broken promise does not need.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Plan, run};
use crate::faults::Weather;

/// The smallest plan that still breaks one of the same promises, or the plan itself if it breaks none.
///
/// # Errors
/// When a world cannot start.
pub fn shrink(plan: &Plan) -> Result<Plan> {
    let broken = promises(plan)?;
    let mut smallest = plan.clone();
    loop {
        let mut smaller = candidates(&smallest).into_iter();
        let found = loop {
            let Some(candidate) = smaller.next() else { return Ok(smallest) };
            if promises(&candidate)?.intersection(&broken).next().is_some() {
                break candidate;
            }
        };
        smallest = found;
    }
}

fn promises(plan: &Plan) -> Result<BTreeSet<&'static str>> {
    Ok(run(plan)?.violations.iter().map(|violation| violation.promise).collect())
}

/// The same with one thing less, the largest things first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    if plan.weather != Weather::default() {
        all.push(Plan { weather: Weather::default(), ..plan.clone() });
    }
    if plan.replicas > 1 {
        all.push(Plan { replicas: plan.replicas - 1, ..plan.clone() });
    }
    // The last policy is that of the witness.
    for left_out in 0..plan.policies.len().saturating_sub(1) {
        let mut smaller = plan.clone();
        smaller.policies.remove(left_out);
        all.push(smaller);
    }
    for left_out in 0..plan.happenings.len() {
        let mut smaller = plan.clone();
        smaller.happenings.remove(left_out);
        all.push(smaller);
    }
    all
}
