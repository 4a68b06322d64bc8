//! The executor's pass over one action: read the record, read the world, take one
//! step. It is the only writer of the record, by compare-and-set.

use std::rc::Rc;

use jiff::SignedDuration;
use prunella_core::availability;
use prunella_core::execute::{
    ActionWorld, Effect, LiveField, LiveSubject, LiveTarget, PolicyStanding, TRY_AGAIN as EFFECT_AGAIN,
};
use prunella_core::ledger::{Overlap, Record, State};
use prunella_core::time::{after, elapsed};
use prunella_core::{execute, next_instruction};

use super::{Ground, Process, Task};
use crate::api_server::{Answer, Write};
use crate::objects::{ActionObject, ActionStatus, READY_TIMES};
use crate::queue::{Request, Step};

/// How soon a pass that failed is tried again: nothing is known, look again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// How soon to look again after a write was answered or refused.
const SOON: SignedDuration = SignedDuration::from_millis(50);
/// What is over is not looked at again for this long.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// How many milliseconds late a look may be: a busy process looks when it can.
const LATE: i64 = 4000;

impl Process {
    pub(super) fn executor_wakes(&mut self, name: &str, ground: &mut Ground<'_>) {
        let task = Task::Execute(name.to_owned());
        let over = |action: &Rc<ActionObject>| matches!(action.state(), State::Finished(_));
        if self.caches.actions().get(name).is_none_or(over) {
            return self.done(task, None, ground);
        }
        if ground.weather.read_fails(ground.dice) {
            return self.done(task, Some(TRY_AGAIN), ground);
        }
        // What the watch shows may be old: the record itself is read live as well.
        match ground.api.actions.get(name).cloned().filter(|action| !over(action)) {
            None => self.done(task, None, ground),
            Some(action) => {
                // Some looks take their time, and the world goes on meanwhile.
                let slow = ground.dice.percent(3);
                let latency = if slow { ground.dice.millis(50, 3000) } else { ground.dice.millis(1, 30) };
                self.later(latency, Step::Surveys(action), ground);
            }
        }
    }

    /// Reads the world around the action, and decides.
    pub(super) fn surveys(&mut self, action: &Rc<ActionObject>, ground: &mut Ground<'_>) {
        let task = Task::Execute(action.name.clone());
        let facts = action.facts();
        let now = self.clock(ground);
        let world = self.world(action, facts.state, ground);
        let step = next_instruction(&facts, world, now);
        match step {
            execute::Instruction::Wait(wait) => {
                let wait = wait.min(LONGEST_WAIT).saturating_add(ground.dice.millis(0, LATE));
                self.done(task, Some(wait), ground);
            }
            execute::Instruction::Do(effect) => {
                let patience = self.patience.get(&action.name).map(|until| elapsed(ground.now, *until));
                if let Some(left) = patience.filter(SignedDuration::is_positive) {
                    return self.done(task, Some(left), ground);
                }
                match write(action, &effect, ground) {
                    Some(write) => self.send(task, write, ground),
                    None => self.done(task, None, ground),
                }
            }
            execute::Instruction::Record(transition) => {
                let status = action.status.after(transition, now);
                self.send(task, replace(action, status), ground);
            }
        }
    }

    fn world(&self, action: &ActionObject, state: State, ground: &Ground<'_>) -> ActionWorld {
        let policy = ground.api.policies.get(action.policy()).filter(|policy| policy.uid == action.spec.policy.uid);
        let target = ground.api.pod(&action.spec.target.uid);
        let verdict = self.board.get(action.policy()).and_then(|posting| {
            let verdict = posting.verdicts.iter().find(|verdict| verdict.action == action.name)?;
            Some((verdict.outcome, verdict.reason))
        });
        let whole = action.is_on_whole();
        let (subject, field) = match state {
            State::Pending | State::Running if !whole => (LiveSubject::Restored, LiveField::None),
            _ => ground.api.stands(action),
        };
        ActionWorld {
            too_few_available: match state {
                State::Pending | State::Running if !whole => self.too_few_available(action, ground),
                _ => None,
            },
            policy: match policy {
                Some(policy) if policy.rule.suspended => PolicyStanding::Suspended,
                Some(_) => PolicyStanding::Enforces,
                None => PolicyStanding::Gone,
            },
            target: match target {
                _ if matches!(state, State::Verifying | State::Finished(_)) => LiveTarget::Gone,
                _ if whole && state == State::Settling => LiveTarget::Gone,
                None => LiveTarget::Gone,
                Some(pod) if pod.terminating => LiveTarget::Terminating,
                Some(_) => LiveTarget::Present,
            },
            subject,
            field,
            terminating_until: None,
            ready_times: READY_TIMES,
            rollout_progress: None,
            replicas: 0,
            overlap: match state {
                State::Pending | State::Running => overlap(action, ground),
                _ => Overlap::None,
            },
            firing: self.is_firing(
                action.policy(),
                &action.spec.policy.uid,
                &action.spec.target.uid,
                self.clock(ground),
            ),
            verdict,
        }
    }

