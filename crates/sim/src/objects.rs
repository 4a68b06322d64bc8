//! The objects of the model cluster, as the API server keeps them: creation times
//! and every time in a record are cut to whole seconds.

use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::Action;
use prunella_core::availability::Siblings;
use prunella_core::decide::BreachPhase;
use prunella_core::execute::{EffectRefusal, Facts, OutcomeReason, Transition};
use prunella_core::ledger::{Outcome, Record, State};
use prunella_core::observation::Labels;
use prunella_core::policy::{Policy, PolicyMode};
use prunella_core::readiness::ReadyTimes;
use prunella_core::target::{Object, ReplacementName, Target, TargetWorkload as Whole, Uid};
use prunella_core::time::whole_seconds;

use crate::prometheus::Condition;

/// What every workload allows its pods.
pub(crate) const READY_TIMES: ReadyTimes =
    ReadyTimes { startup: None, progress_deadline: Some(SignedDuration::from_mins(2)) };

/// A workload and what stands before its pods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) object: Object,
    /// How many pods it asks for.
    pub(crate) replicas: i32,
    /// Whether a successor carries its predecessor's name.
    pub(crate) stable: bool,
    /// Counts the changes of the object.
    pub(crate) version: u64,
    /// Counts the changes of its pod template.
    pub(crate) template: u64,
    /// The action that restarted it last.
    pub(crate) mark: Option<Uid>,
    /// When the rollout under way last made progress; `None` when none is.
    pub(crate) rollout_progress: Option<Timestamp>,
    /// Whether a disruption budget allows an eviction at this moment.
    pub(crate) disruption_allowed: bool,
}

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) object: Object,
    pub(crate) created: Timestamp,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
    /// The place of its workload in the API server's list.
    pub(crate) workload: usize,
    /// Of which of its workload's templates it was made.
    pub(crate) template: u64,
    /// Which pod it was made in place of. For the checks only: no process sees it.
    pub(crate) replaces: Option<Uid>,
}

impl Pod {
    /// The pod as the judgement knows it.
    pub(crate) fn target(&self, workload: &Workload, siblings: Option<Arc<Siblings>>) -> Target {
        Target {
            object: self.object.clone(),
            created: self.created,
            ready: self.ready,
            ready_since: None,
            terminating: self.terminating,
            subject: workload.object.clone(),
            replacement_name: if workload.stable { ReplacementName::Same } else { ReplacementName::Generated },
            protected_by: None,
            opted_out: None,
            not_healable: None,
            pods: Vec::new(),
            grace: None,
            startup: None,
            crash_looping: false,
            siblings,
            workload: Some(Whole {
                replicas: Some(workload.replicas),
                restart_held: None,
                all_selected: true,
                autoscaler: None,
                scaled_by: None,
                deletes_volumes: false,
                has_readiness_probe: true,
                rollout_progress: workload.rollout_progress,
                ready_times: READY_TIMES,
            }),
        }
    }
}

/// The pods of one workload, by its place in the list.
pub(crate) fn siblings<'a>(pods: impl Iterator<Item = &'a Rc<Pod>>, workload: usize) -> Arc<Siblings> {
    let mut siblings = Siblings::default();
    for pod in pods.filter(|pod| pod.workload == workload) {
        siblings.unfinished.insert(pod.object.uid.clone());
        if pod.ready && !pod.terminating {
            siblings.ready.insert(pod.object.uid.clone());
        }
    }
    Arc::new(siblings)
}

/// A `HealingPolicy`, compiled.
#[derive(Debug, Clone)]
pub(crate) struct PolicyObject {
    pub(crate) uid: Uid,
    /// Counts the changes of its spec.
    pub(crate) generation: u64,
    pub(crate) rule: Policy,
    /// The workloads whose pods it selects, by their places in the list.
    pub(crate) selects: Vec<usize>,
    pub(crate) condition: Condition,
    /// How many records are kept.
    pub(crate) history_limit: usize,
    pub(crate) status: PolicyStatus,
}

/// What a judge writes down of a policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PolicyStatus {
    pub(crate) unhealthy: Vec<UnhealthyTarget>,
    pub(crate) observed: bool,
    pub(crate) healing: Option<State>,
    pub(crate) blocked: Vec<&'static str>,
    /// Since when a storm has been under way.
    pub(crate) storm: Option<Timestamp>,
}

