//! How far a sickness has come, and how long each next thing may take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What happens to a sick pod, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Prometheus returns the pod to the policy's query.
    Visible,
    /// The controller has seen the breach.
    Pending,
    /// The breach has held for `for`.
    Firing,
    /// The decision is on record as a `HealingAction`.
    Reserved,
    /// The pod is on its way out.
    Evicted,
    /// The workload has all its replicas ready again.
    Settled,
    /// The replacement stayed clear: the action succeeded.
    Verified,
}

impl Moment {
    const ALL: [Self; 7] =
        [Self::Visible, Self::Pending, Self::Firing, Self::Reserved, Self::Evicted, Self::Settled, Self::Verified];

    /// What is waited for.
    pub(crate) fn awaited(self) -> &'static str {
        match self {
            Self::Visible => "Prometheus to show the fault",
            Self::Pending => "the controller to see the breach that Prometheus shows (is it running?)",
            Self::Firing => "the policy to hold the pod for sick",
            Self::Reserved => "a HealingAction for the sick pod",
            Self::Evicted => "the sick pod to be evicted",
            Self::Settled => "the workload to be whole again",
            Self::Verified => "the action to be verified",
        }
    }

    /// How long it may take after the moment before it: several times what it takes on
    /// two cores, so that a slow machine passes and a dead controller does not.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Visible | Self::Evicted => 60,
            Self::Pending | Self::Firing | Self::Reserved => 30,
            Self::Settled | Self::Verified => 120,
        })
    }
}

/// The moments that were reached, since the fault.
#[derive(Debug)]
pub(crate) struct Story {
    fault: Instant,
    reached: BTreeMap<Moment, Duration>,
}

impl Story {
    /// The fault was asked for at this moment.
    pub(crate) fn begin() -> Self {
        Self { fault: Instant::now(), reached: BTreeMap::new() }
    }

    /// Time since the fault.
    pub(crate) fn elapsed(&self) -> Duration {
        self.fault.elapsed()
    }

    /// Notes a moment; whether it is news.
    pub(crate) fn reach(&mut self, moment: Moment) -> bool {
        let news = !self.reached.contains_key(&moment);
        self.reached.entry(moment).or_insert_with(|| self.fault.elapsed());
        news
    }

    /// The first moment that was not reached, and until when it is waited for.
    pub(crate) fn next(&self) -> Option<(Moment, Instant)> {
        let next = Moment::ALL.into_iter().find(|moment| !self.reached.contains_key(moment))?;
        let newest = self.reached.values().max().copied().unwrap_or_default();
        Some((next, self.fault + newest + next.patience()))
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
    fn what_comes_early_does_not_hide_what_is_missing() {
        let mut story = Story::begin();
        assert!(story.reach(Moment::Pending));
        assert!(!story.reach(Moment::Pending), "a moment is news once");
        assert_eq!(story.next().unwrap().0, Moment::Visible);
        story.reach(Moment::Visible);
        assert_eq!(story.next().unwrap().0, Moment::Firing);
    }

    #[test]
    fn a_story_ends_when_every_moment_was_reached() {
        let mut story = Story::begin();
        for moment in Moment::ALL {
            assert!(story.next().is_some());
            story.reach(moment);
        }
        assert_eq!(story.next(), None);
        assert_eq!(Story::begin().seconds(None, Moment::Verified), "-");
    }
}
