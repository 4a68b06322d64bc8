//! The book of actions: slim records of every `HealingAction`, filled by a watch,
//! and own writes from the moment they are answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use prunella_api::{
    ActionTarget, DeletePod, Disruption, HealingAction, HealingPolicy, Mode, POLICY_LABEL, RecordedAction,
    RecordedScale, RolloutRestart,
};
use prunella_cluster::cache::{Cache, watch_config};
use prunella_core::action::{self, Action, Scope};
use prunella_core::execute::{Facts, OutcomeReason};
use prunella_core::ledger::{Ledger, Outcome, Record, State};
use prunella_core::policy::{self, PolicyKey};
use prunella_core::target::Object;
use tokio::sync::mpsc;
use tracing::warn;

/// `status.blockedBy` while a `PodDisruptionBudget` allows no eviction.
pub(crate) const DISRUPTION_BUDGET: &str = "DisruptionBudget";
/// `status.blockedBy` when the controller lacks the right.
pub(crate) const FORBIDDEN: &str = "Forbidden";

/// Slim records of all actions.
#[derive(Debug)]
pub(crate) struct Book {
    records: Arc<Cache<Record>>,
    /// A look reads its ledger several times, and most looks find no action new.
    read: Mutex<ReadLedgers>,
}

/// The ledgers that were read of one version of the records, by namespace.
#[derive(Debug, Default)]
struct ReadLedgers {
    version: u64,
    ledgers: HashMap<String, Arc<Ledger>>,
}

/// Why an action's object makes no sense. Nobody but the controller may write one,
/// so this is either a forgery or a newer version's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("metadata.{0} is missing")]
    Missing(&'static str),
    #[error("spec.action names no kind of action that this version knows")]
    UnknownAction,
    #[error("spec.verifyWithin: {0}")]
    Duration(#[from] prunella_api::DurationError),
    #[error("{0:?} is no state that this version knows")]
    UnknownState(String),
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { records: Cache::new("HealingAction"), read: Mutex::default() }
    }

    /// Follows all actions; `wake` is told the policy of each that changed.
    pub(crate) async fn follow(&self, client: Client, wake: mpsc::UnboundedSender<ObjectRef<HealingPolicy>>) {
        let events = watcher(Api::<DeserializeGuard<HealingAction>>::all(client), watch_config());
        let slim = |action: &DeserializeGuard<HealingAction>| {
            let known = match &action.0 {
                Ok(action) => record(action).map_err(|error| error.to_string()),
                Err(invalid) => Err(invalid.error.clone()),
            };
            known.map_or_else(
                |error| {
                    warn!(
                        namespace = action.namespace(),
                        action = action.name_any(),
                        error,
                        "a HealingAction makes no sense: it counts as done"
                    );
                    unreadable(action.meta())
                },
                Some,
            )
        };
        let records = Arc::clone(&self.records);
        Arc::clone(&self.records)
            .follow(events, slim, |(namespace, name)| {
                if let Some(record) = records.get(namespace, name) {
                    let policy = ObjectRef::new(&record.policy.name).within(&record.policy.namespace);
                    // The receiver is gone only while shutting down.
                    let _ = wake.send(policy);
                }
            })
            .await;
    }

    pub(crate) async fn until_complete(&self) {
        self.records.until_complete().await;
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.records.is_complete()
    }

    /// The records of a namespace: actions of a policy never reach beyond its own.
    pub(crate) fn ledger(&self, namespace: &str) -> Arc<Ledger> {
        let version = self.records.version();
        // Nothing can be half done under the lock.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.version != version {
            // Those of namespaces that nobody reads any more go as well.
            *read = ReadLedgers { version, ledgers: HashMap::new() };
        }
        if let Some(known) = read.ledgers.get(namespace) {
            return Arc::clone(known);
        }
        let ledger = Arc::new(Ledger { records: self.records.select(namespace, |record| Some(record.clone())) });
        read.ledgers.insert(namespace.to_owned(), Arc::clone(&ledger));
        ledger
    }

    /// Takes an own write down at once.
    pub(crate) fn note(&self, action: &HealingAction) {
        match record(action) {
            Ok(record) => self.records.put(&action.namespace().unwrap_or_default(), &action.name_any(), record),
            Err(error) => warn!(action = action.name_any(), %error, "an own write makes no sense"),
        }
    }
}

/// The policy an action belongs to.
pub(crate) fn policy_of(action: &HealingAction) -> PolicyKey {
    PolicyKey { namespace: action.namespace().unwrap_or_default(), name: action.spec.policy.name.clone() }
}

