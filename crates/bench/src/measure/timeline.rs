//! Where the time between a fault and its write goes, stage by stage, for both paths.
//!
//! | stage | source |
//! |---|---|
//! | fault, scrape | the exporter, which is in this process |
//! | evaluation (classic) | `startsAt` of the alert |
//! | evaluation (Prunella) | Prometheus' query log |
//! | webhook call | the webhook, which is in this process |
//! | reservation, status, write | the API server's request log |
//!
//! All clocks are the clock of this machine.

use jiff::Timestamp;

use crate::environment::request_log::{Record, Restart};
use crate::environment::webhook::Delivery;
use crate::path::HealingPath;

/// A point in time on the way from a fault to its write, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The exporter shows the fault.
    Fault,
    /// Prometheus scrapes it for the first time.
    Scraped,
    /// The first evaluation that can see it.
    Evaluated,
    /// The reservation reaches the API server, or Alertmanager's call reaches the webhook.
    Decided,
    /// The reservation is recorded.
    Reserved,
    /// The status `Running` is recorded.
    Running,
    /// The write reaches the API server.
    Received,
    /// The API server has accepted the write.
    Written,
    /// The status `Settling` is recorded: the write is done.
    Done,
}

impl Stage {
    /// All stages, in order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Fault,
        Self::Scraped,
        Self::Evaluated,
        Self::Decided,
        Self::Reserved,
        Self::Running,
        Self::Received,
        Self::Written,
        Self::Done,
    ];

    /// Whether this path has the stage.
    fn is_on(self, path: HealingPath) -> bool {
        path == HealingPath::Prunella || !matches!(self, Self::Reserved | Self::Running | Self::Done)
    }

    /// The stage before this one on a path.
    fn before(self, path: HealingPath) -> Option<Self> {
        Self::ALL.into_iter().rfind(|one| *one < self && one.is_on(path))
    }
}

/// The stages of one fault.
#[derive(Debug, Clone)]
pub(crate) struct FaultTimeline {
    pub(crate) deployment: String,
    pub(crate) path: HealingPath,
    at: Vec<(Stage, Timestamp)>,
}

impl FaultTimeline {
    /// The timeline of a fault of the classic path.
    pub(crate) fn classic(fault: &Observed, delivery: Option<&Delivery>) -> Self {
        let mut timeline = Self::begin(fault, HealingPath::Classic);
        timeline.note(Stage::Evaluated, delivery.map(|one| one.evaluated));
        timeline.note(Stage::Decided, delivery.map(|one| one.received));
        timeline
    }

    /// The timeline of a fault of Prunella. `evaluations` are the times of the policy's
    /// evaluations in order, `records` the records of all actions.
    pub(super) fn prunella(fault: &Observed, evaluations: &[Timestamp], records: &[Record]) -> Self {
        let mut timeline = Self::begin(fault, HealingPath::Prunella);
        let after = |one: &&Record| one.policy == fault.deployment && one.received > fault.started;
        let Some(record) = records.iter().find(after) else { return timeline };
        timeline.note(Stage::Evaluated, first_evaluation(fault, evaluations, record.received));
        timeline.note(Stage::Decided, Some(record.received));
        timeline.note(Stage::Reserved, Some(record.reserved));
        timeline.note(Stage::Running, record.running);
        timeline.note(Stage::Done, record.settling);
        timeline
    }

    fn begin(fault: &Observed, path: HealingPath) -> Self {
        let mut timeline = Self { deployment: fault.deployment.clone(), path, at: Vec::new() };
        timeline.note(Stage::Fault, Some(fault.started));
        timeline.note(Stage::Scraped, fault.scraped);
        timeline.note(Stage::Received, fault.restart.as_ref().map(|one| one.received));
        timeline.note(Stage::Written, fault.restart.as_ref().map(|one| one.accepted));
        timeline
    }

    fn note(&mut self, stage: Stage, at: Option<Timestamp>) {
        self.at.extend(at.map(|at| (stage, at)));
    }

    fn at(&self, stage: Stage) -> Option<Timestamp> {
        self.at.iter().find(|(one, _)| *one == stage).map(|(_, at)| *at)
    }

    /// The time from the stage before to this one, in milliseconds. `None` if the path does
    /// not have this stage or one of both is unknown.
    pub(crate) fn segment(&self, stage: Stage) -> Option<f64> {
        if !stage.is_on(self.path) {
            return None;
        }
        self.between(stage.before(self.path)?, stage)
    }

    /// The time between two stages, in milliseconds.
    pub(crate) fn between(&self, from: Stage, to: Stage) -> Option<f64> {
        Some(self.at(to)?.duration_since(self.at(from)?).as_secs_f64() * 1000.0)
    }
}

/// What the bench itself observed of a fault.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) deployment: String,
    pub(crate) path: HealingPath,
    pub(crate) started: Timestamp,
    pub(crate) scraped: Option<Timestamp>,
    pub(crate) restart: Option<Restart>,
}

/// The first evaluation after the scrape. An evaluation that starts while the scrape is
/// still being stored can see it as well. Then there is none between the scrape and the
/// reservation, and the last one before the reservation is taken.
fn first_evaluation(fault: &Observed, evaluations: &[Timestamp], reservation: Timestamp) -> Option<Timestamp> {
    let before = || evaluations.iter().copied().filter(|at| *at >= fault.started && *at <= reservation);
    let scraped = fault.scraped?;
    before().find(|at| *at >= scraped).or_else(|| before().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn fault(path: HealingPath) -> Observed {
        Observed { deployment: "d0".to_owned(), path, started: at(1000), scraped: Some(at(1300)), restart: None }
    }

    #[test]
    fn the_first_evaluation_is_the_first_after_the_scrape_or_the_last_before_the_reservation() {
        let fault = fault(HealingPath::Prunella);
        for (evaluations, expected) in
            [(vec![500, 1200, 1400, 2400], Some(1400)), (vec![500, 1200, 2400], Some(1200)), (vec![500, 2400], None)]
        {
            let evaluations: Vec<_> = evaluations.into_iter().map(at).collect();
            assert_eq!(first_evaluation(&fault, &evaluations, at(2000)), expected.map(at));
        }
    }

    #[test]
    fn a_segment_starts_at_the_stage_before_on_the_same_path() {
        let mut timeline = FaultTimeline::classic(&fault(HealingPath::Classic), None);
        timeline.note(Stage::Decided, Some(at(1500)));
        timeline.note(Stage::Received, Some(at(1510)));
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-9);
        assert!(close(timeline.segment(Stage::Scraped), 300.0));
        assert!(close(timeline.segment(Stage::Received), 10.0), "the classic path has no reservation");
        assert_eq!(timeline.segment(Stage::Decided), None, "the evaluation is unknown");
        assert_eq!(timeline.segment(Stage::Running), None);
    }
}
