//! Slim records of all `HealingAction`s. They come from a watch, and from the answers to this
//! process's own writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use prunella_api::{HealingAction, Mode, POLICY_LABEL};
use prunella_cluster::action::{ActionError, from_record, object};
use prunella_cluster::cache::{Cache, watch_config};
use prunella_core::action::ActionScope;
use prunella_core::availability::MinAvailable;
use prunella_core::execute::{EffectRefusal, Facts, OutcomeReason};
use prunella_core::ledger::{self, Ledger, Outcome, Record, State};
use prunella_core::observation::Labels;
use prunella_core::policy::{PolicyKey, PolicyMode};
use prunella_core::target::Object;
use tracing::warn;

use crate::report::action_messages;
use crate::wakers::PolicyWaker;

/// The characters that a record keeps of a label's name or value.
pub(crate) const LABEL_CHARACTERS: usize = 256;

/// `status.blockedBy` while a `PodDisruptionBudget` allows no eviction.
pub(crate) const DISRUPTION_BUDGET: &str = "DisruptionBudget";
/// `status.blockedBy` when more than one `PodDisruptionBudget` selects the pod.
pub(crate) const SEVERAL_BUDGETS: &str = "SeveralDisruptionBudgets";
/// `status.blockedBy` while the API server has too many requests.
pub(crate) const THROTTLED: &str = "Throttled";
/// `status.blockedBy` when an admission webhook or policy has denied the request.
pub(crate) const DENIED: &str = "Denied";
/// `status.blockedBy` while a removed pod takes long to end.
pub(crate) const TERMINATING: &str = "Terminating";
/// `status.blockedBy` when the controller lacks the right.
pub(crate) const FORBIDDEN: &str = "Forbidden";

/// Slim records of all actions.
#[derive(Debug)]
pub(crate) struct ActionRecords {
    records: Arc<Cache<SlimAction>>,
    /// An evaluation reads its ledger several times, and the records seldom change in between.
    ledgers: Mutex<LedgerCache>,
}

/// What is kept of an action.
#[derive(Debug, Clone)]
struct SlimAction {
    /// What decisions read.
    record: Record,
    /// What the API server says about the disruption budget that the action waits for.
    budget: Option<Box<str>>,
}

/// The ledgers of one version of the records, by namespace.
#[derive(Debug, Default)]
struct LedgerCache {
    version: u64,
    by_namespace: HashMap<String, Arc<Ledger>>,
}