/// Reduces an action to its record.
pub(crate) fn record(action: &HealingAction) -> Result<Record, RecordError> {
    let spec = &action.spec;
    let created = action.creation_timestamp().ok_or(RecordError::Missing("creationTimestamp"))?.0;
    Ok(Record {
        name: action.name_any(),
        sequence: u64::try_from(spec.sequence).unwrap_or(0),
        policy: policy_of(action),
        hash: spec.policy.hash.clone(),
        mode: mode(spec.mode),
        action: spec.action_name.clone(),
        scope: self::action(&spec.action)?.scope(),
        target: object(&spec.target),
        subject: object(&spec.subject),
        created,
        sick_since: spec.evidence.since.0,
        verify_by: stamp(action, |status| status.verify_by.as_ref()),
        rung: u32::try_from(spec.rung).unwrap_or(1),
        attempt: u32::try_from(spec.attempt).unwrap_or(1),
        state: state(action)?,
        waiting: is_blocked_by(action, DISRUPTION_BUDGET),
        reason: action.status.as_ref().and_then(|status| status.outcome_reason.as_deref()).and_then(reason),
        finished: stamp(action, |status| status.finished_at.as_ref()),
    })
}

/// A reason by its word; `None` for one that this version does not know.
fn reason(word: &str) -> Option<OutcomeReason> {
    OutcomeReason::ALL.into_iter().find(|known| known.as_str() == word)
}

/// What cannot be read, as of another version, still counts: its budget is spent and its
/// number is taken. `None` when not even its policy can be told.
fn unreadable(meta: &ObjectMeta) -> Option<Record> {
    let name = meta.name.clone()?;
    let policy = meta.labels.as_ref()?.get(POLICY_LABEL)?.clone();
    let nobody = Object { kind: "Unknown".to_owned(), name: String::new(), uid: String::new().into() };
    let created = meta.creation_timestamp.as_ref()?.0;
    Some(Record {
        sequence: name.rsplit('-').next()?.parse().ok()?,
        name,
        policy: PolicyKey { namespace: meta.namespace.clone()?, name: policy },
        hash: String::new(),
        mode: policy::Mode::Enforce,
        action: "Unknown".to_owned(),
        scope: Scope::Successor,
        target: nobody.clone(),
        subject: nobody,
        created,
        sick_since: created,
        verify_by: None,
        rung: 1,
        attempt: 1,
        state: State::Finished(Outcome::Inconclusive),
        waiting: false,
        reason: None,
        finished: Some(created),
    })
}

/// What the executor's next step is chosen from.
pub(crate) fn facts(action: &HealingAction) -> Result<Facts, RecordError> {
    Ok(Facts {
        uid: action.uid().ok_or(RecordError::Missing("uid"))?.into(),
        state: state(action)?,
        mode: mode(action.spec.mode),
        action: self::action(&action.spec.action)?,
        start_by: action.spec.start_by.0,
        began: stamp(action, |status| status.started_at.as_ref()),
        blocked_by_budget: is_blocked_by(action, DISRUPTION_BUDGET),
        forbidden: is_blocked_by(action, FORBIDDEN),
        settle_by: stamp(action, |status| status.settle_by.as_ref()),
        verify_by: stamp(action, |status| status.verify_by.as_ref()),
        verify_within: action.spec.verify_within.get()?,
    })
}

fn is_blocked_by(action: &HealingAction, what: &str) -> bool {
    action.status.as_ref().is_some_and(|status| status.blocked_by.as_deref() == Some(what))
}

/// What is done, in the judgement's words.
fn action(spec: &RecordedAction) -> Result<Action, RecordError> {
    let RecordedAction { delete_pod, rollout_restart, scale } = spec;
    match (delete_pod, rollout_restart, scale) {
        (Some(delete), None, None) => {
            let (disruption, grace) = removal(delete);
            Ok(Action::DeletePod { disruption, grace })
        }
        (None, Some(RolloutRestart {}), None) => Ok(Action::RolloutRestart),
        (None, None, Some(RecordedScale { from, to, autoscaler })) => {
            Ok(Action::Scale { from: *from, to: *to, autoscaler: autoscaler.as_ref().map(object) })
        }
        _ => Err(RecordError::UnknownAction),
    }
}

