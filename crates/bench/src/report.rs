//! Everything that was measured, and the bounds that it is held to.

use jiff::Timestamp;
use serde::Serialize;

use crate::latency::Latency;
use crate::memory::Memory;
use crate::proc::Machine;
use crate::window::Window;

/// What the classic path takes at these settings, by p50 in seconds: half a scrape and half
/// an evaluation on average, less what their offsets have in common. A run that sees
/// something else has measured the machine, or a mistake.
const CLASSIC: f64 = 0.92;
/// How far off it may be.
const CLASSIC_WITHIN: f64 = 0.3;

/// One run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) version: &'static str,
    /// The profile of cargo that the controller was built with.
    pub(crate) profile: String,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) latency: Option<Vec<Latency>>,
    pub(crate) cpu: Option<Window>,
    pub(crate) quiet: Option<Window>,
    pub(crate) memory: Option<Memory>,
    pub(crate) bounds: Vec<Bound>,
    /// Why the run proves nothing, if so.
    pub(crate) invalid: Vec<String>,
}

/// A figure and what it must not exceed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bound {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) measured: f64,
    pub(crate) at_most: f64,
    pub(crate) met: bool,
}

impl Report {
    /// A run that has measured nothing yet.
    pub(crate) fn begin(profile: &str, quick: bool) -> Self {
        Self {
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            version: env!("CARGO_PKG_VERSION"),
            profile: profile.to_owned(),
            quick,
            machine: Machine::here(),
            latency: None,
            cpu: None,
            quiet: None,
            memory: None,
            bounds: Vec::new(),
            invalid: Vec::new(),
        }
    }

    /// Holds what was measured to its bounds, and says whether it is worth anything.
    pub(crate) fn judge(&mut self) {
        let mut bounds = Vec::new();
        let mut hold = |what: String, unit, measured: f64, at_most: f64| {
            bounds.push(Bound { what, unit, measured, at_most, met: measured <= at_most });
        };
        for Latency { policies, at_once, classic, ours } in self.latency.iter().flatten() {
            for (percentile, ours, classic) in
                [("p50", ours.p50, classic.p50), ("p90", ours.p90, classic.p90), ("p99", ours.p99, classic.p99)]
            {
                let crowd = if *at_once == 1 { String::new() } else { format!(", {at_once} faults at once") };
                let what = format!("fault to write, {percentile}, {policies} policies{crowd}: the classic path's");
                hold(what, "s", ours, classic);
            }
        }
        if let Some(cpu) = &self.cpu {
            let what = "controller's CPU for 1 000 evaluations".to_owned();
            hold(what, "s", cpu.controller_per_thousand(), 0.03);
        }
        if let Some(quiet) = &self.quiet {
            hold("writes of a quiet policy in an hour".to_owned(), "", quiet.writes_per_policy_hour(), 0.0);
        }
        if let Some(memory) = &self.memory {
            hold("resident memory without policies".to_owned(), "MB", memory.idle_kb / 1000.0, 16.0);
            hold("resident memory for each policy".to_owned(), "kB", memory.per_policy(), 10.0);
            hold("resident memory for each watched pod".to_owned(), "kB", memory.per_pod(), 1.0);
        }
        self.bounds = bounds;
        self.invalid = self.latency.iter().flatten().flat_map(strange).collect();
    }
}

/// Why a round of faults proves nothing.
fn strange(Latency { policies, at_once, classic, ours }: &Latency) -> Vec<String> {
    let mut why = Vec::new();
    // What is not a number is not near one.
    let near = (classic.p50 / CLASSIC - 1.0).abs() <= CLASSIC_WITHIN;
    if !near {
        let p50 = classic.p50;
        why.push(format!(
            "with {policies} policies and {at_once} faults at once the classic path took {p50:.2} s at p50, not within 30 % of {CLASSIC} s"
        ));
    }
    let lost = classic.lost + ours.lost;
    if lost > 0 {
        why.push(format!("with {policies} policies and {at_once} faults at once {lost} were not answered at all"));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Spread;

    fn report(classic: f64, ours: f64) -> Report {
        let spread = |p50| Spread { samples: 10, lost: 0, p50, p90: 1.5, p99: 2.0 };
        let mut report = Report::begin("dist", false);
        report.latency = Some(vec![Latency { policies: 10, at_once: 1, classic: spread(classic), ours: spread(ours) }]);
        report.judge();
        report
    }

    #[test]
    fn a_run_whose_yardstick_is_off_is_invalid() {
        for (classic, valid) in
            [(0.92, true), (0.65, true), (0.64, false), (1.19, true), (1.2, false), (f64::NAN, false)]
        {
            assert_eq!(report(classic, 0.5).invalid.is_empty(), valid, "{classic}");
        }
    }

    #[test]
    fn a_bound_is_met_up_to_itself_and_never_by_what_is_no_number() {
        for (ours, met) in [(0.9, true), (0.92, true), (0.93, false), (f64::NAN, false)] {
            assert_eq!(report(0.92, ours).bounds[0].met, met, "{ours}");
        }
    }
}
