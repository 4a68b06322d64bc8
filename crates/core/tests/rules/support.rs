//! A small cluster for tests of decisions: a policy, pods of one Deployment, a ledger, and a
//! loop that evaluates once per interval, as the judge does.
// No test file uses all of it, and a test may panic.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part of it"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::{ActionScope, ActionSpec, PodRemoval, ProtectedPod, Removal};
use prunella_core::availability::MinAvailable;
use prunella_core::decide::{Decision, Inputs, Memory, PlannedRemoval, Question, Reservation};
use prunella_core::ledger::{Ledger, Outcome, Record, State};
use prunella_core::observation::{Answer, Freshness, History, Labels, Observation, Operands, Series, UnknownReason};
use prunella_core::policy::{
    LadderStep, MaxUnhealthy, NoDataRule, Policy, PolicyKey, PolicyLimits, PolicyMode, QueryTraits, SeriesMatch,
    StormRule, SubjectCap,
};
use prunella_core::readiness::ReadyTimes;
use prunella_core::target::{Object, ReplacementName, Target, TargetWorkload, Uid};
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

/// Interval 10 s, `for` 30 s, `clearFor` 20 s, one action at a time.
pub fn policy() -> Policy {
    Policy {
        key: key(),
        mode: PolicyMode::Enforce,
        interval: seconds(10),
        breach_for: seconds(30),
        clear_for: seconds(20),
        on_no_data: NoDataRule::Hold,
        series: SeriesMatch::Label("pod".into()),
        namespace_label: "namespace".into(),
        pinned: true,
        query: QueryTraits::default(),
        // The tests of young targets set it.
        min_age: seconds(0),
        signal_window: seconds(45),
        reset_at: None,
        longest_gap: seconds(45),
        suspended: false,
        digest: "rule".into(),
        steps: vec![step(5)],
        limits: PolicyLimits {
            cooldown: seconds(300),
            max_actions: 3,
            window: seconds(3600),
            max_concurrent: 1,
            ladder_reset: seconds(3600),
            subject_cap: SubjectCap { count: 5, window: seconds(3600) },
            // The tests of storms set it.
            min_available: MinAvailable::Percent(75),
            max_unhealthy: MaxUnhealthy::Percent(100),
            on_storm: StormRule::Probe,
            storm_cooldown: seconds(60),
        },
    }
}

/// An eviction, tried up to `attempts` times.
pub fn step(attempts: u32) -> LadderStep {
    LadderStep {
        name: "evict".into(),
        action: ActionSpec::DeletePod(PodRemoval {
            removal: Removal::Evict,
            grace: None,
            protected: ProtectedPod::Skip,
        }),
        attempts,
        verify_within: seconds(120),
        ready_within: None,
    }
}

pub fn deployment() -> Object {
    Object::known("Deployment", "web", "uid-web")
}

/// A workload without a rollout that nothing holds back, with this number of wanted replicas.
pub fn steady_workload(replicas: Option<i32>) -> TargetWorkload {
    TargetWorkload {
        replicas,
        restart_held: None,
        all_selected: true,
        autoscaler: None,
        scaled_by: None,
        deletes_volumes: false,
        has_readiness_probe: true,
        rollout_progress: None,
        ready_times: ReadyTimes::default(),
    }
}

/// A pod created at second `created`.
pub fn pod(name: &str, created: i64) -> Target {
    Target {
        object: Object::known("Pod", name, format!("uid-{name}")),
        created: second(created),
        ready: true,
        ready_since: None,
        terminating: false,
        subject: deployment(),
        replacement_name: ReplacementName::Generated,
        protected_by: None,
        opted_out: None,
        not_healable: None,
        pods: Vec::new(),
        grace: None,
        startup: None,
        crash_looping: false,
        siblings: None,
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
    Observation {
        at,
        breach: breach.clone(),
        evidence: None,
        history: None,
        freshness: BTreeMap::new(),
        operands: None,
    }
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
        digest: "rule".into(),
        mode: PolicyMode::Enforce,
        action: "DeletePod".into(),
        scope: ActionScope::Replacement,
        target: pod.object.clone(),
        subject: pod.subject.clone(),
        created: second(created),
        executed_after: None,
        unhealthy_since: second(created),
        breached: series(&pod.object.name, 7.0).labels,
        verify_by: (state == State::Verifying).then(|| second(created + 120)),
        step_name: "evict".into(),
        step: 1,
        attempt: 1,
        state,
        waiting: false,
        reason: None,
        finished: matches!(state, State::Finished(_)).then(|| second(created)),
    }
}

