//! One decision as people read it: the status, whole, built from the decision and
//! the records and from nothing else. The same inputs give the same status. Needs no
//! client.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{
    ActionSummary, HealingPolicy, HealingPolicyStatus, RefusalCount, SickTarget, StormStatus, TargetCounts,
    set_condition,
};
use prunella_core::decide::{Counts, Decision, Matching, Phase, Reach, Skipped, Timer};
use prunella_core::ledger::{Ledger, Record, State};
use prunella_core::observation::{Answer, Observation, UnknownReason};
use prunella_core::refusal::{Reason, Refusal};
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use super::Compiled;
use super::reserve::decimal;
use super::words;

/// The most sick targets that a status names.
const SICK_AT_MOST: usize = 100;

/// One decision and what it was made from.
pub(super) struct Scene<'a> {
    pub(super) policy: &'a HealingPolicy,
    pub(super) compiled: &'a Compiled,
    pub(super) observation: &'a Observation,
    pub(super) decision: &'a Decision,
    pub(super) ledger: &'a Ledger,
    /// Which namespace holds healing back, and why.
    pub(super) hold: Option<(String, String)>,
}

impl Scene<'_> {
    /// The brakes that hold back targets that are firing and not in an action's hands.
    /// A target that is only pending is not held back: nothing is due yet.
    pub(super) fn blocked(&self) -> BTreeMap<Reason, usize> {
        let mut blocked = BTreeMap::new();
        for refused in self.decision.refusals.iter().filter(|refused| refused.due) {
            *blocked.entry(refused.refusal.reason).or_default() += 1;
        }
        blocked
    }

    /// The policy's own action in flight for a target.
    fn action_on(&self, target: &Uid) -> Option<&Record> {
        self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight() && record.target.uid == *target)
    }

    pub(super) fn status(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> HealingPolicyStatus {
        let counts = self.decision.counts;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        HealingPolicyStatus {
            observed_generation: self.policy.metadata.generation,
            rule: Some(self.compiled.hash.clone()),
            conditions: self.conditions(earlier, blocked, now),
            targets: Some(TargetCounts {
                selected: number(counts.selected),
                pending: number(counts.pending),
                firing: number(counts.firing),
                verifying: number(counts.verifying),
                exhausted: number(counts.exhausted),
            }),
            sick: self.sick(),
            blocked: by_word(blocked),
            storm: self.storm(),
            last_action: self.last_action(),
        }
    }

    fn conditions(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> Vec<Condition> {
        let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
        let generation = self.policy.metadata.generation;
        let mut set = |kind, status, reason: &str, message: String| {
            set_condition(&mut conditions, kind, status, reason, message, generation, now);
        };
        let (judging, nothing_new) = match (self.compiled.policy.suspended, &self.hold) {
            (true, _) => ("Suspended", "; nothing new is begun while spec.suspend is true".to_owned()),
            (false, Some((namespace, why))) => (
                "Held",
                format!(
                    "; nothing new is begun while the namespace {namespace} has the annotation prunella.dev/hold={why:?}"
                ),
            ),
            (false, None) => ("Judging", String::new()),
        };
        let judged = {
            let every = format!("judged every {:#}{nothing_new}", self.compiled.policy.interval);
            let warnings = self.compiled.warnings.iter().map(|warning| format!("; {warning}"));
            std::iter::once(every).chain(warnings).collect::<String>()
        };
        let known = match &self.observation.breach {
            Answer::Answered(_) => {
                match self.unplaced() {
                    Some(message) => set(Ready, Some(false), "NamespaceNotPinned", message),
                    None => set(Ready, Some(true), judging, judged),
                }
                match self.astray() {
                    Some((reason, message)) => set(Observed, Some(false), reason, message),
                    None => set(Observed, Some(true), Answer::ANSWERED, self.answered()),
                }
                true
            }
            Answer::Unknown(unknown) if unknown.reason == UnknownReason::SourceNotReady => {
                set(Ready, Some(false), unknown.reason.as_str(), unknown.message.clone());
                set(Observed, Some(false), unknown.reason.as_str(), unknown.message.clone());
                false
            }
            Answer::Unknown(unknown) => {
                set(Ready, Some(true), judging, judged);
                set(Observed, Some(false), unknown.reason.as_str(), unknown.message.clone());
                false
            }
        };
        set(Stalled, Some(false), "Compiled", "its query, target and steps make sense".to_owned());

        let sick = self.decision.memory.timers.len();
        let Counts { firing, selected, .. } = self.decision.counts;
        match (known, sick, firing) {
            (false, _, _) => set(Healthy, None, "NotObserved", "the source gives no answer to rely on".to_owned()),
            (true, 0, _) if self.is_under_way() => {
                set(Healthy, None, "Verifying", "it is being watched whether the newest action helped".to_owned());
            }
            // It would look the same if all of them were sick.
            (true, 0, _) if self.astray().is_some() => {
                set(Healthy, None, "NotObserved", "the query reaches no target: see Observed".to_owned());
            }
            (true, 0, _) if selected == 0 => set(Healthy, None, "NoTarget", self.nobody_selected()),
            (true, 0, _) => set(Healthy, Some(true), "NoTargetSick", "no selected target is sick".to_owned()),
            (true, _, 0) => {
                let message = format!("{sick} of {selected} selected breached, not yet for long enough");
                set(Healthy, Some(true), "TargetsPending", message);
            }
            (true, _, _) => {
                set(Healthy, Some(false), "TargetsSick", format!("{firing} of {selected} selected sick"));
            }
        }
        match self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight()) {
            Some(record) => {
                let message = format!("{} on {}: {}", record.name, record.touches(), progress(record));
                set(Healing, Some(true), record.state.as_str(), message);
            }
            None => set(Healing, Some(false), "NoActionInFlight", "no action is in flight".to_owned()),
        }
        match blocked.iter().next() {
            Some((reason, _)) => {
                set(Blocked, Some(true), reason.as_str(), format!("{}{}", self.why(*reason), and_others(blocked)));
            }
            None => set(Blocked, Some(false), "NotBlocked", "no sick target is held back".to_owned()),
        }
        conditions
    }

    /// Whether something was begun, and nobody knows yet whether it helped. That begins with the
    /// record of it: the target may be gone before that of its having been done.
    fn is_under_way(&self) -> bool {
        let begun = |record: &Record| matches!(record.state, State::Running | State::Settling | State::Verifying);
        self.ledger.of(&self.compiled.policy.key).any(begun)
    }

    /// Whom the selector looks for in vain.
    fn nobody_selected(&self) -> String {
        let Compiled { kind, selector, policy, .. } = self.compiled;
        format!("target.selector chooses no {} in the namespace {}: {selector}", kind.as_str(), policy.key.namespace)
    }

    /// How the answer fitted the targets.
    fn answered(&self) -> String {
        let matching = &self.decision.matching;
        let ignored = matching.first_ignored.as_ref().map(|labels| {
            let count = matching.returned.saturating_sub(matching.matched);
            format!(", {count} name what is gone or not selected, the first of them {}", words::shown(labels))
        });
        let fitted =
            format!("{} series breached, {} of them name a selected target", matching.returned, matching.matched);
        format!("{fitted}{}", ignored.unwrap_or_default())
    }

    /// That the query does not reach the targets, by what it returned or by what it could.
    /// One that is known to reach them returned what is of those that are gone.
    fn astray(&self) -> Option<(&'static str, String)> {
        let Matching { matched, first_ignored, .. } = &self.decision.matching;
        let reach = self.decision.memory.reached.as_ref().map(|reached| &reached.reach);
        let reaches = reach == Some(&Reach::Targets) && self.decision.counts.selected > 0;
        match first_ignored {
            Some(labels) if *matched == 0 && !reaches => {
                words::astray(&self.compiled.policy, &Reach::NoTarget(labels.clone()))
            }
            _ => words::astray(&self.compiled.policy, reach?),
        }
    }

    /// That there are series of which nobody can say to which namespace they belong.
    fn unplaced(&self) -> Option<String> {
        let label = &self.compiled.policy.namespace_label;
        let namespace = &self.compiled.policy.key.namespace;
        (self.decision.matching.unplaced > 0).then(|| {
            format!("series without the label {label} are ignored, for they may be of any namespace: add {label}={namespace:?} to every selector in condition.promql.query, or keep the label")
        })
    }

    /// The storm under way, and the newest action of it.
    fn storm(&self) -> Option<StormStatus> {
        let storm = self.decision.memory.storm?;
        let probe = self
            .ledger
            .of(&self.compiled.policy.key)
            .filter(|record| storm.concerns(record))
            .max_by_key(|record| record.sequence);
        Some(StormStatus { since: whole_seconds(storm.since).into(), probe: probe.map(|probe| probe.name.clone()) })
    }

    /// In words: what holds the first target back that this brake refuses, and until when.
    fn why(&self, reason: Reason) -> String {
        let refused: Vec<Refusal> = self
            .decision
            .refusals
            .iter()
            .filter(|refused| refused.due && refused.refusal.reason == reason)
            .map(|refused| refused.refusal)
            .collect();
        let mut what = words::why(&self.compiled.policy, reason);
        if reason == Reason::Exhausted {
            what.push_str(&passed_over(self.decision.skipped.values().next()));
        }
        let until = refused.iter().filter_map(|refusal| refusal.until).min();
        let until = until.map(|until| format!("; until {until:.0}")).unwrap_or_default();
        format!("{} target(s): {what}{until}", refused.len())
    }

    /// The targets that are not healthy: those in an action's hands first, then the
    /// longest sick.
    fn sick(&self) -> Vec<SickTarget> {
        let mut acted_on: Vec<SickTarget> = self
            .ledger
            .of(&self.compiled.policy.key)
            .filter(|record| record.in_flight())
            .map(|record| SickTarget {
                uid: record.target.uid.to_string(),
                name: record.target.name.clone(),
                state: state_word(record.state).to_owned(),
                since: whole_seconds(record.sick_since).into(),
                value_at_transition: self.timer(&record.target.uid).map(|timer| decimal(timer.value)),
                rung: i32::try_from(record.rung).ok(),
                attempt: i32::try_from(record.attempt).ok(),
                action: Some(record.name.clone()),
                blocked_by: None,
                blocked_until: None,
            })
            .collect();
        acted_on.sort_by(|a, b| a.name.cmp(&b.name));
        let refused = self.decision.refusals.iter().map(|refused| (&refused.target, Some(refused.refusal)));
        // What is to be reserved next is held back by nothing.
        let released = self.decision.reservations.iter().map(|reservation| (&reservation.target.uid, None));
        let mut waiting: Vec<SickTarget> = refused
            .chain(released)
            .filter(|(target, _)| self.action_on(target).is_none())
            .filter_map(|(target, refusal)| self.waiting(target, refusal))
            .collect();
        waiting.sort_by(|a, b| (&a.since, &a.uid).cmp(&(&b.since, &b.uid)));
        acted_on.into_iter().chain(waiting).take(SICK_AT_MOST).collect()
    }

    /// A sick target that no action has in its hands yet.
    fn waiting(&self, target: &Uid, refusal: Option<Refusal>) -> Option<SickTarget> {
        let timer = self.timer(target)?;
        Some(SickTarget {
            uid: target.to_string(),
            name: self.name_of(target)?,
            state: self.phase_word(target, timer.phase).to_owned(),
            since: whole_seconds(timer.since).into(),
            value_at_transition: Some(decimal(timer.value)),
            rung: None,
            attempt: None,
            action: None,
            blocked_by: refusal.map(|refusal| refusal.reason.as_str().to_owned()),
            blocked_until: refusal.and_then(|refusal| refusal.until).map(|until| whole_seconds(until).into()),
        })
    }

    fn timer(&self, uid: &Uid) -> Option<&Timer> {
        self.decision.memory.timers.get(uid)
    }

    fn phase_word(&self, target: &Uid, phase: Phase) -> &'static str {
        match phase {
            _ if self.decision.memory.exhausted.contains(target) => "Exhausted",
            Phase::Pending => "Pending",
            Phase::Firing => "Firing",
        }
    }

    fn name_of(&self, uid: &Uid) -> Option<String> {
        self.decision.names.get(uid).cloned()
    }

    fn last_action(&self) -> Option<ActionSummary> {
        let newest = self.ledger.of(&self.compiled.policy.key).max_by_key(|record| record.sequence)?;
        Some(ActionSummary {
            name: newest.name.clone(),
            action: newest.action.clone(),
            target: newest.target.to_string(),
            time: newest.created.into(),
            outcome: match newest.state {
                State::Finished(outcome) => Some(outcome.as_str().to_owned()),
                _ => None,
            },
        })
    }
}

