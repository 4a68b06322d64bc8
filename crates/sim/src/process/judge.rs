//! The judge's pass over one policy: observe → decide → reserve → post → tell, with
//! time passing and the world changing between any two of them.

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide;
use prunella_core::decide::{Decision, Inputs, Memory, Phase, Question, Reservation};
use prunella_core::ledger::{Ledger, Record};
use prunella_core::observation::{Answer as SourceAnswer, Observation, UnknownReason};
use prunella_core::target::Uid;
use prunella_core::time::{after, elapsed, whole_seconds};

use super::{Ground, Posting, Process, Task, status};
use crate::api_server::{Answer, Write};
use crate::objects::{ActionObject, ActionSpec, ActionStatus, PolicyObject, PolicyStatus};
use crate::prometheus::Health;
use crate::queue::{Request, Step};

/// How often a decision may ask on.
const ROUNDS: usize = 3;
/// How soon a pass that failed is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// How soon to decide again when somebody else had the number.
const DECIDE_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// The longest time one query may take.
const LONGEST_QUERY: SignedDuration = SignedDuration::from_secs(10);
/// How long a record is kept at least.
const KEPT_AT_LEAST: SignedDuration = SignedDuration::from_hours(1);

/// What is remembered of one policy.
#[derive(Debug, Default)]
pub(super) struct Standing {
    identity: Option<(Uid, String)>,
    memory: Memory,
    observation: Option<Observation>,
    due: Option<Timestamp>,
    written: Option<PolicyStatus>,
    pass: Option<Pass>,
}

/// A pass under way.
#[derive(Debug)]
struct Pass {
    policy: Rc<PolicyObject>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The source was asked, was in this health, and looked at its samples when it was
    /// reached.
    Asking { asked: Timestamp, health: Health, evaluated: Timestamp },
    /// Waits for its turn to reserve.
    Waiting(Observation),
    /// Has sent the reservation at this place; those before are on record.
    Reserving { observation: Observation, decision: Box<Decision>, at: usize },
    /// Has sent the status.
    Telling { observation: Observation, next_check: SignedDuration, status: PolicyStatus },
}

impl Process {
    pub(super) fn judge_wakes(&mut self, name: &str, ground: &mut Ground<'_>) {
        let Some(policy) = self.caches.policies.get(name).cloned() else {
            return self.done(Task::Judge(name.to_owned()), None, ground);
        };
        let now = self.clock(ground);
        let standing = self.desk.entry(name.to_owned()).or_default();
        let identity = (policy.uid.clone(), policy.rule.hash.clone());
        if standing.identity.as_ref() != Some(&identity) {
            let memory = if standing.identity.is_none() { status::memory(&policy.status) } else { Memory::default() };
            let written = standing.written.take();
            *standing = Standing { identity: Some(identity), memory, written, ..Standing::default() };
        }
        let known = standing.observation.take().filter(|_| standing.due.is_some_and(|due| now < due));
        if let Some(observation) = known {
            let decision = self.decide_once(&policy, &observation, ground);
            if decision.questions.is_empty() {
                return self.decided(name, policy, observation, decision, ground);
            }
        }
        let health = ground.prometheus.health;
        let latency = match health {
            Health::Hanging => LONGEST_QUERY.min(policy.rule.interval),
            Health::Up if ground.dice.percent(2) => ground.dice.millis(80, 4900),
            Health::Up | Health::Down => ground.dice.millis(1, 80),
        };
        self.at_stage(name, policy, Stage::Asking { asked: now, health, evaluated: ground.now });
        self.later(latency, Step::Hears(name.to_owned()), ground);
    }

    /// The source has answered, or it is clear that it will not: what is open is
    /// asked together, so that all answers tell of the same instant.
    pub(super) fn hears(&mut self, name: &str, ground: &mut Ground<'_>) {
        let Some(Pass { policy, stage: Stage::Asking { asked: at, health, evaluated } }) = self.take_pass(name) else {
            return;
        };
        let source = ground.prometheus;
        let condition = policy.condition;
        let breach = match health {
            Health::Hanging => SourceAnswer::unknown(UnknownReason::Timeout, "no answer in time"),
            Health::Up | Health::Down => source.breach(condition, evaluated),
        };
        let mut observation = Observation { at, breach, evidence: None, history: None, freshness: [].into() };
        let mut decision = self.decide_once(&policy, &observation, ground);
        for _ in 0..ROUNDS {
            if decision.questions.is_empty() {
                break;
            }
            for question in std::mem::take(&mut decision.questions) {
                match question {
                    Question::Evidence => observation.evidence = Some(source.evidence(condition, evaluated)),
                    Question::History { since } => {
                        observation.history = Some(source.history(condition, since, at, policy.rule.interval));
                    }
                    Question::Freshness { target } => {
                        observation.freshness.insert(target.uid, source.freshness(&target.name, evaluated));
                    }
                }
            }
            decision = self.decide_once(&policy, &observation, ground);
        }
        self.decided(name, policy, observation, decision, ground);
    }

