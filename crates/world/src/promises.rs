//! The promises, read from what the API server has stored, and from nothing that a controller believes.
//! `docs/design/promises.md` has the list. No rule of the judgement is called to judge itself.

mod effects;
mod floor;
mod lead;
mod ledger;
mod pace;
mod records;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::api_server::AuditEntry;
use ledger::Ledger;
pub use pace::Pace;
pub(crate) use pace::pace;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Its id, or a few words.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.promise, self.at.strftime("%H:%M:%S%.3f"), self.what)
    }
}

/// The truth about one pod: from when until when it leaked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sickness {
    /// The pod.
    pub uid: String,
    /// It leaks from here on.
    pub since: Timestamp,
    /// It leaks no more. `None`: it leaks until it is gone.
    pub until: Option<Timestamp>,
}

/// A pod that fell ill when nothing else went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub(crate) uid: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) is_healed: bool,
}

/// The promises that a history broke, in the order of time.
pub(crate) fn check(
    audit: &[AuditEntry],
    sicknesses: &[Sickness],
    now: Timestamp,
    witness: Option<&Witness>,
) -> Vec<Violation> {
    let mut sicknesses = sicknesses.to_vec();
    sicknesses.extend(witness.map(|one| Sickness { uid: one.uid.clone(), since: one.since, until: None }));
    let mut ledger = Ledger::new(sicknesses);
    for entry in audit {
        ledger.take(entry);
    }
    let healed = witness.is_some_and(|witness| witness.is_healed);
    ledger.require(healed, now, "HP-13", || match witness {
        Some(Witness { uid, since, until, .. }) => {
            let waited = since.duration_until(*until);
            format!("pod {uid} has leaked for {waited:#} and nobody does anything")
        }
        None => "no pod of the witness was Ready at the end".to_owned(),
    });
    ledger.violations
}

