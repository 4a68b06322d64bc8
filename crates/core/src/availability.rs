//! The availability floor: Prunella removes a Ready pod only while enough pods of its workload
//! stay Ready, over all policies.
//!
//! Harmful case: three policies each see one of three pods unhealthy and evict all three in
//! the same second. Or the only Ready pod is evicted while the others are not Ready.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionScope;
use crate::execute::OutcomeReason;
use crate::ledger::{Ledger, Overlap, Record};
use crate::policy::PolicyMode;
use crate::target::{Target, Uid};
use crate::time::elapsed;

/// How many pods of a workload must stay Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinAvailable {
    /// This number of pods. 0 switches the floor off.
    Count(u32),
    /// This percentage of the wanted replicas, rounded down, at least one.
    Percent(u32),
}

impl MinAvailable {
    /// How many of `wanted` replicas must stay Ready.
    #[must_use]
    pub fn of(self, wanted: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(usize::MAX);
                wanted.saturating_mul(percent).checked_div(100).unwrap_or(0).max(1)
            }
        }
    }
}

/// Fewer pods would stay Ready than must.
///
/// It does not say how many would: that number changes at each evaluation of a large
/// workload, and each change would be a write of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shortage {
    /// How many pods must stay Ready.
    pub required: usize,
    /// How many pods the workload should have.
    pub wanted: usize,
}

impl Shortage {
    /// Whether no Ready pod may be removed even if all pods are Ready.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        self.required >= self.wanted
    }
}

/// The pods of one subject, whatever their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Siblings {
    /// The Ready pods that are not being deleted.
    pub ready: BTreeSet<Uid>,
    /// All pods that have not finished, also those that are being deleted.
    pub unfinished: BTreeSet<Uid>,
}

/// Whether too few pods would stay Ready if the target were removed besides the pods in
/// `disrupted`.
///
/// A target that is not Ready may always be removed. A workload with one replica is exempt,
/// because no floor could be kept. For an owner of an unknown kind, the wanted number of
/// replicas is the number of its pods. The pods that are being removed count too: their
/// replacements may come late or never, and the floor must not sink with each removal.
#[must_use]
pub fn shortage(minimum: MinAvailable, target: &Target, disrupted: &BTreeSet<&Uid>) -> Option<Shortage> {
    let siblings = target.siblings.as_deref()?;
    let replicas = target.workload.as_ref().and_then(|workload| workload.replicas);
    let known = || {
        let gone = disrupted.iter().filter(|uid| !siblings.unfinished.contains(**uid)).count();
        siblings.unfinished.len().saturating_add(gone)
    };
    let wanted = replicas.and_then(|replicas| usize::try_from(replicas).ok()).unwrap_or_else(known);
    if wanted <= 1 || !siblings.ready.contains(&target.object.uid) {
        return None;
    }
    let others = disrupted.iter().filter(|uid| **uid != &target.object.uid && siblings.ready.contains(**uid)).count();
    let remaining = siblings.ready.len().saturating_sub(1).saturating_sub(others);
    let required = minimum.of(wanted);
    (remaining < required).then_some(Shortage { required, wanted })
}

/// How long a pod that was removed and not replaced counts as wanted by its owner. If nobody knows how
/// many pods the owner wants, the floor would otherwise sink with each of them, to none.
const MISSED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The pods that actions, of any policy, remove from the target's workload: those of actions in
/// flight, and lately removed ones that were not replaced.
pub(crate) fn disrupted<'a>(ledger: &'a Ledger, target: &Target, now: Timestamp) -> BTreeSet<&'a Uid> {
    let subject = &target.subject.uid;
    let counts = |record: &&Record| removes_sibling(record, subject) || is_missed(record, subject, now);
    ledger.records.iter().filter(counts).map(|record| &record.target.uid).collect()
}

fn is_missed(record: &Record, subject: &Uid, now: Timestamp) -> bool {
    record.mode == PolicyMode::Enforce
        && record.scope == ActionScope::Replacement
        && record.subject.uid == *subject
        && record.reason == Some(OutcomeReason::NotSettled)
        && record.finished.is_some_and(|finished| elapsed(finished, now) < MISSED_FOR)
}

fn removes_sibling(record: &Record, subject: &Uid) -> bool {
    record.mode == PolicyMode::Enforce
        && record.in_flight()
        && record.scope == ActionScope::Replacement
        && record.subject.uid == *subject
}

/// The pods that other actions in flight remove from the workload of `own`, and how those
/// actions conflict with it. Pending actions that come later are left out: they will see this
/// one.
#[must_use]
pub fn siblings<'a>(own: &Record, others: &'a [Record]) -> (BTreeSet<&'a Uid>, Overlap) {
    let removes = |other: &&Record| other.name != own.name && removes_sibling(other, &own.subject.uid);
    let conflicts = others.iter().filter(removes).map(|other| (other, own.conflict(other)));
    let conflicts: Vec<_> = conflicts.filter(|(_, overlap)| *overlap != Overlap::None).collect();
    let worst = conflicts.iter().map(|(_, overlap)| *overlap).max().unwrap_or(Overlap::None);
    (conflicts.into_iter().map(|(other, _)| &other.target.uid).collect(), worst)
}