/// The inputs of the judge, and the answers of the source.
pub struct World {
    pub policy: Policy,
    pub targets: Vec<Target>,
    pub ledger: Ledger,
    pub memory: Memory,
    /// The answer to [`Question::Evidence`].
    pub evidence: Answer,
    /// The answer to [`Question::Operands`].
    pub operands: Operands,
    /// The answer to [`Question::History`].
    pub history: History,
    /// The names of the targets whose samples are not fresh.
    pub stale: BTreeSet<String>,
    /// Whether a hold stops healing.
    pub held: bool,
    /// What other policies are about to remove.
    pub removals: BTreeMap<Uid, PlannedRemoval>,
    /// The offset of the evaluation times within the interval.
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
            operands: Operands::AllReported,
            history: History::Answered(Vec::new()),
            stale: BTreeSet::new(),
            held: false,
            removals: BTreeMap::new(),
            phase: SignedDuration::ZERO,
        }
    }

    /// One decision, without storing its memory.
    pub fn decide(&self, at: Timestamp, observation: &Observation) -> Decision {
        decide(Inputs {
            policy: &self.policy,
            observation,
            targets: &self.targets,
            ledger: &self.ledger,
            memory: &self.memory,
            held: self.held,
            removals: &self.removals,
            phase: self.phase,
            now: at,
        })
    }

    /// An observation with answers to all questions, and the decision.
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
                    Question::Operands => observation.operands = Some(self.operands.clone()),
                    Question::History { .. } => observation.history = Some(self.history.clone()),
                    Question::Freshness { target, .. } => {
                        let stale = self.stale.contains(&target.name);
                        let fresh = if stale { Freshness::Stale("x".into()) } else { Freshness::Fresh };
                        observation.freshness.insert(target.uid, fresh);
                    }
                }
            }
        }
        panic!("the questions never end");
    }

    /// One evaluation at second `at`: answers all questions and stores the memory.
    pub fn evaluate(&mut self, at: i64, breach: &Answer) -> Decision {
        self.evaluate_at(second(at), breach)
    }

    pub fn evaluate_at(&mut self, at: Timestamp, breach: &Answer) -> Decision {
        let (_, decision) = self.decide_fully(at, breach);
        self.memory = decision.memory.clone();
        decision
    }

    /// Evaluates every ten seconds from `from` to `to`. Returns the last decision.
    pub fn evaluate_from_to(&mut self, from: i64, to: i64, breach: &Answer) -> Decision {
        let mut last = self.evaluate(from, breach);
        let mut at = from + 10;
        while at <= to {
            last = self.evaluate(at, breach);
            at += 10;
        }
        last
    }

    /// Records reservations, as the judge does.
    pub fn reserve(&mut self, reservations: &[Reservation], at: Timestamp) {
        for reservation in reservations {
            self.ledger.records.push(Record {
                name: format!("web-{}", reservation.sequence),
                sequence: reservation.sequence,
                policy: self.policy.key.clone(),
                digest: self.policy.digest.clone(),
                mode: self.policy.mode,
                action: reservation.action.name().into(),
                scope: reservation.action.scope(),
                target: reservation.target.clone(),
                subject: reservation.subject.clone(),
                created: time::whole_seconds(at),
                executed_after: None,
                unhealthy_since: time::whole_seconds(reservation.since),
                breached: reservation.labels.clone(),
                verify_by: None,
                step_name: reservation.step_name.clone(),
                step: reservation.step,
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

/// The names of the targets with a reservation.
pub fn reserved(decision: &Decision) -> Vec<&str> {
    decision.reservations.iter().map(|reservation| reservation.target.name.as_str()).collect()
}

/// The reason of each refusal, by the name of the target.
pub fn refused(decision: &Decision) -> BTreeMap<&str, &'static str> {
    decision
        .refusals
        .iter()
        .map(|refused| (decision.names[&refused.target].as_str(), refused.refusal.reason.as_str()))
        .collect()
}
