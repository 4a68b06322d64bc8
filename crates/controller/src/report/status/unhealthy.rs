//! The list of unhealthy targets in a status.

use prunella_api::UnhealthyTarget;
use prunella_core::decide::{BreachPhase, Timer};
use prunella_core::ledger::{Record, State};
use prunella_core::refusal::{Reason, Refusal};
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use super::StatusInputs;
use crate::report::value::exact;

/// The most unhealthy targets in a status.
const UNHEALTHY_AT_MOST: usize = 100;

impl StatusInputs<'_> {
    /// The targets that are not healthy: first those with an action in flight, then the others by how
    /// long they have been unhealthy.
    pub(super) fn unhealthy(&self) -> Vec<UnhealthyTarget> {
        let mut acted_on: Vec<UnhealthyTarget> = self
            .ledger
            .of(&self.compiled.policy.key)
            .filter(|record| record.in_flight())
            .map(|record| UnhealthyTarget {
                uid: record.target.uid.to_string(),
                name: record.target.name.clone(),
                state: state_word(record.state).to_owned(),
                since: whole_seconds(record.unhealthy_since).into(),
                value_at_transition: self.timer(&record.target.uid).map(|timer| exact(timer.value)),
                step: Some(record.step_name.clone()),
                attempt: i32::try_from(record.attempt).ok(),
                action: Some(record.name.clone()),
                blocked_by: None,
                blocked_until: None,
            })
            .collect();
        acted_on.sort_by(|a, b| a.name.cmp(&b.name));
        let refused = self.decision.refusals.iter().map(|refused| (&refused.target, Some(refused.refusal)));
        // No guardrail holds back a target for which an action is being reserved.
        let released = self.decision.reservations.iter().map(|reservation| (&reservation.target.uid, None));
        let mut waiting: Vec<UnhealthyTarget> = refused
            .chain(released)
            .filter(|(target, _)| self.action_on(target).is_none())
            .filter_map(|(target, refusal)| self.waiting(target, refusal))
            .collect();
        waiting.sort_by(|a, b| (&a.since, &a.uid).cmp(&(&b.since, &b.uid)));
        acted_on.into_iter().chain(waiting).take(UNHEALTHY_AT_MOST).collect()
    }

    /// An unhealthy target without an action in flight.
    fn waiting(&self, target: &Uid, refusal: Option<Refusal>) -> Option<UnhealthyTarget> {
        let timer = self.timer(target)?;
        // No action is due for a pending target, so only a hold is shown.
        let refusal = refusal.filter(|refusal| timer.phase == BreachPhase::Firing || refusal.reason == Reason::Held);
        Some(UnhealthyTarget {
            uid: target.to_string(),
            name: self.name_of(target)?,
            state: self.phase_word(target, timer.phase).to_owned(),
            since: whole_seconds(timer.since).into(),
            value_at_transition: Some(exact(timer.value)),
            step: None,
            attempt: None,
            action: None,
            blocked_by: refusal.map(|refusal| refusal.reason.as_str().to_owned()),
            blocked_until: refusal.and_then(|refusal| refusal.until).map(|until| whole_seconds(until).into()),
        })
    }

    fn timer(&self, uid: &Uid) -> Option<&Timer> {
        self.decision.memory.timers.get(uid)
    }

    fn phase_word(&self, target: &Uid, phase: BreachPhase) -> &'static str {
        match phase {
            _ if self.decision.memory.exhausted.contains(target) => "Exhausted",
            BreachPhase::Pending => "Pending",
            BreachPhase::Firing => "Firing",
        }
    }

    fn name_of(&self, uid: &Uid) -> Option<String> {
        self.decision.names.get(uid).cloned()
    }

    /// The policy's own action in flight for a target.
    fn action_on(&self, target: &Uid) -> Option<&Record> {
        self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight() && record.target.uid == *target)
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Pending | State::Running => "Acting",
        State::Settling => "Settling",
        State::Verifying | State::Finished(_) => "Verifying",
    }
}
