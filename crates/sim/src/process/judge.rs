//! The judge's pass over one policy: observe → decide → announce and reserve → post →
//! tell, with time passing and the world changing between any two of them.

mod reserve;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::SignedDuration;
use jiff::Timestamp;
use prunella_core::decide;
use prunella_core::decide::{Decision, Inputs, Memory, Question};
use prunella_core::ledger::Ledger;
use prunella_core::observation::{Answer as SourceAnswer, Observation, Operands, UnknownReason};
use prunella_core::target::Uid;

use super::{Ground, Process, Task, status};
use crate::api_server::{Answer, Write};
use crate::objects::{PolicyObject, PolicyStatus};
use crate::prometheus::Health;
use crate::queue::{Request, Step};

/// How often a decision may ask on.
const ROUNDS: usize = 3;
/// How soon a pass that failed is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// The longest time one query may take.
const LONGEST_QUERY: SignedDuration = SignedDuration::from_secs(10);

/// What is remembered of one policy.
#[derive(Debug, Default)]
pub(super) struct Standing {
    identity: Option<(Uid, String)>,
    generation: u64,
    memory: Memory,
    observation: Option<Observation>,
    due: Option<Timestamp>,
    written: Option<PolicyStatus>,
    /// The status that is being told while it is reserved.
    announcing: Option<PolicyStatus>,
    stage: Option<Stage>,
}

/// How far a pass has come.
#[derive(Debug)]
enum Stage {
    /// The source was asked, was in this health, and looked at its samples when it was
    /// reached.
    Asking { policy: Rc<PolicyObject>, due: bool, asked: Timestamp, health: Health, evaluated: Timestamp },
    /// Waits until nobody else reserves any of these.
    Waiting(Look, BTreeSet<Uid>),
    /// Has sent the reservation at this place; those before are on record.
    Reserving { look: Look, decision: Box<Decision>, at: usize },
    /// Has reserved, or failed to, and waits for what became of the announcement.
    Reserved(Look, Option<Box<Decision>>),
    /// Has sent the status.
    Telling(Look, PolicyStatus),
}

/// What a pass is about.
#[derive(Debug)]
struct Look {
    policy: Rc<PolicyObject>,
    /// Whether the source was due to be asked when the pass began.
    due: bool,
    observation: Observation,
}

impl Process {
    pub(super) fn judge_wakes(&mut self, name: &str, ground: &mut Ground<'_>) {
        let Some(policy) = self.caches.policies.get(name).cloned() else {
            return self.done(Task::Judge(name.to_owned()), None, ground);
        };
        let now = self.clock(ground);
        let standing = self.desk.entry(name.to_owned()).or_default();
        let identity = (policy.uid.clone(), policy.rule.digest.clone());
        if standing.identity.as_ref() != Some(&identity) {
            let memory = if standing.identity.is_none() { status::memory(&policy.status) } else { Memory::default() };
            let written = standing.written.take();
            *standing = Standing { identity: Some(identity), memory, written, ..Standing::default() };
        }
        if standing.generation != policy.generation {
            standing.generation = policy.generation;
            standing.due = None;
        }
        let known = standing.observation.take();
        let due = known.is_none() || standing.due.is_none_or(|due| now >= due);
        if let Some(observation) = known.filter(|_| !due) {
            let decision = self.decide_once(&policy, &observation, ground);
            if decision.questions.is_empty() {
                return self.decided(Look { policy, due, observation }, decision, ground);
            }
        }
        let health = ground.prometheus.health;
        let latency = match health {
            Health::Hanging => LONGEST_QUERY.min(policy.rule.interval),
            Health::Up if ground.dice.percent(2) => ground.dice.millis(80, 4900),
            Health::Up | Health::Down => ground.dice.millis(1, 80),
        };
        self.at_stage(name, Stage::Asking { policy, due, asked: now, health, evaluated: ground.now });
        self.later(latency, Step::Hears(name.to_owned()), ground);
    }

