//! A small world for tests of the judgement: a policy, pods of one Deployment, a
//! ledger, and a loop that looks once an interval, as the judge does.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses its own part"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::{ActionSpec, Disruption, Scope};
use prunella_core::decide::{Decision, Inputs, Memory, Question, Reservation};
use prunella_core::ledger::{Ledger, Outcome, Record, State};
use prunella_core::observation::{Answer, Freshness, History, Labels, Observation, Series, UnknownReason};
use prunella_core::policy::{
    Limits, Mode, OnNoData, OnStorm, Policy, PolicyKey, SeriesMatch, StepSpec, SubjectCap, Unhealthy,
};
use prunella_core::target::{Object, Target};
use prunella_core::{decide, time};

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// Second `at` of the test.
pub fn second(at: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + at).unwrap()
}

pub fn key() -> PolicyKey {
    PolicyKey { namespace: "shop".into(), name: "web".into() }
}

/// Looks every 10 s, fires after 30 s, clear after 20 s, one action at a time.
pub fn policy() -> Policy {
    Policy {
        key: key(),
        mode: Mode::Enforce,
        interval: seconds(10),
        breach_for: seconds(30),
        clear_for: seconds(20),
        on_no_data: OnNoData::Hold,
        series: SeriesMatch::Label("pod".into()),
        namespace_label: "namespace".into(),
        pinned: true,
        // Youth has tests of its own.
        min_age: seconds(0),
        signal_window: seconds(45),
        reset_at: None,
        longest_gap: seconds(45),
        suspended: false,
        hash: "rule".into(),
        steps: vec![step(5)],
        limits: Limits {
            cooldown: seconds(300),
            max_actions: 3,
            window: seconds(3600),
            max_concurrent: 1,
            ladder_reset: seconds(3600),
            subject_cap: SubjectCap { count: 5, window: seconds(3600) },
            // Storms have tests of their own.
            max_unhealthy: Unhealthy::Percent(100),
            on_storm: OnStorm::Probe,
            storm_cooldown: seconds(60),
        },
    }
}

/// An eviction, tried up to `attempts` times.
pub fn step(attempts: u32) -> StepSpec {
    StepSpec {
        action: ActionSpec::DeletePod { disruption: Disruption::Evict, grace: None },
        attempts,
        verify_within: seconds(120),
    }
}

pub fn deployment() -> Object {
    Object { kind: "Deployment".into(), name: "web".into(), uid: "uid-web".into() }
}

/// A pod created at second `created`.
pub fn pod(name: &str, created: i64) -> Target {
    Target {
        object: Object { kind: "Pod".into(), name: name.into(), uid: format!("uid-{name}").into() },
        created: second(created),
        ready: true,
        terminating: false,
        subject: deployment(),
        stable_name: false,
        opted_out: None,
        not_healable: None,
        pods: Vec::new(),
        grace: None,
        workload: None,
    }
}

pub fn series(pod: &str, value: f64) -> Series {
    Series { labels: Labels::from([("pod".into(), pod.into()), ("namespace".into(), "shop".into())]), value }
}

pub fn breached(pods: &[&str]) -> Answer {
    Answer::Answered(pods.iter().map(|pod| series(pod, 7.0)).collect())
}

pub fn observation(at: Timestamp, breach: &Answer) -> Observation {
    Observation { at, breach: breach.clone(), evidence: None, history: None, freshness: BTreeMap::new() }
}

pub fn silent() -> Answer {
    Answer::unknown(UnknownReason::Unreachable, "no connection")
}

/// A record in a state, reserved at second `created` for `pod`.
pub fn record(name: &str, sequence: u64, pod: &Target, created: i64, state: State) -> Record {
    Record {
        name: name.into(),
        sequence,
        policy: key(),
        hash: "rule".into(),
        mode: Mode::Enforce,
        action: "DeletePod".into(),
        scope: Scope::Successor,
        target: pod.object.clone(),
        subject: pod.subject.clone(),
        created: second(created),
        sick_since: second(created),
        verify_by: (state == State::Verifying).then(|| second(created + 120)),
        rung: 1,
        attempt: 1,
        state,
        waiting: false,
        reason: None,
        finished: matches!(state, State::Finished(_)).then(|| second(created)),
    }
}

