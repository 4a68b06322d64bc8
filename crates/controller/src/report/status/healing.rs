//! The condition `Healing`: the progress of an action, and what it waits for.

use prunella_core::execute::EXECUTE_WITHIN;
use prunella_core::ledger::{Record, State};
use prunella_core::refusal::Reason;
use prunella_core::target::NotHealable;

use super::StatusInputs;
use super::conditions::ConditionValue;
use crate::report::{action_messages, wording};

impl StatusInputs<'_> {
    pub(super) fn healing(&self) -> ConditionValue {
        match self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight()) {
            Some(record) => {
                let message = format!("{} on {}: {}", record.name, record.touches(), self.progress(record));
                ConditionValue::yes(record.state.as_str(), message)
            }
            None => ConditionValue::no("NoActionInFlight", "no action is in flight"),
        }
    }

    /// Whether an action has started and its outcome is not known yet. The start is recorded before the
    /// effect, because the target may be gone before the effect is recorded.
    pub(super) fn is_in_progress(&self) -> bool {
        let started = |record: &Record| matches!(record.state, State::Running | State::Settling | State::Verifying);
        self.ledger.of(&self.compiled.policy.key).any(started)
    }

    /// The progress of an action, and what it waits for.
    fn progress(&self, record: &Record) -> String {
        match (record.state, record.verify_by) {
            (State::Pending, _) => "about to start".to_owned(),
            (State::Running, _) => match self.stops(record) {
                Some(reason) => {
                    let why = wording::why(&self.compiled.policy, reason, self.hold.as_ref());
                    format!("running; it waits, at most until {EXECUTE_WITHIN:#} after its start: {why}")
                }
                None if let Some(shortage) = self.decision.below_floor.get(&record.target.uid) => {
                    let reason = Reason::TooFewAvailable(*shortage);
                    format!("running; it waits: {}", wording::why(&self.compiled.policy, reason, None))
                }
                None if self.decision.waiting.contains(&record.target.uid) => {
                    "running; it waits for limits.maxConcurrent, a storm or a rollout, or the policy has changed"
                        .to_owned()
                }
                None if record.waiting && !self.decision.memory.timers.contains_key(&record.target.uid) => {
                    "running; it waits: the target is not breached now".to_owned()
                }
                None if record.waiting => action_messages::tries_again(),
                None => "running".to_owned(),
            },
            (State::Settling, _) => "the change is made; waiting until the pods of the workload are ready".to_owned(),
            (_, Some(by)) => format!("the change is made; checking until {by:.0} whether it helped"),
            (_, None) => "the change is made; checking whether it helped".to_owned(),
        }
    }

    /// What a started action waits for. Other guardrails end it, or concern new actions only.
    fn stops(&self, record: &Record) -> Option<Reason> {
        if self.compiled.policy.suspended {
            return Some(Reason::Suspended);
        }
        if self.hold.is_some() {
            return Some(Reason::Held);
        }
        let refused = self.decision.refusals.iter().find(|refused| refused.target == record.target.uid)?;
        let waits = matches!(
            refused.refusal.reason,
            Reason::ObservationUnknown
                | Reason::NoData
                | Reason::NotYetFor
                | Reason::OptedOut
                | Reason::NotHealable(NotHealable::NodeNotReady | NotHealable::Starting)
        );
        waits.then_some(refused.refusal.reason)
    }
}