    /// Whether too few pods would stay Ready, as far as this process sees the pods.
    fn too_few_available(&self, action: &ActionObject, ground: &Ground<'_>) -> Option<Overlap> {
        let minimum = action.spec.policy.rule.limits.min_available;
        let targets = self.caches.targets(&action.spec.policy);
        let target = targets.iter().find(|target| target.object.uid == action.spec.target.uid)?;
        let records: Vec<Record> = ground.api.actions.values().map(|other| other.record()).collect();
        let (disrupted, conflict) = availability::siblings(&action.record(), &records);
        availability::shortage(minimum, target, &disrupted).map(|_| conflict)
    }

    pub(super) fn executor_learns(&mut self, name: &str, request: &Request, answer: &Answer, ground: &mut Ground<'_>) {
        let task = Task::Execute(name.to_owned());
        let again = match (&request.write, answer) {
            (Write::Evict { action, .. }, Answer::TooManyRequests) => {
                let pause = EFFECT_AGAIN;
                self.patience.insert(name.to_owned(), after(ground.now, pause));
                if !action.status.blocked {
                    let status = ActionStatus { blocked: true, ..action.status.clone() };
                    return self.send(task, replace(action, status), ground);
                }
                pause
            }
            (Write::Replace { .. }, Answer::Written(action)) => {
                let judge = Task::Judge(action.policy().to_owned());
                self.note(answer);
                self.wake(judge, SignedDuration::ZERO, ground);
                match action.state() {
                    State::Running if action.status.blocked => EFFECT_AGAIN,
                    State::Running => TRY_AGAIN,
                    _ => SOON,
                }
            }
            // From here on the budget is not given back: the try may have had an effect.
            (Write::Evict { action, .. }, Answer::Lost | Answer::Refused) if action.status.blocked => {
                let status = ActionStatus { blocked: false, ..action.status.clone() };
                return self.send(task, replace(action, status), ground);
            }
            (_, Answer::Lost | Answer::Refused)
            | (
                Write::Evict { .. } | Write::Restart { .. } | Write::Scale { .. },
                Answer::NotFound | Answer::Conflict,
            ) => TRY_AGAIN,
            (_, _) => SOON,
        };
        self.done(task, Some(again), ground);
    }
}

/// How other actions stand in this one's way. Asked of the API server: another leader's
/// reservation must not be missed.
fn overlap(action: &ActionObject, ground: &Ground<'_>) -> Overlap {
    let others: Vec<Record> = ground.api.actions.values().map(|other| other.record()).collect();
    action.record().overlap(&others)
}

/// The write that an effect is; no scenario has an autoscaler.
fn write(action: &Rc<ActionObject>, effect: &Effect, ground: &Ground<'_>) -> Option<Write> {
    let action = Rc::clone(action);
    let version = ground.api.workload(&action.spec.subject.uid).map_or(0, |(_, workload)| workload.version);
    Some(match effect {
        Effect::EvictPod { grace } | Effect::DeletePod { grace } => Write::Evict {
            pod: action.spec.target.name.clone(),
            uid: action.spec.target.uid.clone(),
            grace: grace.unwrap_or(SignedDuration::from_secs(30)),
            action,
        },
        Effect::Restart { .. } => Write::Restart { action, version },
        Effect::Scale { from, to } => Write::Scale { action, version, from: *from, to: *to },
        Effect::RaiseMinimum { .. } => return None,
    })
}

fn replace(action: &ActionObject, status: ActionStatus) -> Write {
    Write::Replace { name: action.name.clone(), revision: action.revision, status }
}
