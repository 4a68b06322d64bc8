//! Which pod may have replaced which. Kubernetes does not record that for pods with generated
//! names, so it follows from the order of removals and creations: a new pod can replace only
//! pods that were gone or going when it was created, and each of them once.
//!
//! Harmful case: of three pods, A is evicted and its replacement stands. Then B is evicted. If
//! B's replacement inherited the attempt on A as well, a workload would exhaust its ladder by
//! being large.
//!
//! If several removed pods are not replaced yet, a new pod may have replaced any of them, and
//! all of them count as candidates. A numbered pod of an owner of an unknown kind may have taken
//! over the name of the removed pod, or have a higher number: the name counts if it recurs.
//!
//! Creation times are compared with each other and with the time of the effect, see
//! [`replaced_since`](super::replaced_since).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Ledger, Record};
use crate::action::ActionScope;
use crate::target::{Target, Uid};

/// For each pod, the actions on the pods that it may have replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The names of the actions, by the uid of the newer pod.
    candidates: BTreeMap<Uid, BTreeSet<String>>,
}

/// What happened to the pods of one subject. At the same time removals come first.
#[derive(Debug, Clone, Copy)]
enum PodChange<'a> {
    Removed(&'a Record),
    Created(&'a Target),
}

/// The removed pods that are not known to be replaced.
#[derive(Debug, Default)]
struct Unreplaced<'a> {
    removals: Vec<&'a Record>,
    /// How many pods were created since the first of them was removed.
    created: usize,
}

impl Lineage {
    /// The lineage of these targets, by the actions of all policies.
    #[must_use]
    pub fn of(ledger: &Ledger, targets: &[Target]) -> Self {
        let mut changes: BTreeMap<&Uid, Vec<PodChange<'_>>> = BTreeMap::new();
        let is_named = |record: &Record| targets.iter().any(|target| is_named_after(target, record));
        for record in ledger.records.iter().filter(|one| has_removed(one, targets) && !is_named(one)) {
            changes.entry(&record.subject.uid).or_default().push(PodChange::Removed(record));
        }
        // Nearly all ledgers end here.
        let has_name = |target: &Target| ledger.records.iter().any(|record| is_named_after(target, record));
        for target in targets.iter().filter(|one| !one.name_recurs() || one.may_be_renumbered() && !has_name(one)) {
            if let Some(changes) = changes.get_mut(&target.subject.uid) {
                changes.push(PodChange::Created(target));
            }
        }
        let mut lineage = Self::default();
        for mut changes in changes.into_values() {
            changes.sort_by(|a, b| a.order().cmp(&b.order()));
            lineage.follow(&changes, targets);
        }
        lineage
    }

    /// Whether the pod may have replaced the one that this action removed.
    #[must_use]
    pub fn may_have_replaced(&self, pod: &Uid, action: &str) -> bool {
        self.candidates.get(pod).is_some_and(|actions| actions.contains(action))
    }

    fn follow(&mut self, changes: &[PodChange<'_>], targets: &[Target]) {
        let mut unreplaced = Unreplaced::default();
        for change in changes {
            match change {
                PodChange::Removed(record) => unreplaced.remove(record),
                PodChange::Created(target) => {
                    let may_replace =
                        |record: &&&Record| !target.may_be_renumbered() || has_higher_number(target, record, targets);
                    let removals = unreplaced.removals.iter().filter(may_replace);
                    let actions: BTreeSet<String> = removals.map(|record| record.name.clone()).collect();
                    if actions.is_empty() {
                        continue;
                    }
                    self.candidates.insert(target.object.uid.clone(), actions);
                    unreplaced.created = unreplaced.created.saturating_add(1);
                    unreplaced.forget_if_all_replaced();
                }
            }
        }
    }
}

/// Whether the target took over the name of the removed pod, although its owner could have gone on
/// counting. It replaced that pod then, and no other.
fn is_named_after(target: &Target, record: &Record) -> bool {
    target.may_be_renumbered()
        && record.scope == ActionScope::Replacement
        && record.spends()
        && record.is_replaced_by_name(target)
}

/// Whether the owner may have gone on counting with the target: its number is higher than that of the
/// removed pod, and than that of each pod that is older than the removal.
///
/// Harmful case: names recur, and the operator itself replaces `kafka-1` while the removed `kafka-0` is
/// still ending. The new `kafka-1` replaces no pod of Prunella. An older `kafka-2` shows that.
pub(crate) fn has_higher_number(target: &Target, record: &Record, targets: &[Target]) -> bool {
    let Some((prefix, number)) = number_of(&target.object.name) else { return false };
    let is_higher = |name: &str| number_of(name).is_none_or(|(other, than)| other == prefix && number > than);
    let is_older = |one: &&Target| {
        one.subject.uid == target.subject.uid
            && one.created < record.replaced_since()
            && number_of(&one.object.name).is_some_and(|(other, _)| other == prefix)
    };
    is_higher(&record.target.name) && targets.iter().filter(is_older).all(|one| is_higher(&one.object.name))
}

/// The number at the end of a name, and what is before it.
fn number_of(name: &str) -> Option<(&str, u64)> {
    let (prefix, number) = name.rsplit_once('-')?;
    Some((prefix, number.parse().ok()?))
}

/// Whether the action removed a pod, or may still remove it.
fn has_removed(record: &Record, targets: &[Target]) -> bool {
    let still_there = || targets.iter().any(|one| one.object.uid == record.target.uid && !one.terminating);
    record.scope == ActionScope::Replacement && record.spends() && !still_there()
}

impl<'a> PodChange<'a> {
    fn order(&self) -> (Timestamp, bool, u64, &'a str) {
        match self {
            Self::Removed(record) => (record.replaced_since(), false, record.sequence, record.name.as_str()),
            Self::Created(target) => (target.created, true, 0, target.object.name.as_str()),
        }
    }
}

impl<'a> Unreplaced<'a> {
    /// A pod is removed. If the action was not the first attempt, its pod had replaced the pod
    /// of the attempt before. That pod is replaced, although its replacement is gone by now.
    fn remove(&mut self, record: &'a Record) {
        let same_pod = |other: &&Record| other.target.uid == record.target.uid;
        let before = if self.removals.iter().any(same_pod) {
            self.removals.iter().position(same_pod)
        } else {
            self.removals.iter().rposition(|other| is_attempt_before(other, record))
        };
        if let Some(before) = before {
            self.removals.remove(before);
            self.forget_if_all_replaced();
        }
        self.removals.push(record);
    }

    fn forget_if_all_replaced(&mut self) {
        if self.created >= self.removals.len() {
            *self = Self::default();
        }
    }
}

/// Whether `record` may be the attempt that follows `other` on the same ladder.
fn is_attempt_before(other: &Record, record: &Record) -> bool {
    let next_attempt = other.step == record.step && other.attempt.saturating_add(1) == record.attempt;
    let next_step = other.step < record.step && record.attempt == 1;
    other.policy == record.policy
        && other.digest == record.digest
        && other.created <= record.unhealthy_since
        && (next_attempt || next_step)
}
