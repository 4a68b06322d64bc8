//! The timelines of faults as text.

use super::figures::Range;
use super::text::line;
use crate::measure::timeline::{FaultTimeline, Stage};
use crate::path::HealingPath;

/// Where the time goes, as a table of both paths side by side, and then one line per fault.
/// All numbers are milliseconds.
pub(crate) fn timeline(faults: &[FaultTimeline]) -> String {
    let mut text = String::from("Faults at the same time: median (worst) of each segment, in ms\n\n");
    line(&mut text, &format!("{:<48}{:>16}{:>16}", "segment", "Prunella", "classic"));
    for stage in Stage::ALL.into_iter().skip(1) {
        let of = |path| cell(faults, path, |one| one.segment(stage));
        let (prunella, classic) = (of(HealingPath::Prunella), of(HealingPath::Classic));
        line(&mut text, &format!("{:<48}{prunella:>16}{classic:>16}", name(stage)));
    }
    let total = |path| cell(faults, path, |one| one.between(Stage::Fault, Stage::Written));
    let (prunella, classic) = (total(HealingPath::Prunella), total(HealingPath::Classic));
    line(&mut text, &format!("{:<48}{prunella:>16}{classic:>16}", "total, fault to write accepted"));
    for path in HealingPath::ALL {
        line(&mut text, &format!("\nEach fault of the {} path, slowest first, in ms since its start", path.as_str()));
        line(&mut text, &row("target", |stage| word(stage).to_owned()));
        let mut own: Vec<_> = faults.iter().filter(|one| one.path == path).collect();
        let total = |one: &FaultTimeline| one.between(Stage::Fault, Stage::Written).unwrap_or(f64::INFINITY);
        own.sort_by(|a, b| total(b).total_cmp(&total(a)));
        for fault in own {
            let at = |stage| fault.between(Stage::Fault, stage).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
            line(&mut text, &row(&fault.deployment, at));
        }
    }
    text
}

/// A line with a column for each stage.
fn row(first: &str, column: impl Fn(Stage) -> String) -> String {
    Stage::ALL.into_iter().skip(1).fold(format!("{first:<12}"), |row, stage| row + &format!("{:>11}", column(stage)))
}

fn cell(faults: &[FaultTimeline], path: HealingPath, value: impl Fn(&FaultTimeline) -> Option<f64>) -> String {
    let values = faults.iter().filter(|one| one.path == path).filter_map(value);
    Range::of(values).map_or_else(|| "-".to_owned(), |range| format!("{:.0} ({:.0})", range.median, range.most))
}

/// A segment, by the stage at its end.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Fault => "fault",
        Stage::Scraped => "fault to scrape",
        Stage::Evaluated => "to the first evaluation that can see it",
        Stage::Decided => "to the reservation request / the webhook call",
        Stage::Reserved => "to the recorded reservation",
        Stage::Running => "to the recorded status Running",
        Stage::Received => "to the write request",
        Stage::Written => "to the accepted write",
        Stage::Done => "to the recorded status Settling (done)",
    }
}

/// The heading of a stage.
fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Fault => "fault",
        Stage::Scraped => "scraped",
        Stage::Evaluated => "evaluated",
        Stage::Decided => "decided",
        Stage::Reserved => "reserved",
        Stage::Running => "running",
        Stage::Received => "write",
        Stage::Written => "accepted",
        Stage::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::measure::timeline::Observed;

    #[test]
    fn a_stage_that_is_unknown_or_not_on_the_path_has_a_dash() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let fault = |scraped| Observed {
            deployment: "target-0".to_owned(),
            path: HealingPath::Classic,
            started: at(0),
            scraped: Some(at(scraped)),
            restart: None,
        };
        let faults = [300, 500, 400].map(|scraped| FaultTimeline::classic(&fault(scraped), None));
        let text = timeline(&faults);
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(row("fault to scrape").ends_with("-       400 (500)"), "{text}");
        assert!(row("to the recorded reservation").ends_with("-               -"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("target-0")).count(), 3, "{text}");
    }
}