/// How long a record that counts towards limits is kept at least. No window, cooldown or ladder
/// of any policy reaches further back.
pub(crate) const KEEP_COUNTED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Why a `HealingAction` cannot be read. Only the controller may write one, so it was forged, or
/// a newer version of the controller wrote it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("metadata.{0} is missing")]
    Missing(&'static str),
    #[error("spec.action: {0}")]
    Action(#[from] ActionError),
    #[error("spec.verifyWithin: {0}")]
    Duration(#[from] prunella_api::DurationError),
    #[error("this version does not know the outcome {0:?}")]
    UnknownOutcome(String),
}

impl ActionRecords {
    pub(crate) fn new() -> Self {
        Self { records: Cache::new("HealingAction"), ledgers: Mutex::default() }
    }

    /// Watches all actions, and wakes the policy of each action that changes.
    pub(crate) async fn follow(&self, client: Client, wake: &PolicyWaker) {
        let events = watcher(Api::<DeserializeGuard<HealingAction>>::all(client), watch_config());
        let reduced = |action: &DeserializeGuard<HealingAction>| {
            let known = match &action.0 {
                Ok(action) => slim(action).map_err(|error| error.to_string()),
                Err(invalid) => Err(invalid.error.clone()),
            };
            known.map_or_else(
                |error| {
                    warn!(
                        namespace = action.namespace(),
                        action = action.name_any(),
                        error,
                        "cannot read a HealingAction; it counts as Inconclusive"
                    );
                    unreadable(action.meta()).map(|record| SlimAction { record, budget: None })
                },
                Some,
            )
        };
        let records = Arc::clone(&self.records);
        Arc::clone(&self.records)
            .follow(events, reduced, |(namespace, name)| {
                if let Some(slim) = records.get(namespace, name) {
                    wake.wake(&slim.record.policy);
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

    /// The records of a namespace. A policy acts only in its own namespace.
    pub(crate) fn ledger(&self, namespace: &str) -> Arc<Ledger> {
        let version = self.records.version();
        // Every write under the lock replaces a whole value: a panic cannot leave half of one.
        let mut cache = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.version != version {
            // This also drops the ledgers of namespaces that have no policy any more.
            *cache = LedgerCache { version, by_namespace: HashMap::new() };
        }
        if let Some(known) = cache.by_namespace.get(namespace) {
            return Arc::clone(known);
        }
        let ledger = Arc::new(Ledger { records: self.records.select(namespace, |slim| Some(slim.record.clone())) });
        cache.by_namespace.insert(namespace.to_owned(), Arc::clone(&ledger));
        ledger
    }

    /// What the API server says about the disruption budget that an action of the policy waits for.
    pub(crate) fn budget(&self, policy: &PolicyKey) -> Option<String> {
        let words = |slim: &SlimAction| slim.budget.clone().filter(|_| slim.record.policy == *policy);
        self.records.select(&policy.namespace, words).into_iter().next().map(String::from)
    }

    /// Adds the record of an own write, before the watch delivers it.
    pub(crate) fn note(&self, action: &HealingAction) {
        match slim(action) {
            Ok(slim) => self.records.put(&action.namespace().unwrap_or_default(), &action.name_any(), slim),
            Err(error) => warn!(action = action.name_any(), %error, "cannot read the answer to an own write"),
        }
    }
}

/// The policy an action belongs to.
pub(crate) fn policy_of(action: &HealingAction) -> PolicyKey {
    PolicyKey { namespace: action.namespace().unwrap_or_default(), name: action.spec.policy.name.clone() }
}

fn slim(action: &HealingAction) -> Result<SlimAction, RecordError> {
    let status = action.status.as_ref().filter(|_| is_blocked_by(action, DISRUPTION_BUDGET));
    let words = status.and_then(|status| action_messages::words_of_budget(status.message.as_deref()?));
    let record = record(action)?;
    let budget = words.filter(|_| record.state == State::Running).map(Box::from);
    Ok(SlimAction { record, budget })
}

/// Reduces an action to its record.
pub(crate) fn record(action: &HealingAction) -> Result<Record, RecordError> {
    let spec = &action.spec;
    let created = action.creation_timestamp().ok_or(RecordError::Missing("creationTimestamp"))?.0;
    let state = state(action)?;
    // The labels are needed until the verdict. Most records are finished.
    let promql = spec.evidence.promql.as_ref().filter(|_| !matches!(state, State::Finished(_)));
    Ok(Record {
        name: action.name_any(),
        sequence: u64::try_from(spec.sequence).unwrap_or(0),
        policy: policy_of(action),
        digest: spec.policy.digest.clone(),
        mode: mode(spec.mode),
        action: spec.action_name.clone(),
        scope: from_record(&spec.action)?.scope(),
        target: object(&spec.target),
        subject: object(&spec.subject),
        created,
        executed_after: stamp(action, |status| status.executed_after.as_ref()),
        unhealthy_since: spec.evidence.since.0,
        breached: promql.map(|promql| whole(&promql.labels)).unwrap_or_default(),
        verify_by: stamp(action, |status| status.verify_by.as_ref()),
        step_name: spec.step.clone(),
        step: u32::try_from(spec.step_number).unwrap_or(1),
        attempt: u32::try_from(spec.attempt).unwrap_or(1),
        state,
        waiting: [DISRUPTION_BUDGET, TERMINATING].iter().any(|by| is_blocked_by(action, by)),
        reason: action.status.as_ref().and_then(|status| status.outcome_reason.as_deref()).and_then(reason),
        finished: stamp(action, |status| status.finished_at.as_ref()),
    })
}

/// The labels that were recorded as a whole. A value that was cut equals no other value.
fn whole(labels: &Labels) -> Labels {
    let is_whole = |(_, value): &(&String, &String)| value.chars().count() < LABEL_CHARACTERS;
    labels.iter().filter(is_whole).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Parses a reason. `None`: this version does not know it.
fn reason(word: &str) -> Option<OutcomeReason> {
    OutcomeReason::ALL.into_iter().find(|known| known.as_str() == word)
}

/// The record of an action that cannot be read, for example because a newer version wrote it. It
/// still counts towards limits, and its number is taken. `None`: not even its policy is known.
fn unreadable(meta: &ObjectMeta) -> Option<Record> {
    let name = meta.name.clone()?;
    let policy = meta.labels.as_ref()?.get(POLICY_LABEL)?.clone();
    let unknown = Object::known("Unknown", String::new(), String::new());
    let created = meta.creation_timestamp.as_ref()?.0;
    Some(Record {
        sequence: name.rsplit('-').next()?.parse().ok()?,
        name,
        policy: PolicyKey { namespace: meta.namespace.clone()?, name: policy },
        digest: String::new(),
        mode: PolicyMode::Enforce,
        action: "Unknown".to_owned(),
        scope: ActionScope::Replacement,
        target: unknown.clone(),
        subject: unknown,
        created,
        executed_after: None,
        unhealthy_since: created,
        breached: Labels::new(),
        verify_by: None,
        step_name: String::new(),
        step: 1,
        attempt: 1,
        state: State::Finished(Outcome::Inconclusive),
        waiting: false,
        reason: None,
        finished: Some(created),
    })
}

/// The recorded facts from which the next instruction is chosen.
pub(crate) fn facts(action: &HealingAction) -> Result<Facts, RecordError> {
    Ok(Facts {
        uid: action.uid().ok_or(RecordError::Missing("uid"))?.into(),
        state: state(action)?,
        mode: mode(action.spec.mode),
        action: from_record(&action.spec.action)?,
        start_by: action.spec.start_by.0,
        began: stamp(action, |status| status.started_at.as_ref()),
        executed_after: stamp(action, |status| status.executed_after.as_ref()),
        refused: refused(action),
        settle_by: stamp(action, |status| status.settle_by.as_ref()),
        verify_by: stamp(action, |status| status.verify_by.as_ref()),
        verify_within: action.spec.verify_within.get()?,
        ready_within: action.spec.ready_within.as_ref().map(prunella_api::Duration::get).transpose()?,
    })
}

/// From when on a new pod can be the result of the action. `None`: it has no creation time.
pub(crate) fn replaced_since(action: &HealingAction) -> Option<Timestamp> {
    let created = action.creation_timestamp()?.0;
    Some(ledger::replaced_since(created, stamp(action, |status| status.executed_after.as_ref())))
}

/// Why the API server refused the newest try.
fn refused(action: &HealingAction) -> Option<EffectRefusal> {
    match action.status.as_ref()?.blocked_by.as_deref()? {
        DISRUPTION_BUDGET => Some(EffectRefusal::DisruptionBudget),
        SEVERAL_BUDGETS => Some(EffectRefusal::SeveralDisruptionBudgets),
        THROTTLED => Some(EffectRefusal::Throttled),
        FORBIDDEN => Some(EffectRefusal::Forbidden),
        DENIED => Some(EffectRefusal::Denied),
        _ => None,
    }
}

fn is_blocked_by(action: &HealingAction, reason: &str) -> bool {
    action.status.as_ref().is_some_and(|status| status.blocked_by.as_deref() == Some(reason))
}

/// The mode, as the judgement calls it.
pub(crate) fn mode(mode: Mode) -> PolicyMode {
    match mode {
        Mode::DryRun => PolicyMode::DryRun,
        Mode::Enforce => PolicyMode::Enforce,
    }
}

/// How many pods of a workload must stay Ready, as the judgement counts them.
pub(crate) fn min_available(given: &IntOrString) -> Option<MinAvailable> {
    match given {
        IntOrString::Int(count) => u32::try_from(*count).ok().map(MinAvailable::Count),
        IntOrString::String(share) => {
            let percent = share.strip_suffix('%')?.parse::<u32>().ok()?;
            (percent <= 100).then_some(MinAvailable::Percent(percent))
        }
    }
}

/// The state of the action, from the times in its status: each transition writes its own time,
/// and none is removed.
pub(crate) fn state(action: &HealingAction) -> Result<State, RecordError> {
    let Some(status) = &action.status else { return Ok(State::Pending) };
    if let Some(outcome) = &status.outcome {
        let known = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome);
        return known.map(State::Finished).ok_or_else(|| RecordError::UnknownOutcome(outcome.clone()));
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
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": namespace, "name": "web", "uid": "uid-web"});
        let spec = json!({
            "policy": {"name": "web", "uid": "uid", "generation": 1, "digest": "digest"},
            "mode": "Enforce", "sequence": 1, "step": "restart", "stepNumber": 1, "attempt": 1,
            "action": {"rolloutRestart": {}}, "actionName": "RolloutRestart",
            "target": web, "subject": web, "startBy": "2026-11-21T10:01:00Z",
            "settleWithin": "1m", "verifyWithin": "1m",
            "evidence": {
                "promql": {"query": "up == 0", "value": "0", "labels": {}},
                "since": "2026-11-21T10:00:00Z", "observedAt": "2026-11-21T10:00:00Z",
            },
        });
        let metadata = json!({"name": name, "namespace": namespace, "creationTimestamp": "2026-11-21T10:00:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn an_own_write_is_in_the_ledger_at_once() {
        let records = ActionRecords::new();
        let names = |namespace: &str| {
            let ledger = records.ledger(namespace);
            ledger.records.iter().map(|record| record.name.clone()).collect::<Vec<_>>()
        };
        assert!(names("shop").is_empty());
        records.note(&action("web-1", "shop"));
        assert_eq!([names("shop"), names("shop")], [["web-1"], ["web-1"]]);
        records.note(&action("web-2", "shop"));
        records.note(&action("other-1", "other"));
        assert_eq!(names("shop"), ["web-1", "web-2"]);
        assert_eq!(names("other"), ["other-1"]);
    }

    #[test]
    fn what_the_api_server_says_about_a_budget_is_known_while_the_action_waits() {
        let records = ActionRecords::new();
        let words = "The disruption budget web needs 2 healthy pods and has 2 currently";
        let mut action = action("web-1", "shop");
        let policy = policy_of(&action);
        for (change, expected) in [
            (json!({"startedAt": "2026-11-21T10:00:00Z"}), None),
            (
                json!({"blockedBy": "DisruptionBudget", "message": action_messages::waits_for_budget(words)}),
                Some(words),
            ),
            (json!({"outcome": "Expired"}), None),
        ] {
            let mut status = serde_json::to_value(action.status.clone().unwrap_or_default()).unwrap();
            status.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            action.status = serde_json::from_value(status).unwrap();
            records.note(&action);
            assert_eq!(records.budget(&policy).as_deref(), expected, "{change}");
        }
    }

    #[test]
    fn the_time_of_the_effect_is_read_from_the_record() {
        let mut action = action("web-1", "shop");
        action.metadata.uid = Some("uid-of-the-action".to_owned());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (status, executed_after, since) in [
            (json!({"startedAt": "2026-11-21T10:00:01Z"}), None, at("2026-11-21T10:00:00Z")),
            // It waited for nine minutes.
            (
                json!({"executedAfter": "2026-11-21T10:09:00Z"}),
                Some(at("2026-11-21T10:09:00Z")),
                ledger::replaced_since(at("2026-11-21T10:00:00Z"), Some(at("2026-11-21T10:09:00Z"))),
            ),
        ] {
            action.status = Some(serde_json::from_value(status).unwrap());
            assert_eq!(record(&action).unwrap().executed_after, executed_after);
            assert_eq!(facts(&action).unwrap().executed_after, executed_after);
            assert_eq!(replaced_since(&action), Some(since));
        }
    }

    #[test]
    fn ledgers_that_are_not_read_any_more_are_dropped() {
        let records = ActionRecords::new();
        for number in 0..100 {
            let namespace = format!("preview-{number}");
            records.note(&action("web-1", &namespace));
            assert_eq!(records.ledger(&namespace).records.len(), 1);
        }
        assert_eq!(records.ledgers.lock().unwrap().by_namespace.len(), 1);
    }
}