/// Whether `at` is within the time from `since` to `until`, or at most `late` after it.
fn within(at: Timestamp, since: Timestamp, until: Option<Timestamp>, late: SignedDuration) -> bool {
    at >= since && until.is_none_or(|until| until.duration_until(at) <= late)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::api_server::Sender;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A change at this second, by the process `prunella-1` or by the cluster.
    fn change(second: i64, ours: bool, kind: &str, name: &str, [before, after]: [Value; 2]) -> AuditEntry {
        let object = |object: Value| Some(Arc::new(object)).filter(|object| !object.is_null());
        AuditEntry {
            at: at(second),
            by: ours.then(|| Sender { name: "prunella-1".into(), sent: at(second) }),
            kind: kind.to_owned(),
            namespace: "demo".to_owned(),
            name: name.to_owned(),
            before: object(before),
            after: object(after),
        }
    }

    fn policy(suspend: bool) -> Value {
        let limits = json!({"maxActions": {"count": 1, "per": "10m"}, "maxConcurrent": 1, "cooldown": "1m", "minAvailable": "75%"});
        json!({"spec": {"suspend": suspend, "condition": {"for": "30s"}, "limits": limits}})
    }

    fn pod(uid: &str, going: bool) -> Value {
        let mut pod = json!({
            "metadata": {"uid": uid, "labels": {"app": "web"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        if going {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T03:00:00Z");
        }
        pod
    }

    fn action(name: &str, sequence: i64, target: &str, status: &Value) -> Value {
        json!({
            "metadata": {"uid": name}, "status": status,
            "spec": {"policy": {"name": "leak"}, "actionName": "DeletePod", "sequence": sequence,
                     "target": {"uid": target}, "subject": {"uid": "web"}},
        })
    }

    /// A policy, three Ready pods of which `a` leaks from second 100 on, and the Lease of `prunella-1`.
    fn beginning() -> Vec<AuditEntry> {
        let lease = json!({"spec": {"holderIdentity": "prunella-1_0a"}});
        let mut all = vec![
            change(0, false, "HealingPolicy", "leak", [Value::Null, policy(false)]),
            change(0, false, "Deployment", "web", [Value::Null, json!({"spec": {"replicas": 3}})]),
            change(1, true, "Lease", "prunella", [Value::Null, lease]),
        ];
        all.extend(["a", "b", "c"].map(|uid| change(2, false, "Pod", uid, [Value::Null, pod(uid, false)])));
        all
    }

    /// An action on a pod: recorded, begun, and the pod removed at this second.
    fn heal(second: i64, name: &str, sequence: i64, target: &str) -> Vec<AuditEntry> {
        let [pending, running] =
            [json!({}), json!({"startedAt": "x"})].map(|status| action(name, sequence, target, &status));
        vec![
            change(second, true, "HealingAction", name, [Value::Null, pending.clone()]),
            change(second + 1, true, "HealingAction", name, [pending, running]),
            change(second + 2, true, "Pod", target, [pod(target, false), pod(target, true)]),
        ]
    }

    /// The same, with a restart of the whole workload.
    fn restart(second: i64, name: &str, sequence: i64) -> Vec<AuditEntry> {
        let mut all = heal(second, name, sequence, "b");
        for entry in &mut all {
            let object = entry.after.as_mut().map(Arc::make_mut);
            if let Some(spec) = object.and_then(|object| object.get_mut("spec")) {
                spec["actionName"] = json!("RolloutRestart");
            }
        }
        let marked = json!({"metadata": {"uid": "web"}, "spec": {
            "replicas": 3, "template": {"metadata": {"annotations": {prunella_api::RESTARTED_BY_ANNOTATION: name}}},
        }});
        let before = json!({"metadata": {"uid": "web"}, "spec": {"replicas": 3}});
        all.pop();
        all.push(change(second + 2, true, "Deployment", "web", [before, marked]));
        all
    }

    fn broken(more: Vec<AuditEntry>) -> BTreeSet<&'static str> {
        let leaks = Sickness { uid: "a".to_owned(), since: at(100), until: None };
        let witness = Witness { uid: "w".to_owned(), since: at(0), until: at(1), is_healed: true };
        let all: Vec<AuditEntry> = beginning().into_iter().chain(more).collect();
        check(&all, &[leaks], at(1000), Some(&witness)).iter().map(|one| one.promise).collect()
    }

    /// A check that cannot fail proves nothing: each is broken once.
    #[test]
    fn what_breaks_a_promise_is_seen_and_what_keeps_them_is_not() {
        let healed = || heal(140, "one", 1, "a");
        assert_eq!(broken(healed()), BTreeSet::new());
        let and = |more: Vec<AuditEntry>| [healed(), more].concat();
        let ended = |outcome: &str| {
            let [running, over] = [json!({"startedAt": "x"}), json!({"startedAt": "x", "outcome": outcome})];
            let states = [running, over].map(|status| action("one", 1, "a", &status));
            vec![change(150, true, "HealingAction", "one", states)]
        };
        let other_leader = json!({"spec": {"holderIdentity": "prunella-2_0b"}});
        let suspended = [policy(false), policy(true)];
        let edited = json!({"metadata": {"uid": "b"}, "spec": {"nodeName": "x"}});
        for (promise, more) in [
            ("HP-2", heal(110, "one", 1, "a")),
            ("the innocent", heal(140, "one", 1, "b")),
            ("HP-1", and(heal(300, "two", 2, "a"))),
            ("HP-14", and(heal(300, "two", 2, "a"))),
            ("HP-4", and(restart(300, "two", 2))),
            ("HP-5", and(heal(150, "two", 2, "a"))),
            ("maxConcurrent", and(heal(300, "two", 2, "a"))),
            ("one sequence", and(heal(300, "two", 1, "a"))),
            ("HP-7", and(ended("Expired"))),
            ("the transition table", and(ended("Succeeded"))),
            ("HP-18", and(heal(142, "two", 2, "b"))),
            ("HP-3", [vec![change(20, false, "HealingPolicy", "leak", suspended.clone())], healed()].concat()),
            (
                "only the leader writes",
                [vec![change(130, false, "Lease", "prunella", [Value::Null, other_leader])], healed()].concat(),
            ),
            ("a record before the effect", vec![change(140, true, "Pod", "a", [pod("a", false), pod("a", true)])]),
            ("writes nothing else", vec![change(140, true, "Pod", "b", [pod("b", false), edited])]),
            ("writes nothing else", vec![change(140, true, "HealingPolicy", "leak", suspended.clone())]),
            ("writes nothing else", vec![change(140, true, "Secret", "s", [Value::Null, json!({})])]),
        ] {
            assert!(broken(more.clone()).contains(promise), "{promise}: {:?}", broken(more));
        }
    }
}
