//! HP-5 and the ladder, told by who was really made in place of whom.

use jiff::Timestamp;
use prunella_core::action::ActionSpec;
use prunella_core::policy::LadderStep;
use prunella_core::target::Uid;
use prunella_core::time::elapsed;

use super::Check;
use super::transitions::is_twin;
use crate::api_server::ApiServer;
use crate::objects::ActionObject;

impl Check {
    /// The pod and all those before it, newest first.
    fn lineage(&self, uid: &Uid) -> Vec<Uid> {
        let replaces = |uid: &Uid| self.pods.get(uid).and_then(|birth| birth.replaces.clone());
        std::iter::successors(Some(uid.clone()), replaces).collect()
    }

    /// The actions that are laid to this one's target: on the pod itself, on its whole
    /// workload, and on those before it when it became unhealthy soon after its birth.
    fn inherited<'a>(&self, action: &ActionObject, api: &'a ApiServer) -> Vec<&'a ActionObject> {
        let target = &action.spec.target.uid;
        let born = self.pods.get(target).map_or(Timestamp::MIN, |birth| birth.created);
        // The record's time is cut to whole seconds.
        let soon = elapsed(born, action.spec.since) < action.spec.policy.rule.limits.ladder_reset;
        let lineage = self.lineage(target);
        api.actions
            .values()
            .map(AsRef::as_ref)
            .filter(|other| other.name != action.name && other.record().spends())
            .filter(|other| {
                let on_it = other.spec.target.uid == *target || is_on_whole_of(other, action);
                on_it || soon && lineage.contains(&other.spec.target.uid)
            })
            .collect()
    }

    /// Asked when the action begins: of two policies that reserve at once, one yields.
    pub(super) fn check_cooldown(&mut self, now: Timestamp, action: &ActionObject, api: &ApiServer) {
        let cooldown = action.spec.policy.rule.limits.cooldown;
        let mut earlier = self.inherited(action, api);
        earlier.retain(|other| other.status.started_at.is_some() && !is_twin(action, other));
        let last = earlier.iter().max_by_key(|other| other.created);
        let kept = last.is_none_or(|last| elapsed(last.created, action.created) >= cooldown);
        self.require(kept, now, "HP-5", || {
            format!("{} comes less than {cooldown:#} after {}", action.name, last.map_or("", |last| &last.name))
        });
    }

    pub(super) fn check_ladder(&mut self, now: Timestamp, action: &ActionObject, api: &ApiServer) {
        let place = (action.spec.step, action.spec.attempt);
        let own = |other: &&ActionObject| other.policy() == action.policy();
        let born = self.pods.get(&action.spec.target.uid).map_or(Timestamp::MIN, |birth| birth.created);
        let any_before = api.actions.values().map(AsRef::as_ref).filter(own).any(|other| {
            other.name != action.name
                && (other.spec.target.uid == action.spec.target.uid
                    || is_on_whole_of(other, action)
                    || other.spec.subject.uid == action.spec.subject.uid && other.created <= born)
        });
        // What may have been passed over: the number of replicas is at its limit.
        let steps = &action.spec.policy.rule.steps;
        let may_be_skipped = |step: &LadderStep| matches!(step.action, ActionSpec::Scale(_));
        let first = steps.iter().zip(1..).find(|(step, number)| !may_be_skipped(step) || *number == place.0);
        let is_first = place.1 == 1 && first.is_some_and(|(_, number)| number == place.0);
        self.require(any_before || is_first, now, "two first attempts", || {
            format!("{} is {place:?}, and nothing was done before", action.name)
        });
        let tried = self.unbroken(action, api);
        let highest = tried.iter().map(|other| (other.spec.step, other.spec.attempt)).max();
        self.require(highest.is_none_or(|highest| place > highest), now, "the ladder", || {
            format!("{} is {place:?}, and {highest:?} was tried on the same pod or those before it", action.name)
        });
    }

    /// The policy's own attempts on the pod and on those before it, back to the first
    /// that had been well for `ladderReset`, or that somebody else removed.
    fn unbroken<'a>(&self, action: &ActionObject, api: &'a ApiServer) -> Vec<&'a ActionObject> {
        let reset = action.spec.policy.rule.limits.ladder_reset;
        let mut unhealthy_since = action.spec.since;
        let mut tried = Vec::new();
        for uid in self.lineage(&action.spec.target.uid) {
            let on_this = api.actions.values().map(AsRef::as_ref).filter(|other| {
                other.name != action.name
                    && other.policy() == action.policy()
                    && (other.spec.target.uid == uid || uid == action.spec.target.uid && is_on_whole_of(other, action))
                    && other.record().is_attempt()
            });
            let before = tried.len();
            tried.extend(on_this.filter(|other| {
                let ended = other.status.finished_at.unwrap_or(other.created);
                elapsed(ended, unhealthy_since) < reset
            }));
            let removed = uid != action.spec.target.uid;
            if removed && tried.len() == before {
                break;
            }
            unhealthy_since = tried[before..]
                .iter()
                .map(|other| other.spec.since)
                .chain([unhealthy_since])
                .min()
                .unwrap_or(unhealthy_since);
            let born = self.pods.get(&uid).map_or(Timestamp::MIN, |birth| birth.created);
            if elapsed(born, unhealthy_since) >= reset {
                break;
            }
        }
        tried
    }
}

/// Whether the other was done to the whole workload behind this one's target: to each of
/// its pods, old and new.
fn is_on_whole_of(other: &ActionObject, action: &ActionObject) -> bool {
    other.is_on_whole() && other.spec.subject.uid == action.spec.subject.uid
}