    fn decide_once(&self, policy: &PolicyObject, observation: &Observation, ground: &mut Ground<'_>) -> Decision {
        self.decide_with(policy, observation, &self.caches.ledger(), ground)
    }

    fn decide_with(
        &self,
        policy: &PolicyObject,
        observation: &Observation,
        ledger: &Ledger,
        ground: &mut Ground<'_>,
    ) -> Decision {
        let targets = self.caches.targets(policy);
        let unknown = Memory::default();
        let memory = self.desk.get(&policy.rule.key.name).map_or(&unknown, |standing| &standing.memory);
        let inputs = Inputs {
            policy: &policy.rule,
            observation,
            targets: &targets,
            ledger,
            memory,
            held: false,
            now: self.clock(ground),
        };
        let decision = decide(inputs);
        ground.check.decided(ground.now, inputs, &decision);
        decision
    }

    fn decided(
        &mut self,
        name: &str,
        policy: Rc<PolicyObject>,
        observation: Observation,
        decision: Decision,
        ground: &mut Ground<'_>,
    ) {
        if decision.reservations.is_empty() {
            return self.post(name, policy, observation, decision, ground);
        }
        self.at_stage(name, policy, Stage::Waiting(observation));
        if self.reserving.is_some() {
            self.waiting.push_back(name.to_owned());
        } else {
            self.reserves(name, ground);
        }
    }

    /// Decides again with all other reservations of this process held off.
    fn reserves(&mut self, name: &str, ground: &mut Ground<'_>) {
        let Some(Pass { policy, stage: Stage::Waiting(observation) }) = self.take_pass(name) else { return };
        self.reserving = Some(name.to_owned());
        let decision = self.decide_once(&policy, &observation, ground);
        self.decides_again(&policy, &observation, &decision, ground);
        self.reserve(name, policy, observation, Box::new(decision), 0, ground);
    }

    fn reserve(
        &mut self,
        name: &str,
        policy: Rc<PolicyObject>,
        observation: Observation,
        decision: Box<Decision>,
        at: usize,
        ground: &mut Ground<'_>,
    ) {
        let Some(reservation) = decision.reservations.get(at) else {
            self.reserved(ground);
            return self.post(name, policy, observation, *decision, ground);
        };
        let ActionObject { name: action, spec, .. } = reserved(&policy, reservation, ground.now);
        let write = Write::Create { name: action, spec };
        self.at_stage(name, policy, Stage::Reserving { observation, decision, at });
        self.send(Task::Judge(name.to_owned()), write, ground);
    }

    /// The next policy may reserve.
    fn reserved(&mut self, ground: &mut Ground<'_>) {
        self.reserving = None;
        if let Some(next) = self.waiting.pop_front() {
            self.reserves(&next, ground);
        }
    }

    pub(super) fn judge_learns(&mut self, name: &str, request: &Request, answer: &Answer, ground: &mut Ground<'_>) {
        if matches!(request.write, Write::Collect { .. }) {
            return;
        }
        let Some(Pass { policy, stage }) = self.take_pass(name) else { return };
        match (stage, answer) {
            (Stage::Reserving { observation, decision, at }, Answer::Written(_)) => {
                self.note(answer);
                self.reserve(name, policy, observation, decision, at + 1, ground);
            }
            (Stage::Reserving { observation, mut decision, at }, Answer::AlreadyExists) => {
                decision.reservations.truncate(at);
                decision.next_check = DECIDE_AGAIN;
                self.reserved(ground);
                self.post(name, policy, observation, *decision, ground);
            }
            (Stage::Reserving { .. }, _) => {
                self.reserved(ground);
                self.done(Task::Judge(name.to_owned()), Some(TRY_AGAIN), ground);
            }
            (Stage::Telling { observation, next_check, status }, Answer::Done | Answer::NotFound) => {
                if let Some(standing) = self.desk.get_mut(name) {
                    standing.written = Some(status);
                }
                self.finish(name, &policy, observation, next_check, ground);
            }
            (_, _) => {
                if let Some(standing) = self.desk.get_mut(name) {
                    standing.written = None;
                }
                self.done(Task::Judge(name.to_owned()), Some(TRY_AGAIN), ground);
            }
        }
    }