/// What is done, in the record's words.
pub(crate) fn recorded(action: &Action) -> RecordedAction {
    match action {
        Action::DeletePod { disruption, grace } => RecordedAction {
            delete_pod: Some(DeletePod {
                disruption: match disruption {
                    action::Disruption::Evict => Disruption::Evict,
                    action::Disruption::Delete => Disruption::Delete,
                },
                grace_period_seconds: grace.map(|grace| grace.as_secs()),
            }),
            ..RecordedAction::default()
        },
        Action::RolloutRestart => {
            RecordedAction { rollout_restart: Some(RolloutRestart {}), ..RecordedAction::default() }
        }
        Action::Scale { from, to, autoscaler } => RecordedAction {
            scale: Some(RecordedScale { from: *from, to: *to, autoscaler: autoscaler.as_ref().map(reference) }),
            ..RecordedAction::default()
        },
    }
}

/// How a pod is removed, in the judgement's words.
pub(crate) fn removal(delete: &DeletePod) -> (action::Disruption, Option<SignedDuration>) {
    let disruption = match delete.disruption {
        Disruption::Evict => action::Disruption::Evict,
        Disruption::Delete => action::Disruption::Delete,
    };
    (disruption, delete.grace_period_seconds.map(SignedDuration::from_secs))
}

/// The mode, in the judgement's words.
pub(crate) fn mode(mode: Mode) -> policy::Mode {
    match mode {
        Mode::DryRun => policy::Mode::DryRun,
        Mode::Enforce => policy::Mode::Enforce,
    }
}

/// An object reference, in the judgement's words.
pub(crate) fn object(target: &ActionTarget) -> Object {
    Object { kind: target.kind.clone(), name: target.name.clone(), uid: target.uid.clone().into() }
}

/// An object, as a record refers to it.
pub(crate) fn reference(object: &Object) -> ActionTarget {
    ActionTarget { kind: object.kind.clone(), name: object.name.clone(), uid: object.uid.to_string() }
}

/// Where the action stands, told by the times that were written: each transition
/// writes its own, and none is ever taken back.
pub(crate) fn state(action: &HealingAction) -> Result<State, RecordError> {
    let Some(status) = &action.status else { return Ok(State::Pending) };
    if let Some(outcome) = &status.outcome {
        let known = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome);
        return known.map(State::Finished).ok_or_else(|| RecordError::UnknownState(outcome.clone()));
    }
    Ok(if status.settled_at.is_some() {
        State::Verifying
    } else if status.executed_at.is_some() {
        State::Settling
    } else if status.started_at.is_some() {
        State::Running
    } else {
        State::Pending
    })
}

fn stamp(
    action: &HealingAction,
    field: impl Fn(&prunella_api::HealingActionStatus) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
) -> Option<Timestamp> {
    action.status.as_ref().and_then(field).map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(name: &str, namespace: &str) -> HealingAction {
        let web = json!({"kind": "Deployment", "name": "web", "uid": "uid-web"});
        let spec = json!({
            "policy": {"name": "web", "uid": "uid", "generation": 1, "hash": "hash"},
            "mode": "Enforce", "sequence": 1, "rung": 1, "attempt": 1,
            "action": {"rolloutRestart": {}}, "actionName": "RolloutRestart",
            "target": web, "subject": web, "startBy": "2026-11-21T10:01:00Z",
            "settleWithin": "1m", "verifyWithin": "1m",
            "evidence": {
                "query": "up == 0", "value": "0", "labels": {}, "since": "2026-11-21T10:00:00Z",
                "observedAt": "2026-11-21T10:00:00Z",
            },
        });
        let metadata = json!({"name": name, "namespace": namespace, "creationTimestamp": "2026-11-21T10:00:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn an_own_write_is_in_its_ledger_at_once_however_often_that_was_read_before() {
        let book = Book::new();
        let names = |namespace: &str| {
            let ledger = book.ledger(namespace);
            ledger.records.iter().map(|record| record.name.clone()).collect::<Vec<_>>()
        };
        assert!(names("shop").is_empty());
        book.note(&action("web-1", "shop"));
        assert_eq!([names("shop"), names("shop")], [["web-1"], ["web-1"]]);
        book.note(&action("web-2", "shop"));
        book.note(&action("other-1", "other"));
        assert_eq!(names("shop"), ["web-1", "web-2"]);
        assert_eq!(names("other"), ["other-1"]);
    }

    #[test]
    fn the_ledger_of_a_namespace_that_nobody_reads_any_more_is_not_kept() {
        let book = Book::new();
        for number in 0..100 {
            let namespace = format!("preview-{number}");
            book.note(&action("web-1", &namespace));
            assert_eq!(book.ledger(&namespace).records.len(), 1);
        }
        assert_eq!(book.read.lock().unwrap().ledgers.len(), 1);
    }
}
