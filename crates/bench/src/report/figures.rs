//! The figures of a run that have a bound, and their spread over several runs.

use super::run::Run;
use crate::measure::latency::Latency;

/// A bound is a claim from this number of runs on.
pub(crate) const RUNS_FOR_A_CLAIM: usize = 3;

/// The bound for several faults at a time at p50 and p90, as a share of the classic path.
const AT_ONCE_AT_MOST: f64 = 0.8;
/// The bound for the controller's CPU, in seconds per 1 000 evaluations.
const CPU_AT_MOST: f64 = 0.25;

/// One figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) at_most: f64,
}

impl Figure {
    /// Whether the bound holds. It never holds for NaN.
    fn holds(&self) -> bool {
        self.value <= self.at_most
    }
}

/// The figures of a run that have a bound.
pub(crate) fn figures(run: &Run) -> Vec<Figure> {
    let mut figures: Vec<_> = run.latency.iter().flatten().flat_map(of_latency).collect();
    let mut add =
        |name: &str, unit, value, at_most| figures.push(Figure { name: name.to_owned(), unit, value, at_most });
    if let Some(cpu) = &run.cpu {
        add("CPU of the controller per 1 000 evaluations", "s", cpu.controller_per_thousand(), CPU_AT_MOST);
    }
    if let Some(quiet) = &run.quiet {
        add("writes of a quiet policy per hour", "", quiet.writes_per_policy_hour(), 0.0);
    }
    if let Some(memory) = &run.memory {
        add("resident memory without policies", "MB", memory.idle_kb / 1000.0, 16.0);
        add("resident memory per policy", "kB", memory.per_policy(), 10.0);
        add("resident memory per watched pod", "kB", memory.per_pod(), 1.0);
    }
    figures
}

/// The time from fault to write, as a share of the classic path in the same run. A share
/// can be compared between machines, seconds cannot.
fn of_latency(Latency { policies, at_once, classic, prunella }: &Latency) -> Vec<Figure> {
    let faults = if *at_once == 1 { "one fault at a time".to_owned() } else { format!("{at_once} faults at a time") };
    let share = |percentile, prunella: f64, classic: f64, at_most| Figure {
        name: format!("fault to write, {percentile}, {policies} policies, {faults}"),
        unit: "× classic",
        value: prunella / classic,
        at_most,
    };
    let at_most = if *at_once == 1 { 1.0 } else { AT_ONCE_AT_MOST };
    vec![
        share("p50", prunella.p50, classic.p50, at_most),
        share("p90", prunella.p90, classic.p90, at_most),
        share("p99", prunella.p99, classic.p99, 1.0),
    ]
}

/// The same figure in several runs.
#[derive(Debug, Clone)]
pub(crate) struct OverRuns {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) at_most: f64,
    pub(crate) range: Range,
    /// In how many runs the bound holds.
    pub(crate) holds: usize,
}

/// The figures of all runs that have a bound.
pub(crate) fn over_runs(runs: &[Run]) -> Vec<OverRuns> {
    let all: Vec<Figure> = runs.iter().flat_map(figures).collect();
    let mut names: Vec<&str> = Vec::new();
    for figure in &all {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    let of_name = |name: &str| {
        let same: Vec<_> = all.iter().filter(|one| one.name == name).collect();
        let first = same.first()?;
        let range = Range::of(same.iter().map(|one| one.value))?;
        let holds = same.iter().filter(|one| one.holds()).count();
        Some(OverRuns { name: first.name.clone(), unit: first.unit, at_most: first.at_most, range, holds })
    };
    names.into_iter().filter_map(of_name).collect()
}

/// The spread of a value over several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) runs: usize,
}

impl Range {
    /// `None` without values. The median of an even number is the mean of the middle two.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most, middle) = (*values.first()?, *values.last()?, values.len() / 2);
        let upper = *values.get(middle)?;
        let median =
            if values.len().is_multiple_of(2) { f64::midpoint(*values.get(middle - 1)?, upper) } else { upper };
        Some(Self { median, least, most, runs: values.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::latency::Spread;

    fn run(classic: f64, prunella: f64, at_once: usize) -> Run {
        let spread = |p50| Spread { samples: 10, lost: 0, p50, p90: 1.5, p99: 2.0 };
        let mut run = Run::start("dist", false);
        let (classic, prunella) = (spread(classic), spread(prunella));
        run.latency = Some(vec![Latency { policies: 10, at_once, classic, prunella }]);
        run
    }

    #[test]
    fn a_bound_holds_up_to_the_bound_itself_and_never_for_nan() {
        for (prunella, at_once, holds) in
            [(0.5, 1, true), (1.0, 1, true), (1.01, 1, false), (f64::NAN, 1, false), (0.8, 10, true), (0.81, 10, false)]
        {
            assert_eq!(figures(&run(1.0, prunella, at_once))[0].holds(), holds, "{prunella} with {at_once}");
        }
    }

    #[test]
    fn a_figure_has_its_median_its_range_and_the_runs_in_which_the_bound_holds() {
        let runs = [run(1.0, 0.7, 10), run(1.0, 0.9, 10), run(1.0, 0.75, 10)];
        let p50 = over_runs(&runs).remove(0);
        assert_eq!(p50.range, Range { median: 0.75, least: 0.7, most: 0.9, runs: 3 });
        assert_eq!((p50.holds, p50.name.as_str()), (2, "fault to write, p50, 10 policies, 10 faults at a time"));
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(Range::of([4.0, 1.0, 2.0, 3.0]).unwrap().median.total_cmp(&2.5), std::cmp::Ordering::Equal);
        assert_eq!(Range::of([]), None);
    }
}