/// A target that is not healthy, as written down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnhealthyTarget {
    pub(crate) uid: Uid,
    /// `None`: an action has it in hand.
    pub(crate) phase: Option<BreachPhase>,
    pub(crate) exhausted: bool,
    pub(crate) since: Timestamp,
    pub(crate) value: f64,
}

/// A `HealingAction`.
#[derive(Debug, Clone)]
pub(crate) struct ActionObject {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) revision: u64,
    pub(crate) spec: ActionSpec,
    pub(crate) status: ActionStatus,
}

/// What was reserved; never changed.
#[derive(Debug, Clone)]
pub(crate) struct ActionSpec {
    pub(crate) policy: Rc<PolicyObject>,
    pub(crate) sequence: u64,
    pub(crate) target: Object,
    pub(crate) subject: Object,
    pub(crate) action: Action,
    pub(crate) verify_within: SignedDuration,
    pub(crate) step: u32,
    pub(crate) attempt: u32,
    pub(crate) since: Timestamp,
    pub(crate) observed_at: Timestamp,
    pub(crate) start_by: Timestamp,
}

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionStatus {
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) executed_at: Option<Timestamp>,
    pub(crate) settle_by: Option<Timestamp>,
    pub(crate) settled_at: Option<Timestamp>,
    pub(crate) verify_by: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) outcome: Option<(Outcome, OutcomeReason)>,
    pub(crate) blocked: bool,
}

impl ActionStatus {
    /// The status after a transition at `now`.
    pub(crate) fn after(&self, transition: Transition, now: Timestamp) -> Self {
        let now = Some(whole_seconds(now));
        let mut next = Self { blocked: false, ..self.clone() };
        match transition {
            Transition::Begin => next.started_at = now,
            Transition::Executed { settle_by } => {
                next.executed_at = now;
                next.settle_by = Some(whole_seconds(settle_by));
            }
            Transition::Settled { verify_by } => {
                next.settled_at = now;
                next.verify_by = Some(whole_seconds(verify_by));
            }
            Transition::Finish { outcome, reason } => {
                next.finished_at = now;
                next.outcome = Some((outcome, reason));
            }
        }
        next
    }

    /// Where the action stands, told by the times that were written.
    pub(crate) fn state(&self) -> State {
        if let Some((outcome, _)) = self.outcome {
            State::Finished(outcome)
        } else if self.settled_at.is_some() {
            State::Verifying
        } else if self.executed_at.is_some() {
            State::Settling
        } else if self.started_at.is_some() {
            State::Running
        } else {
            State::Pending
        }
    }
}

impl ActionObject {
    pub(crate) fn state(&self) -> State {
        self.status.state()
    }

    /// The name of the policy that reserved it.
    pub(crate) fn policy(&self) -> &str {
        &self.spec.policy.rule.key.name
    }

    /// Whether it is done to the workload and not to one pod.
    pub(crate) fn is_on_whole(&self) -> bool {
        !matches!(self.spec.action, Action::DeletePod(_))
    }

    /// The object that it changes.
    pub(crate) fn touches(&self) -> &Uid {
        if self.is_on_whole() { &self.spec.subject.uid } else { &self.spec.target.uid }
    }

    /// The action as the judgement counts it.
    pub(crate) fn record(&self) -> Record {
        Record {
            name: self.name.clone(),
            sequence: self.spec.sequence,
            policy: self.spec.policy.rule.key.clone(),
            digest: self.spec.policy.rule.digest.clone(),
            mode: PolicyMode::Enforce,
            action: self.spec.action.name().to_owned(),
            scope: self.spec.action.scope(),
            target: self.spec.target.clone(),
            subject: self.spec.subject.clone(),
            created: self.created,
            executed_after: None,
            unhealthy_since: self.spec.since,
            breached: Labels::new(),
            verify_by: self.status.verify_by,
            step_name: format!("step-{}", self.spec.step),
            step: self.spec.step,
            attempt: self.spec.attempt,
            state: self.state(),
            waiting: self.status.blocked,
            reason: self.status.outcome.map(|(_, reason)| reason),
            finished: self.status.finished_at,
        }
    }

    /// The action as the executor is asked about it.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            uid: self.name.clone().into(),
            state: self.state(),
            mode: PolicyMode::Enforce,
            action: self.spec.action.clone(),
            start_by: self.spec.start_by,
            began: self.status.started_at,
            executed_after: None,
            refused: self.status.blocked.then_some(EffectRefusal::DisruptionBudget),
            settle_by: self.status.settle_by,
            verify_by: self.status.verify_by,
            verify_within: self.spec.verify_within,
            ready_within: None,
        }
    }
}