    /// The source has answered, or it is clear that it will not: what is open is
    /// asked together, so that all answers tell of the same instant.
    pub(super) fn hears(&mut self, name: &str, ground: &mut Ground<'_>) {
        let Some(Stage::Asking { policy, due, asked: at, health, evaluated }) = self.take_stage(name) else { return };
        let source = ground.prometheus;
        let condition = policy.condition;
        let breach = match health {
            Health::Hanging => SourceAnswer::unknown(UnknownReason::Timeout, "no answer in time"),
            Health::Up | Health::Down => source.breach(condition, evaluated),
        };
        let mut observation =
            Observation { at, breach, evidence: None, history: None, freshness: [].into(), operands: None };
        let mut decision = self.decide_once(&policy, &observation, ground);
        for _ in 0..ROUNDS {
            if decision.questions.is_empty() {
                break;
            }
            for question in std::mem::take(&mut decision.questions) {
                match question {
                    Question::Evidence => observation.evidence = Some(source.evidence(condition, evaluated)),
                    Question::Operands => observation.operands = Some(Operands::AllReported),
                    Question::History { since } => {
                        observation.history = Some(source.history(condition, since, at, policy.rule.interval));
                    }
                    Question::Freshness { target, .. } => {
                        observation.freshness.insert(target.uid, source.freshness(&target.name, evaluated));
                    }
                }
            }
            decision = self.decide_once(&policy, &observation, ground);
        }
        self.decided(Look { policy, due, observation }, decision, ground);
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
        let now = self.clock(ground);
        // Which of two policies goes first is no promise, so the model leaves it to chance.
        let removals = BTreeMap::new();
        let inputs = Inputs {
            policy: &policy.rule,
            observation,
            targets: &targets,
            ledger,
            memory,
            held: false,
            removals: &removals,
            phase: SignedDuration::from_secs(if ground.looks_move { now.as_second() / 60 % 5 } else { 0 }),
            now,
        };
        let decision = decide(inputs);
        ground.check.decided(ground.now, self.id, inputs, &decision);
        decision
    }

    /// What is to be reserved is announced meanwhile.
    fn decided(&mut self, look: Look, decision: Decision, ground: &mut Ground<'_>) {
        if decision.reservations.is_empty() {
            return self.post(look, decision, ground);
        }
        let name = look.name();
        if let Some(status) = self.news(&look, &decision) {
            let write = Write::Tell { policy: name.clone(), status: status.clone() };
            if let Some(standing) = self.desk.get_mut(&name) {
                standing.announcing = Some(status);
            }
            self.send(Task::Judge(name), write, ground);
        }
        self.may_reserve(look, &decision, ground);
    }

    pub(super) fn judge_learns(&mut self, name: &str, request: &Request, answer: &Answer, ground: &mut Ground<'_>) {
        if matches!(request.write, Write::Collect { .. }) {
            return;
        }
        let announced = self.desk.get_mut(name).and_then(|standing| standing.announcing.take());
        if let (Some(status), Write::Tell { .. }) = (&announced, &request.write) {
            // That it cannot be shown must not keep the unhealthy from being healed.
            let is_told = matches!(answer, Answer::Done | Answer::NotFound);
            self.has_written(name, is_told.then(|| status.clone()));
            match self.take_stage(name) {
                Some(Stage::Reserved(look, decision)) => self.has_reserved(look, decision, ground),
                Some(stage) => self.at_stage(name, stage),
                None => {}
            }
            return;
        }
        if let Some(standing) = self.desk.get_mut(name) {
            standing.announcing = announced;
        }
        match (self.take_stage(name), answer) {
            (None, _) => {}
            (Some(Stage::Telling(look, status)), Answer::Done | Answer::NotFound) => {
                self.has_written(name, Some(status));
                self.finish(look, ground);
            }
            (Some(Stage::Reserving { look, decision, at }), answer) => {
                self.reservation_learns(look, decision, at, answer, ground);
            }
            (Some(_), _) => {
                self.has_written(name, None);
                self.done(Task::Judge(name.to_owned()), Some(TRY_AGAIN), ground);
            }
        }
    }

    fn has_written(&mut self, name: &str, status: Option<PolicyStatus>) {
        if let Some(standing) = self.desk.get_mut(name) {
            standing.written = status;
        }
    }

    fn at_stage(&mut self, name: &str, stage: Stage) {
        if let Some(standing) = self.desk.get_mut(name) {
            standing.stage = Some(stage);
        }
    }

    fn take_stage(&mut self, name: &str) -> Option<Stage> {
        self.desk.get_mut(name)?.stage.take()
    }
}

impl Look {
    fn name(&self) -> String {
        self.policy.rule.key.name.clone()
    }
}
