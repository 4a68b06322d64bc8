//! How far a sickness has come, and how long each next thing may take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What happens to a sick target, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Prometheus returns the target to the policy's query.
    Visible,
    /// The controller has seen the breach.
    Pending,
    /// The breach has held for `for`.
    Firing,
    /// The decision is on record as a `HealingAction`.
    Reserved,
    /// The change is seen: a pod is on its way out, a Deployment wants something else.
    Acted,
    /// The replacement is ready, or all that a workload was to have.
    Settled,
    /// All that is judged by stayed clear: the action succeeded.
    Verified,
}

impl Moment {
    const ALL: [Self; 7] =
        [Self::Visible, Self::Pending, Self::Firing, Self::Reserved, Self::Acted, Self::Settled, Self::Verified];

    /// What is waited for.
    pub(crate) fn awaited(self) -> &'static str {
        match self {
            Self::Visible => "Prometheus to show the fault",
            Self::Pending => "the controller to see the breach (is it running, and does its source answer?)",
            Self::Firing => "the policy to hold the target for sick",
            Self::Reserved => "a HealingAction for the sick target",
            Self::Acted => "the action to be carried out",
            Self::Settled => "the workload to be whole again",
            Self::Verified => "the action to be verified",
        }
    }

    /// How long it may take after the moment before it: several times what it takes on
    /// two cores, so that a slow machine passes and a dead controller does not.
    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Visible | Self::Acted => 60,
            Self::Pending | Self::Firing | Self::Reserved => 30,
            Self::Settled | Self::Verified => 120,
        })
    }
}

/// The moments that were reached, since the fault.
#[derive(Debug)]
pub(crate) struct Story {
    fault: Instant,
    /// What is waited for.
    moments: Vec<Moment>,
    reached: BTreeMap<Moment, Duration>,
}

impl Story {
    /// The fault is asked for at this moment; `visible` is whether Prometheus can be
    /// looked into.
    pub(crate) fn begin(visible: bool) -> Self {
        let moments = Moment::ALL.into_iter().filter(|moment| visible || *moment != Moment::Visible).collect();
        Self { fault: Instant::now(), moments, reached: BTreeMap::new() }
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
        let next = *self.moments.iter().find(|moment| !self.reached.contains_key(moment))?;
        let newest = self.reached.values().max().copied().unwrap_or_default();
        Some((next, self.fault + newest + self.patience(next)))
    }

    /// How long a moment may take after the one before it.
    pub(crate) fn patience(&self, moment: Moment) -> Duration {
        let unseen = moment == Moment::Pending && !self.moments.contains(&Moment::Visible);
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
    fn what_comes_early_does_not_hide_what_is_missing() {
        let mut story = Story::begin(true);
        assert!(story.reach(Moment::Pending));
        assert!(!story.reach(Moment::Pending), "a moment is news once");
        assert_eq!(story.next().unwrap().0, Moment::Visible);
        story.reach(Moment::Visible);
        assert_eq!(story.next().unwrap().0, Moment::Firing);
    }

    #[test]
    fn what_cannot_be_seen_is_not_waited_for() {
        assert_eq!(Story::begin(false).next().unwrap().0, Moment::Pending);
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
