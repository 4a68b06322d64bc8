//! HP-2: nothing is done unless the breach held for `for` and the news are fresh. The
//! samples tell, second by second.

use jiff::{SignedDuration, Timestamp};
use prunella_core::policy::Policy;
use prunella_core::time::{after, before, times};

use super::Check;
use crate::objects::ActionObject;
use crate::prometheus::Prometheus;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl Check {
    /// Over `for`, up to the observation that led to the reservation, the pod was
    /// breached; and it was never clear for so long that two looks saw it.
    pub(super) fn check_breach(&mut self, now: Timestamp, action: &ActionObject, prometheus: &Prometheus) {
        let rule = &action.spec.policy.rule;
        let (pod, condition) = (&action.spec.target.uid, action.spec.policy.condition);
        let observed = action.spec.observed_at;
        // An answer tells of an instant between the question and what came of it.
        let seen = seconds(observed, now).into_iter().any(|at| prometheus.truth(pod, condition, at) == Some(true));
        self.require(seen, now, "HP-2", || format!("{}: {pod} was not breached when it was observed", action.name));

        let held = self.held_at_most(action, prometheus);
        // Both ends are cut to whole seconds.
        let enough = held + SECOND * 2 >= rule.breach_for;
        self.require(enough, now, "HP-2", || {
            format!(
                "{}: {pod} was breached for {held:#} before it was observed, not {:#}",
                action.name, rule.breach_for
            )
        });
    }

    /// For how long the pod was breached up to the observation, as far as two looks
    /// could tell: a stretch that one of them may have missed counts, one over which
    /// nothing was known does not, and one that was seen clear ends it.
    fn held_at_most(&self, action: &ActionObject, prometheus: &Prometheus) -> SignedDuration {
        let rule = &action.spec.policy.rule;
        let (pod, condition) = (&action.spec.target.uid, action.spec.policy.condition);
        let observed = action.spec.observed_at;
        let mut held = SignedDuration::ZERO;
        let mut at = observed;
        let (mut gap, mut clear) = (SignedDuration::ZERO, SignedDuration::ZERO);
        while held < rule.breach_for {
            // What nobody could ask then, the history tells whoever takes over.
            let missed = self.missed(rule, at);
            let known = !prometheus.was_out(at) || self.tally.kills > 0;
            match prometheus.truth(pod, condition, at).filter(|_| known) {
                Some(true) => {
                    held += SECOND + if gap <= missed { gap } else { SignedDuration::ZERO };
                    (gap, clear) = (SignedDuration::ZERO, SignedDuration::ZERO);
                }
                Some(false) => {
                    gap += SECOND;
                    clear += SECOND;
                }
                None => gap += SECOND,
            }
            if clear > missed || gap > rule.longest_gap + times(rule.interval, 2) {
                break;
            }
            at = before(at, SECOND);
        }
        held
    }

    /// How long a stretch may be that nobody saw: two intervals, or when a process was
    /// stopped or took the episode over from another, the longest silence allowed.
    fn missed(&self, rule: &Policy, at: Timestamp) -> SignedDuration {
        let near = |from: Timestamp, until: Timestamp| {
            before(from, rule.longest_gap) <= at && at <= after(until, rule.longest_gap)
        };
        let stopped = self.silences.iter().any(|(from, until)| near(*from, *until));
        if stopped { rule.longest_gap + rule.interval + SECOND } else { times(rule.interval, 2) + SECOND * 2 }
    }

    /// What is decided upon this action at `decided` is by news that told of the breach.
    pub(super) fn check_still_breached(
        &mut self,
        now: Timestamp,
        decided: Timestamp,
        action: &ActionObject,
        prometheus: &Prometheus,
    ) {
        let (pod, condition) = (&action.spec.target.uid, action.spec.policy.condition);
        let from = before(decided, Self::freshness_bound(action));
        let breached = seconds(from, decided).into_iter().any(|at| prometheus.truth(pod, condition, at) == Some(true));
        self.require(breached, now, "HP-2", || format!("{}: {pod} was last breached long before", action.name));
    }
}

fn seconds(from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(Some(from), |at| Some(after(*at, SECOND))).take_while(|at| *at <= until).collect()
}
