//! The moments from a fault to its verified fix, and how long each may take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What happens to an unhealthy target, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// The policy's query returns the target.
    Visible,
    /// The controller has seen the breach for `for`. It writes no Event before.
    Firing,
    /// The decision is recorded as a `HealingAction`.
    Reserved,
    /// The change is visible: a pod is terminating, or the Deployment's spec has changed.
    Acted,
    /// The replacement is ready, or all pods of the workload.
    Settled,
    /// The new pods, or all of them, stayed clear: the action succeeded.
    Verified,
}

impl Moment {
    const ALL: [Self; 6] = [Self::Visible, Self::Firing, Self::Reserved, Self::Acted, Self::Settled, Self::Verified];

    /// The moment in words, after "waited for".
    pub(crate) fn awaited(self) -> &'static str {
        match self {
            Self::Visible => "Prometheus to show the fault",
            Self::Firing => "the target to be firing (check that the controller runs and that its source is Ready)",
            Self::Reserved => "a HealingAction for the unhealthy target",
            Self::Acted => "the action to be executed",
            Self::Settled => "the workload to have all its pods ready",
            Self::Verified => "the action to be verified",
        }
    }

    /// How long it may take after the moment before it: several times the time on two cores,
    /// so that a slow machine passes and a dead controller does not.
    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Visible | Self::Firing | Self::Acted => 60,
            Self::Reserved => 30,
            Self::Settled | Self::Verified => 120,
        })
    }
}

/// The moments that were reached, as times since the fault.
#[derive(Debug)]
pub(crate) struct Story {
    fault: Instant,
    /// The moments to wait for.
    moments: Vec<Moment>,
    reached: BTreeMap<Moment, Duration>,
}

impl Story {
    /// Starts now, with the fault. `visible` says whether Prometheus is reachable.
    pub(crate) fn begin(visible: bool) -> Self {
        let moments = Moment::ALL.into_iter().filter(|moment| visible || *moment != Moment::Visible).collect();
        Self { fault: Instant::now(), moments, reached: BTreeMap::new() }
    }

    /// Time since the fault.
    pub(crate) fn elapsed(&self) -> Duration {
        self.fault.elapsed()
    }

    /// Records a moment. Returns whether it is new.
    pub(crate) fn reach(&mut self, moment: Moment) -> bool {
        let news = !self.reached.contains_key(&moment);
        self.reached.entry(moment).or_insert_with(|| self.fault.elapsed());
        news
    }

    /// The first moment that was not reached, and its deadline.
    pub(crate) fn next(&self) -> Option<(Moment, Instant)> {
        let next = *self.moments.iter().find(|moment| !self.reached.contains_key(moment))?;
        let newest = self.reached.values().max().copied().unwrap_or_default();
        Some((next, self.fault + newest + self.patience(next)))
    }

    /// How long a moment may take after the one before it.
    pub(crate) fn patience(&self, moment: Moment) -> Duration {
        let unseen = moment == Moment::Firing && !self.moments.contains(&Moment::Visible);
        moment.patience() + if unseen { Moment::Visible.patience() } else { Duration::ZERO }
    }

    /// From one moment to another, when both were reached.
    pub(crate) fn between(&self, from: Moment, to: Moment) -> Option<Duration> {
        Some(self.reached.get(&to)?.saturating_sub(*self.reached.get(&from)?))
    }

    /// Whether a moment was reached.
    pub(crate) fn has(&self, moment: Moment) -> bool {
        self.reached.contains_key(&moment)
    }

    /// From one moment (the fault when `None`) to another, in seconds.
    pub(crate) fn seconds(&self, from: Option<Moment>, to: Moment) -> String {
        let from = from.map_or(Some(Duration::ZERO), |from| self.reached.get(&from).copied());
        match (from, self.reached.get(&to)) {
            (Some(from), Some(to)) => format!("{:.1} s", to.saturating_sub(from).as_secs_f64()),
            _ => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_moment_does_not_hide_a_missing_one() {
        let mut story = Story::begin(true);
        assert!(story.reach(Moment::Reserved));
        assert!(!story.reach(Moment::Reserved), "a moment is new once");
        assert_eq!(story.next().unwrap().0, Moment::Visible);
        story.reach(Moment::Visible);
        assert_eq!(story.next().unwrap().0, Moment::Firing);
    }

    #[test]
    fn without_prometheus_the_first_moment_is_firing() {
        assert_eq!(Story::begin(false).next().unwrap().0, Moment::Firing);
    }

    #[test]
    fn a_story_ends_when_every_moment_was_reached() {
        let mut story = Story::begin(true);
        for moment in Moment::ALL {
            assert!(story.next().is_some());
            story.reach(moment);
        }
        assert_eq!(story.next(), None);
        assert_eq!(Story::begin(true).seconds(None, Moment::Verified), "-");
    }
}
