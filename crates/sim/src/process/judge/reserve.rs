//! Reserving: of the policies of a process that want the same one at a time, one write a
//! reservation.

use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::{Decision, Reservation};
use prunella_core::ledger::Ledger;
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use super::{Look, Stage, TRY_AGAIN};
use crate::api_server::{Answer, Write};
use crate::objects::{ActionObject, ActionSpec, ActionStatus, PolicyObject};
use crate::process::{Ground, Process, Task};

/// How soon to decide again when somebody else had the number.
const DECIDE_AGAIN: SignedDuration = SignedDuration::from_secs(1);

impl Process {
    /// Waits until no other policy of this process reserves a target or subject of these.
    pub(super) fn may_reserve(&mut self, look: Look, decision: &Decision, ground: &mut Ground<'_>) {
        let name = look.name();
        let wanted = decision.reservations.iter().flat_map(uids).cloned().collect();
        self.at_stage(&name, Stage::Waiting(look, wanted));
        self.waiting.push_back(name);
        self.next_may_reserve(ground);
    }

    /// Decides again with all other reservations of the same held off.
    fn reserves(&mut self, look: Look, claimed: BTreeSet<Uid>, ground: &mut Ground<'_>) {
        let decision = self.decide_once(&look.policy, &look.observation, ground);
        self.decides_again(&look, &decision, ground);
        let name = look.name();
        // Others may be wanted by then: what is decided with them claimed is what counts.
        let wanted: BTreeSet<Uid> = decision.reservations.iter().flat_map(uids).cloned().collect();
        if !wanted.is_subset(&claimed) {
            self.at_stage(&name, Stage::Waiting(look, wanted));
            self.waiting.push_back(name);
            return self.next_may_reserve(ground);
        }
        self.reserving.insert(name, claimed);
        self.reserve(look, Box::new(decision), 0, ground);
    }

    /// HP-6: with its own plan recorded, the judgement plans nothing more.
    fn decides_again(&self, look: &Look, decision: &Decision, ground: &mut Ground<'_>) {
        let mut ledger = Ledger::clone(&self.caches.ledger());
        let planned = decision.reservations.iter().map(|one| reserved(&look.policy, one, ground.now).record());
        ledger.records.extend(planned);
        let again = self.decide_with(&look.policy, &look.observation, &ledger, ground);
        ground.check.decided_again(ground.now, &again);
    }

    fn reserve(&mut self, look: Look, decision: Box<Decision>, at: usize, ground: &mut Ground<'_>) {
        let Some(reservation) = decision.reservations.get(at) else {
            return self.has_reserved(look, Some(decision), ground);
        };
        let ActionObject { name: action, spec, .. } = reserved(&look.policy, reservation, ground.now);
        let write = Write::Create { name: action, spec: Box::new(spec) };
        let name = look.name();
        self.at_stage(&name, Stage::Reserving { look, decision, at });
        self.send(Task::Judge(name), write, ground);
    }

    pub(super) fn reservation_learns(
        &mut self,
        look: Look,
        mut decision: Box<Decision>,
        at: usize,
        answer: &Answer,
        ground: &mut Ground<'_>,
    ) {
        match answer {
            Answer::Written(_) => {
                self.note(answer);
                self.reserve(look, decision, at + 1, ground);
            }
            Answer::AlreadyExists => {
                decision.reservations.truncate(at);
                decision.next_check = DECIDE_AGAIN;
                self.has_reserved(look, Some(decision), ground);
            }
            _ => self.has_reserved(look, None, ground),
        }
    }

    /// Lets the next go on, and goes on itself when it is known what became of the
    /// announcement. Without a decision it could not reserve.
    pub(super) fn has_reserved(&mut self, look: Look, decision: Option<Box<Decision>>, ground: &mut Ground<'_>) {
        let name = look.name();
        if self.reserving.remove(&name).is_some() {
            self.next_may_reserve(ground);
        }
        if self.desk.get(&name).is_some_and(|standing| standing.announcing.is_some()) {
            return self.at_stage(&name, Stage::Reserved(look, decision));
        }
        match decision {
            Some(decision) => self.post(look, *decision, ground),
            None => self.done(Task::Judge(name), Some(TRY_AGAIN), ground),
        }
    }

    fn next_may_reserve(&mut self, ground: &mut Ground<'_>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some(name) = waiting.pop_front() {
            let Some(stage) = self.take_stage(&name) else { continue };
            let Stage::Waiting(look, wanted) = stage else {
                self.at_stage(&name, stage);
                continue;
            };
            if self.reserving.values().all(|claimed| claimed.is_disjoint(&wanted)) {
                self.reserves(look, wanted, ground);
            } else {
                self.at_stage(&name, Stage::Waiting(look, wanted));
                self.waiting.push_back(name);
            }
        }
    }
}

fn uids(reservation: &Reservation) -> impl Iterator<Item = &Uid> {
    [&reservation.target.uid, &reservation.subject.uid].into_iter()
}

/// The action that a reservation becomes: one sequence a policy makes two leaders
/// collide on the name.
fn reserved(policy: &Rc<PolicyObject>, reservation: &Reservation, now: Timestamp) -> ActionObject {
    let index = usize::try_from(reservation.step).unwrap_or(1).saturating_sub(1);
    let step = &policy.rule.steps[index.min(policy.rule.steps.len() - 1)];
    ActionObject {
        name: format!("{}-{}", policy.rule.key.name, reservation.sequence),
        created: whole_seconds(now),
        revision: 0,
        spec: ActionSpec {
            policy: Rc::clone(policy),
            sequence: reservation.sequence,
            target: reservation.target.clone(),
            subject: reservation.subject.clone(),
            action: reservation.action.clone(),
            verify_within: step.verify_within,
            step: reservation.step,
            attempt: reservation.attempt,
            since: whole_seconds(reservation.since),
            observed_at: whole_seconds(reservation.observed_at),
            start_by: whole_seconds(reservation.start_by),
        },
        status: ActionStatus::default(),
    }
}
