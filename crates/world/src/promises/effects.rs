//! What controllers did to pods and workloads: each thing once, for a record that says so, and alone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use prunella_api::RESTARTED_BY_ANNOTATION;
use serde_json::Value;

use super::ledger::{ActionFacts, Ledger, uid};
use crate::api_server::AuditEntry;

/// The actions of all policies on one workload within an hour, as the process is told by default.
const SUBJECT_CAP: usize = 5;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How long before its request a process may have read that the policy is not suspended.
const READ: SignedDuration = SignedDuration::from_secs(15);

impl Ledger {
    /// A pod was removed by a controller.
    pub(super) fn check_pod(&mut self, entry: &AuditEntry) {
        let Some(by) = &entry.by else { return };
        let is_going = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some();
        let (was, is) = (entry.before.as_deref().is_some_and(is_going), entry.after.as_deref().is_none_or(is_going));
        if was || !is {
            // An eviction first writes its condition into the status.
            let part =
                |object: &Option<Arc<Value>>, name: &str| object.as_ref().and_then(|it| it.pointer(name)).cloned();
            let same = |name: &str| part(&entry.before, name) == part(&entry.after, name);
            let kept =
                ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers"].into_iter().all(same);
            self.require(kept, entry.at, "writes nothing else", || format!("Pod {} is edited", entry.name));
            return;
        }
        let uid = uid(entry);
        let meant = |action: &&ActionFacts| action.kind == "DeletePod" && action.target == uid;
        self.effect(entry.at, by.sent, &format!("pod {uid}"), &uid, meant);
        self.check_floor(entry.at, &uid);
    }

    /// A workload was changed by a controller.
    pub(super) fn check_workload(&mut self, entry: &AuditEntry) {
        let (Some(by), Some(before), Some(after)) = (&entry.by, &entry.before, &entry.after) else { return };
        let uid = uid(entry);
        let mark = |object: &Value| {
            let annotations = object.pointer("/spec/template/metadata/annotations");
            annotations.and_then(|all| all.get(RESTARTED_BY_ANNOTATION)).and_then(Value::as_str).map(str::to_owned)
        };
        let replicas = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_i64);
        let (old, new) = (mark(before), mark(after));
        if old != new {
            let meant = |action: &&ActionFacts| action.kind == "RolloutRestart" && Some(&action.uid) == new.as_ref();
            self.effect(entry.at, by.sent, "a restart", &uid, meant);
        }
        if replicas(before) != replicas(after) {
            let meant =
                |action: &&ActionFacts| action.kind == "Scale" && action.subject == uid && action.state == "Running";
            self.effect(entry.at, by.sent, "a scaling", &uid, meant);
        }
    }

    /// Something was changed: by the record that `meant` finds.
    fn effect(
        &mut self,
        at: Timestamp,
        sent: Timestamp,
        what: &str,
        object: &str,
        meant: impl FnMut(&&ActionFacts) -> bool,
    ) {
        let found: Vec<ActionFacts> = self.actions.values().filter(meant).cloned().collect();
        // Two policies may each want it. The one that is running did it.
        let mut running = found.iter().filter(|action| action.state == "Running");
        let Some(action) = running.next().or(found.first()).cloned() else {
            self.require(false, at, "a record before the effect", || format!("{what} for no record"));
            return;
        };
        let name = &action.name;
        self.require(action.state == "Running", at, "Running before the effect", || {
            format!("{name} is {} at {what}", action.state)
        });
        self.require(action.effects.is_empty(), at, "HP-14", || format!("{name} has effect again: {what}"));
        self.check_alone(at, &action, what);
        let suspended = self.policies.get(&action.policy).and_then(|policy| policy.suspended);
        let ignored = suspended.is_some_and(|since| since.duration_until(sent) > READ);
        self.require(!ignored, at, "HP-3", || format!("{name}: {what}, while its policy is suspended"));
        let on_subject = self.actions.values().filter(|other| other.subject == action.subject);
        let lately = on_subject.flat_map(|other| &other.effects).filter(|(then, _)| then.duration_until(at) < HOUR);
        let count = lately.count() + 1;
        self.require(count <= SUBJECT_CAP, at, "the subject cap", || format!("{name}: number {count} within an hour"));
        if let Some(action) = self.actions.get_mut(name) {
            action.effects.push((at, object.to_owned()));
        }
    }

    /// HP-4: no other action has the object in hand.
    fn check_alone(&mut self, at: Timestamp, action: &ActionFacts, what: &str) {
        let touches = |other: &ActionFacts| {
            other.target == action.target
                || other.subject == action.subject && (other.is_on_whole() || action.is_on_whole())
        };
        let in_hand = |other: &&ActionFacts| {
            other.name != action.name && !other.is_finished() && !other.effects.is_empty() && touches(other)
        };
        let other = self.actions.values().find(in_hand).cloned();
        // Creation times are in seconds: of two within one, none is the first.
        let other = other.filter(|other| other.created.as_second() != action.created.as_second());
        self.require(other.is_none(), at, "HP-4", || {
            let other = other.map(|other| format!("{} is {}", other.name, other.state)).unwrap_or_default();
            format!("{}: {what}, while {other}", action.name)
        });
    }
}
