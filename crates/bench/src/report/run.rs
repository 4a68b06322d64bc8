//! One run of the bench.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::measure::latency::Latency;
use crate::measure::load::Window;
use crate::measure::memory::Memory;

/// The p50 of the classic path at these settings, in seconds: half a scrape interval plus
/// half an evaluation interval on average, less the time that their offsets have in common.
/// A run with another value has measured a busy machine or has a mistake.
const CLASSIC: f64 = 0.92;
/// How much the p50 may differ from it, as a share.
const CLASSIC_WITHIN: f64 = 0.3;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// When the run started.
    pub(crate) date: Timestamp,
    pub(crate) version: String,
    /// The cargo profile of the controller.
    pub(crate) profile: String,
    /// Fewer samples and policies: not for publication.
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    /// Whether the figures can be used.
    pub(crate) valid: bool,
    /// Why they cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) invalid: Vec<String>,
    /// What a reader must know about this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) latency: Option<Vec<Latency>>,
    pub(crate) cpu: Option<Window>,
    pub(crate) quiet: Option<Window>,
    pub(crate) memory: Option<Memory>,
}

impl Run {
    /// A run that has not measured anything yet.
    pub(crate) fn start(profile: &str, quick: bool) -> Self {
        let now = Timestamp::now();
        Self {
            date: Timestamp::from_second(now.as_second()).unwrap_or(now),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile.to_owned(),
            quick,
            machine: Machine::current(),
            valid: false,
            invalid: Vec::new(),
            note: None,
            latency: None,
            cpu: None,
            quiet: None,
            memory: None,
        }
    }

    /// Decides whether the run is valid. `failure` is the error that ended it early.
    pub(crate) fn finish(&mut self, failure: Option<String>) {
        self.invalid = self.latency.iter().flatten().flat_map(reasons_against).collect();
        self.invalid.extend(failure.map(|error| format!("the run ended early: {error}")));
        self.valid = self.invalid.is_empty();
    }

    /// Whether all parts were measured in full.
    pub(crate) fn is_whole(&self) -> bool {
        let parts = [self.latency.is_some(), self.cpu.is_some(), self.quiet.is_some(), self.memory.is_some()];
        !self.quick && parts.into_iter().all(|one| one)
    }
}

/// Why the figures of a round cannot be used.
fn reasons_against(Latency { policies, at_once, classic, prunella }: &Latency) -> Vec<String> {
    let mut reasons = Vec::new();
    let round = format!("with {policies} policies and {at_once} faults at a time,");
    // Written so that NaN is not near.
    let near = (classic.p50 / CLASSIC - 1.0).abs() <= CLASSIC_WITHIN;
    if !near {
        let (p50, percent) = (classic.p50, CLASSIC_WITHIN * 100.0);
        reasons.push(format!(
            "{round} the classic path took {p50:.2} s at p50, which is not within {percent:.0} % of {CLASSIC} s"
        ));
    }
    let lost = classic.lost + prunella.lost;
    if lost > 0 {
        reasons.push(format!("{round} {lost} faults had no write"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::latency::Spread;

    #[test]
    fn a_run_with_an_unusual_classic_path_is_invalid() {
        let spread = |p50| Spread { samples: 10, lost: 0, p50, p90: 1.5, p99: 2.0 };
        for (classic, valid) in
            [(0.92, true), (0.65, true), (0.64, false), (1.19, true), (1.2, false), (f64::NAN, false)]
        {
            let mut run = Run::start("dist", false);
            let (classic, prunella) = (spread(classic), spread(0.5));
            run.latency = Some(vec![Latency { policies: 10, at_once: 1, classic, prunella }]);
            run.finish(None);
            assert_eq!(run.valid, valid, "{:?}", run.invalid);
        }
    }

    #[test]
    fn a_run_that_ended_early_is_invalid() {
        let mut run = Run::start("dist", false);
        run.finish(Some("no disk".to_owned()));
        assert_eq!((run.valid, run.invalid.join("")), (false, "the run ended early: no disk".to_owned()));
        assert!(!run.is_whole());
    }
}