/// The world as the judge sees it.
pub struct World {
    pub policy: Policy,
    pub targets: Vec<Target>,
    pub ledger: Ledger,
    pub memory: Memory,
    /// Who has data at all; answers the question for evidence.
    pub evidence: Answer,
    /// Answers the question for the past.
    pub history: History,
    /// Whose samples are not fresh.
    pub stale: BTreeSet<String>,
    /// Whether healing is held back.
    pub held: bool,
    /// Where in each interval it looks.
    pub phase: SignedDuration,
}

impl World {
    pub fn new(targets: Vec<Target>) -> Self {
        let evidence = Answer::Answered(targets.iter().map(|target| series(&target.object.name, 1.0)).collect());
        Self {
            policy: policy(),
            targets,
            ledger: Ledger::default(),
            memory: Memory::default(),
            evidence,
            history: History::Answered(Vec::new()),
            stale: BTreeSet::new(),
            held: false,
            phase: SignedDuration::ZERO,
        }
    }

    /// One decision as it stands, with nothing remembered of it.
    pub fn decide(&self, at: Timestamp, observation: &Observation) -> Decision {
        decide(Inputs {
            policy: &self.policy,
            observation,
            targets: &self.targets,
            ledger: &self.ledger,
            memory: &self.memory,
            held: self.held,
            phase: self.phase,
            now: at,
        })
    }

    /// An observation and a decision in which every question is answered.
    pub fn decide_fully(&self, at: Timestamp, breach: &Answer) -> (Observation, Decision) {
        let mut observation = observation(at, breach);
        for _ in 0..4 {
            let decision = self.decide(at, &observation);
            if decision.questions.is_empty() {
                return (observation, decision);
            }
            for question in decision.questions {
                match question {
                    Question::Evidence => observation.evidence = Some(self.evidence.clone()),
                    Question::History { .. } => observation.history = Some(self.history.clone()),
                    Question::Freshness { target, .. } => {
                        let stale = self.stale.contains(&target.name);
                        let fresh = if stale { Freshness::Stale } else { Freshness::Fresh };
                        observation.freshness.insert(target.uid, fresh);
                    }
                }
            }
        }
        panic!("the questions do not end");
    }

    /// One look at second `at`: questions are answered, the decision is remembered.
    pub fn look(&mut self, at: i64, breach: &Answer) -> Decision {
        self.look_at(second(at), breach)
    }

    pub fn look_at(&mut self, at: Timestamp, breach: &Answer) -> Decision {
        let (_, decision) = self.decide_fully(at, breach);
        self.memory = decision.memory.clone();
        decision
    }

    /// Looks every ten seconds from `from` to `to`; the last decision.
    pub fn look_from_to(&mut self, from: i64, to: i64, breach: &Answer) -> Decision {
        let mut last = self.look(from, breach);
        let mut at = from + 10;
        while at <= to {
            last = self.look(at, breach);
            at += 10;
        }
        last
    }

    /// Puts reservations on record, as the judge does.
    pub fn reserve(&mut self, reservations: &[Reservation], at: Timestamp) {
        for reservation in reservations {
            self.ledger.records.push(Record {
                name: format!("web-{}", reservation.sequence),
                sequence: reservation.sequence,
                policy: self.policy.key.clone(),
                hash: self.policy.hash.clone(),
                mode: self.policy.mode,
                action: reservation.action.name().into(),
                scope: reservation.action.scope(),
                target: reservation.target.clone(),
                subject: reservation.subject.clone(),
                created: time::whole_seconds(at),
                sick_since: time::whole_seconds(reservation.since),
                verify_by: None,
                rung: reservation.rung,
                attempt: reservation.attempt,
                state: State::Pending,
                waiting: false,
                reason: None,
                finished: None,
            });
        }
    }

    /// Sets the state of every action in flight.
    pub fn advance_actions(&mut self, state: State, verify_by: Option<i64>) {
        for record in self.ledger.records.iter_mut().filter(|record| record.in_flight()) {
            record.state = state;
            record.verify_by = verify_by.map(second);
        }
    }

    pub fn finish(&mut self, outcome: Outcome) {
        self.advance_actions(State::Finished(outcome), None);
    }
}

/// The names of the targets that are to be acted on.
pub fn reserved(decision: &Decision) -> Vec<&str> {
    decision.reservations.iter().map(|reservation| reservation.target.name.as_str()).collect()
}

/// Why each sick target is left alone, by name.
pub fn refused(decision: &Decision) -> BTreeMap<&str, &'static str> {
    decision
        .refusals
        .iter()
        .map(|refused| (decision.names[&refused.target].as_str(), refused.refusal.reason.as_str()))
        .collect()
}