/// Which steps were passed over and why, as the rest of why a target is exhausted.
pub(super) fn passed_over(skipped: Option<&Vec<Skipped>>) -> String {
    let all: Vec<String> = skipped.into_iter().flatten().map(ToString::to_string).collect();
    if all.is_empty() { String::new() } else { format!("; passed over, for they do not apply: {}", all.join("; ")) }
}

/// How far an action has come, and what it waits for.
fn progress(record: &Record) -> String {
    match (record.state, record.verify_by) {
        (State::Pending, _) => "about to begin".to_owned(),
        (State::Running, _) if record.waiting => "a PodDisruptionBudget allows no eviction now".to_owned(),
        (State::Running, _) => "being done".to_owned(),
        (State::Settling, _) => "done; its workload is to be whole again first".to_owned(),
        (_, Some(by)) => format!("done; whether it helped is told by {by:.0}"),
        (_, None) => "done; it is being watched whether it helped".to_owned(),
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Pending | State::Running => "Acting",
        State::Settling => "Settling",
        State::Verifying | State::Finished(_) => "Verifying",
    }
}

/// One entry a word, in the order of the brakes: the list's key is the word, and some
/// brakes refuse for more than one reason.
fn by_word(blocked: &BTreeMap<Reason, usize>) -> Vec<RefusalCount> {
    let mut words: Vec<RefusalCount> = Vec::new();
    for (reason, count) in blocked {
        let count = i32::try_from(*count).unwrap_or(i32::MAX);
        match words.last_mut().filter(|last| last.reason == reason.as_str()) {
            Some(last) => last.count = last.count.saturating_add(count),
            None => words.push(RefusalCount { reason: reason.as_str().to_owned(), count }),
        }
    }
    words
}

/// How many are held back by other brakes than the first.
fn and_others(blocked: &BTreeMap<Reason, usize>) -> String {
    let others = by_word(blocked).into_iter().skip(1);
    let told: Vec<String> = others.map(|other| format!("{} {}", other.count, other.reason)).collect();
    if told.is_empty() { String::new() } else { format!("; besides: {}", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunella_core::target::NotHealable;

    #[test]
    fn a_brake_that_refuses_for_two_reasons_is_counted_under_its_one_word() {
        let blocked = BTreeMap::from([
            (Reason::NotHealable(NotHealable::NoController), 2),
            (Reason::NotHealable(NotHealable::NodeNotReady), 1),
            (Reason::Cooldown, 4),
        ]);
        let words: Vec<(String, i32)> = by_word(&blocked).into_iter().map(|one| (one.reason, one.count)).collect();
        assert_eq!(words, [("NotHealable".to_owned(), 3), ("Cooldown".to_owned(), 4)]);
        assert_eq!(and_others(&blocked), "; besides: 4 Cooldown");
        assert_eq!(and_others(&BTreeMap::from([(Reason::Cooldown, 4)])), "");
    }
}