    /// Hands the news to the executor, remembers, and writes down what changed.
    fn post(
        &mut self,
        name: &str,
        policy: Rc<PolicyObject>,
        observation: Observation,
        decision: Decision,
        ground: &mut Ground<'_>,
    ) {
        ground.trace.decision(ground.now, self.id, name, &decision);
        let firing = decision.memory.timers.iter().filter(|(_, timer)| {
            timer.phase == Phase::Firing && timer.breach.is_some_and(|breach| breach.last == observation.at)
        });
        let posting = Posting {
            policy_uid: policy.uid.clone(),
            observed_at: observation.at,
            interval: policy.rule.interval,
            firing: firing.map(|(uid, _)| uid.clone()).collect(),
            verdicts: decision.verdicts.clone(),
        };
        self.board.insert(name.to_owned(), posting);
        self.wake_executor(name, &decision.verdicts, ground);
        let status = status::status(&policy, &observation, &decision, &self.caches.ledger());
        let due = after(self.clock(ground), decision.next_check);
        let Some(standing) = self.desk.get_mut(name) else { return };
        standing.memory = decision.memory;
        standing.due = Some(due);
        if *standing.written.as_ref().unwrap_or(&policy.status) == status {
            return self.finish(name, &policy, observation, decision.next_check, ground);
        }
        let write = Write::Tell { policy: name.to_owned(), status: status.clone() };
        let next_check = decision.next_check;
        self.at_stage(name, policy, Stage::Telling { observation, next_check, status });
        self.send(Task::Judge(name.to_owned()), write, ground);
    }

    fn finish(
        &mut self,
        name: &str,
        policy: &PolicyObject,
        observation: Observation,
        next_check: SignedDuration,
        ground: &mut Ground<'_>,
    ) {
        if let Some(standing) = self.desk.get_mut(name) {
            standing.observation = Some(observation);
        }
        self.collect(name, policy, ground);
        self.done(Task::Judge(name.to_owned()), Some(next_check), ground);
    }

    /// History goes, except for what still counts towards a limit, and the newest.
    fn collect(&mut self, name: &str, policy: &PolicyObject, ground: &mut Ground<'_>) {
        let limits = &policy.rule.limits;
        let counted_for = limits.window.max(limits.cooldown).max(limits.ladder_reset).max(KEPT_AT_LEAST);
        let now = self.clock(ground);
        let ledger = self.caches.ledger();
        let mut finished: Vec<&Record> = ledger.of(&policy.rule.key).filter(|record| !record.in_flight()).collect();
        finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
        for record in finished.into_iter().skip(policy.history_limit.max(1)) {
            if elapsed(record.finished.unwrap_or(record.created), now) > counted_for {
                let write = Write::Collect { name: record.name.clone() };
                self.send(Task::Judge(name.to_owned()), write, ground);
            }
        }
    }

    /// HP-6: with its own plan recorded, the judgement plans nothing more.
    fn decides_again(
        &self,
        policy: &Rc<PolicyObject>,
        observation: &Observation,
        decision: &Decision,
        ground: &mut Ground<'_>,
    ) {
        let mut ledger = Ledger::clone(&self.caches.ledger());
        let planned = decision.reservations.iter().map(|one| reserved(policy, one, ground.now).record());
        ledger.records.extend(planned);
        let again = self.decide_with(policy, observation, &ledger, ground);
        ground.check.decided_again(ground.now, &again);
    }

    fn at_stage(&mut self, name: &str, policy: Rc<PolicyObject>, stage: Stage) {
        if let Some(standing) = self.desk.get_mut(name) {
            standing.pass = Some(Pass { policy, stage });
        }
    }

    fn take_pass(&mut self, name: &str) -> Option<Pass> {
        self.desk.get_mut(name)?.pass.take()
    }
}

/// The action that a reservation becomes: one sequence a policy makes two leaders
/// collide on the name.
fn reserved(policy: &Rc<PolicyObject>, reservation: &Reservation, now: Timestamp) -> ActionObject {
    let index = usize::try_from(reservation.rung).unwrap_or(1).saturating_sub(1);
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
            action: step.action.clone(),
            verify_within: step.verify_within,
            rung: reservation.rung,
            attempt: reservation.attempt,
            since: whole_seconds(reservation.since),
            observed_at: whole_seconds(reservation.observed_at),
            start_by: whole_seconds(reservation.start_by),
        },
        status: ActionStatus::default(),
    }
}
