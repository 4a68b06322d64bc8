//! `docs/performance.md`, from the kept runs.

mod sections;

use super::figures::{self, OverRuns, RUNS_FOR_A_CLAIM};
use super::run::Run;
use super::text::{line, quantity, range};
use crate::machine::Machine;

/// The explanations below the figures. They are not generated.
const NOTES: &str = include_str!("notes.md");

/// The page.
pub(crate) fn page(runs: &[Run]) -> String {
    let mut page = String::from("# Performance\n\n");
    line(
        &mut page,
        "`make bench` measures everything on this page. It keeps the newest 10 whole, valid runs in\n\
         [performance.json](performance.json) and writes this page from them.\n",
    );
    line(&mut page, &format!("{}\n", claim(runs.len())));
    for reason in runs.iter().flat_map(|run| &run.invalid) {
        line(&mut page, &format!("**A run is invalid:** {reason}.\n"));
    }
    if runs.iter().any(|run| run.quick) {
        line(&mut page, "**A quick run:** it has too few samples to be quoted.\n");
    }
    page.push_str(&self::runs(runs));
    page.push_str(&bounds(runs));
    page.push_str(&sections::all(runs));
    page.push('\n');
    page.push_str(NOTES);
    page
}

/// What the number of runs means.
fn claim(runs: usize) -> String {
    match runs {
        0 => "**No run yet.**".to_owned(),
        1 => {
            format!("**1 run: not a claim yet.** A claim needs {RUNS_FOR_A_CLAIM} runs, on different days or machines.")
        }
        few if few < RUNS_FOR_A_CLAIM => format!(
            "**{few} runs: not a claim yet.** A claim needs {RUNS_FOR_A_CLAIM} runs, on different days or machines. \
             Each figure is the median of the runs, with its range in parentheses."
        ),
        many => format!("{many} runs. Each figure is the median of the runs, with its range in parentheses."),
    }
}

fn runs(runs: &[Run]) -> String {
    let mut page =
        String::from("## Runs\n\n| date | version (profile) | machine | load before | |\n|---|---|---|---|---|\n");
    for Run { date, version, profile, machine, note, .. } in runs {
        let Machine { cores, processor, memory_gib, kernel, load_before } = machine;
        let (date, note) = (date.strftime("%Y-%m-%d"), note.as_deref().unwrap_or_default());
        line(
            &mut page,
            &format!(
                "| {date} | {version} ({profile}) | {cores} cores ({processor}), {memory_gib:.0} GiB, Linux {kernel} | {load_before} | {note} |"
            ),
        );
    }
    page
}

/// The figures with a bound, as a table.
pub(crate) fn bounds(runs: &[Run]) -> String {
    let mut page = String::from("\n## Bounds\n\n| figure | measured | at most | runs | |\n|---|---|---|---|---|\n");
    for figure in figures::over_runs(runs) {
        let (measured, at_most) = (range(figure.range, figure.unit), quantity(figure.at_most, figure.unit));
        let (name, runs, verdict) = (&figure.name, figure.range.runs, verdict(&figure));
        line(&mut page, &format!("| {name} | {measured} | {at_most} | {runs} | {verdict} |"));
    }
    page
}

/// A bound is met only if it holds in every run, and only if there are enough runs.
fn verdict(OverRuns { range, holds, .. }: &OverRuns) -> String {
    match (range.runs - holds, range.runs) {
        (0, few) if few < RUNS_FOR_A_CLAIM => format!("holds in {few} of {few}, not a claim yet"),
        (0, _) => "met".to_owned(),
        (missed, runs) => format!("**missed** in {missed} of {runs}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::measure::latency::{Latency, Spread};
    use crate::report::runs;

    fn run(prunella: f64) -> Run {
        let spread = |p50| Spread { samples: 10, lost: 0, p50, p90: 1.5, p99: 2.0 };
        let mut run = Run::start("dist", false);
        let (classic, prunella) = (spread(1.0), spread(prunella));
        run.latency = Some(vec![Latency { policies: 10, at_once: 1, classic, prunella }]);
        run
    }

    #[test]
    fn fewer_than_three_runs_are_not_a_claim() {
        for (runs, claim, verdict) in [
            (vec![run(0.7)], "1 run: not a claim yet", "holds in 1 of 1, not a claim yet"),
            (vec![run(0.7); 2], "2 runs: not a claim yet", "holds in 2 of 2, not a claim yet"),
            (vec![run(0.7); 3], "3 runs. Each figure", "| 3 | met |"),
        ] {
            let page = page(&runs);
            assert!(page.contains(claim) && page.contains(verdict), "{page}");
        }
    }

    #[test]
    fn a_bound_is_met_only_if_it_holds_in_all_runs() {
        let page = page(&[run(0.7), run(0.8), run(1.1)]);
        let row = "p50, 10 policies, one fault at a time | 0.800 × classic (0.700 to 1.10) | 1.00 × classic | 3 |";
        assert!(page.contains(&format!("{row} **missed** in 1 of 3 |")), "{page}");
    }

    #[test]
    fn a_part_that_was_not_measured_has_no_section_and_an_invalid_run_says_why() {
        let mut run = Run::start("dist", false);
        run.invalid.push("a reason".to_owned());
        let page = page(&[run]);
        assert!(page.contains("**A run is invalid:** a reason."), "{page}");
        assert!(!page.contains("## CPU") && !page.contains("## Resident memory"), "{page}");
    }

    /// `bench --page-only` writes the page again.
    #[test]
    fn the_page_in_the_documentation_is_written_from_the_kept_runs() {
        let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let kept = runs::read(&docs.join("performance.json")).unwrap();
        assert!(kept.iter().all(|run| run.valid && run.is_whole()));
        let written = std::fs::read_to_string(docs.join("performance.md")).unwrap();
        assert!(page(&kept) == written, "docs/performance.md is not up to date");
    }
}
