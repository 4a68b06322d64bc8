//! Series → targets. A series that names no selected target is counted and ignored. The
//! series of a deleted pod stay in the source for minutes.

mod naming;
mod same_series;

use std::collections::{BTreeMap, BTreeSet};

use super::Inputs;
use jiff::Timestamp;
use naming::Naming;
pub use naming::{POD_LABEL, carried_uid};
use same_series::Breached;
pub(super) use same_series::breached_by;

use crate::observation::{Answer, History, Labels, Operands, Series};
use crate::policy::NoDataRule;
use crate::target::{Target, Uid};
use crate::time::{elapsed, times};

/// Which breached series named which targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matching {
    /// How many series the source returned, without `NaN`.
    pub returned: usize,
    /// How many of them name a selected target.
    pub matched: usize,
    /// How many of them have no namespace label, while the query names no namespace either.
    pub unplaced: usize,
    /// How many name a pod that has finished. They are ignored.
    pub finished: usize,
    /// The labels of a series that names no target: the smallest by order.
    pub first_ignored: Option<Labels>,
    /// The series with the worst value, for each breached target.
    pub breached: BTreeMap<Uid, Series>,
    /// The labels of the series of each breached target, up to a limit.
    all: BTreeMap<Uid, BTreeSet<Labels>>,
    /// The targets whose series have a label with the target's uid. These series cannot belong
    /// to another object of the same name.
    own: BTreeSet<Uid>,
}

/// What an observation says about one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sight {
    /// In the answer, with this value.
    Breached(f64),
    /// In the answer, with this value, but younger than `minAge`: it may be starting up.
    Young(f64),
    /// So young that its samples may belong to an earlier object of the same name.
    Namesake,
    /// Not in the answer. It was healthy before, so it needs no evidence.
    Quiet,
    /// Not in the answer, and the evidence shows that it has data.
    Clear,
    /// Not in the answer, and the evidence was not queried yet.
    Unproven,
    /// Not in the answer. The evidence has no series about it, or none about a series that
    /// was breached.
    NoData,
    /// The source gave no usable answer.
    Unknown,
}

/// Finds the target of each breached series.
pub(super) fn match_series(inputs: Inputs<'_>) -> Matching {
    let Answer::Answered(series) = &inputs.observation.breach else { return Matching::default() };
    let mut matching = Matching::default();
    // Most evaluations return nothing. They need no index of names.
    if series.is_empty() {
        return matching;
    }
    let naming = Naming::of(inputs.targets, inputs.policy);
    for one in series.iter().filter(|one| !one.value.is_nan()) {
        matching.returned = matching.returned.saturating_add(1);
        let named = naming.named_by(&one.labels);
        if named.is_empty() {
            matching.unplaced = matching.unplaced.saturating_add(usize::from(naming.is_unplaced(&one.labels)));
            // The smallest, because the order of the answer is not stable.
            if matching.first_ignored.as_ref().is_none_or(|first| one.labels.cmp(first).is_lt()) {
                matching.first_ignored = Some(one.labels.clone());
            }
            continue;
        }
        matching.matched = matching.matched.saturating_add(1);
        matching.finished = matching.finished.saturating_add(usize::from(named.iter().all(|one| one.has_finished())));
        for target in named.into_iter().filter(|target| !target.has_finished()) {
            let uid = &target.object.uid;
            if naming.is_own(&one.labels, target) {
                matching.own.insert(uid.clone());
            }
            same_series::note(matching.all.entry(uid.clone()).or_default(), &one.labels);
            matching
                .breached
                .entry(uid.clone())
                .and_modify(|worst| {
                    // Of equal values the smallest labels, because the order of the answer is
                    // not stable.
                    let order = one.value.total_cmp(&worst.value).then_with(|| worst.labels.cmp(&one.labels));
                    if order.is_gt() {
                        worst.clone_from(one);
                    }
                })
                .or_insert_with(|| one.clone());
        }
    }
    matching
}

/// What the observation says about each target. A target that was unhealthy, or that
/// shows the result of an action, is clear only with evidence.
pub(super) fn sights(inputs: Inputs<'_>, matching: &Matching) -> BTreeMap<Uid, Sight> {
    let proven = evidence_for(inputs);
    let own = |uid: &Uid| {
        matching.own.contains(uid) || matches!(&proven, Proof::For(seen) if seen.get(uid).is_some_and(|seen| seen.own))
    };
    let needs_proof = |target: &Target| {
        inputs.memory.timers.contains_key(&target.object.uid) || super::verify::in_any_scope(inputs, target)
    };
    inputs
        .targets
        .iter()
        .map(|target| {
            let uid = &target.object.uid;
            let needs_proof = needs_proof(target);
            let sight = match (&inputs.observation.breach, &proven) {
                (Answer::Unknown(_), _) => Sight::Unknown,
                _ if !own(uid) && may_be_namesake(inputs, target) => {
                    match &proven {
                        // Evidence with the uid would belong to this target.
                        Proof::NotAsked if needs_proof && !matching.breached.contains_key(uid) => Sight::Unproven,
                        _ => Sight::Namesake,
                    }
                }
                _ if let Some(worst) = matching.breached.get(uid) => {
                    if age(inputs, target) < inputs.policy.min_age {
                        Sight::Young(worst.value)
                    } else {
                        Sight::Breached(worst.value)
                    }
                }
                _ if !needs_proof => Sight::Quiet,
                (_, Proof::NotAsked) => Sight::Unproven,
                (_, Proof::Unknown) => Sight::Unknown,
                (_, Proof::For(seen)) if seen.get(uid).is_some_and(|seen| seen.proves(inputs, target)) => Sight::Clear,
                _ => match inputs.policy.on_no_data {
                    NoDataRule::Hold => Sight::NoData,
                    NoDataRule::Clear => Sight::Clear,
                },
            };
            (uid.clone(), sight)
        })
        .collect()
}

/// Whether the samples may belong to an earlier object of the same name. Creation time and
/// observation time are both by the API server's clock.
fn may_be_namesake(inputs: Inputs<'_>, target: &Target) -> bool {
    target.name_recurs() && age(inputs, target) < inputs.policy.signal_window
}

fn age(inputs: Inputs<'_>, target: &Target) -> jiff::SignedDuration {
    elapsed(target.created, inputs.observation.at)
}

enum Proof<'a> {
    NotAsked,
    Unknown,
    /// These targets have data.
    For(BTreeMap<Uid, TargetEvidence<'a>>),
}

/// The evidence about one target.
#[derive(Default)]
struct TargetEvidence<'a> {
    /// Whether a series has the uid of the target.
    own: bool,
    series: Vec<&'a Labels>,
}

impl TargetEvidence<'_> {
    /// Whether each series that was breached has data.
    fn proves(&self, inputs: Inputs<'_>, target: &Target) -> bool {
        let speaks = |breached: &Breached<'_>| self.series.iter().any(|one| breached.has_data_in(inputs.policy, one));
        same_series::breached(inputs, target).iter().all(speaks)
    }
}

fn evidence_for(inputs: Inputs<'_>) -> Proof<'_> {
    match &inputs.observation.evidence {
        None => Proof::NotAsked,
        Some(Answer::Unknown(_)) => Proof::Unknown,
        Some(Answer::Answered(series)) => {
            let naming = Naming::of(inputs.targets, inputs.policy);
            let mut targets: BTreeMap<Uid, TargetEvidence<'_>> = BTreeMap::new();
            for one in series.iter().filter(|one| !one.value.is_nan()) {
                for target in naming.named_by(&one.labels) {
                    let seen = targets.entry(target.object.uid.clone()).or_default();
                    seen.own |= naming.is_own(&one.labels, target);
                    seen.series.push(&one.labels);
                }
            }
            Proof::For(targets)
        }
    }
}

/// What the query can return. `None`: this observation does not show it.
pub(super) fn reach(inputs: Inputs<'_>, matching: &Matching) -> Option<super::Reach> {
    if matching.matched > 0 {
        return Some(super::Reach::Targets);
    }
    if let Some(Operands::Missing(selector)) = &inputs.observation.operands {
        return Some(super::Reach::NoOperand(selector.clone()));
    }
    let Some(Answer::Answered(series)) = &inputs.observation.evidence else { return None };
    let naming = Naming::of(inputs.targets, inputs.policy);
    let mut ignored = series.iter().filter(|one| !one.value.is_nan());
    Some(match ignored.next() {
        None => super::Reach::NoSeries,
        // Without targets, no series can name one. The query may be correct.
        Some(_) if inputs.targets.is_empty() => super::Reach::Targets,
        Some(_) if series.iter().any(|one| !naming.named_by(&one.labels).is_empty()) => super::Reach::Targets,
        Some(first) => super::Reach::NoTarget(first.labels.clone()),
    })
}

/// When the uninterrupted breach of `target` started that lasts until the newest
/// observation, but not before `since`. `None`: the history does not reach the newest
/// observation.
pub(super) fn breached_since(
    inputs: Inputs<'_>,
    target: &Target,
    history: &History,
    since: Timestamp,
) -> Option<Timestamp> {
    let History::Answered(series) = history else { return None };
    let naming = Naming::of(std::slice::from_ref(target), inputs.policy);
    let mut seen: Vec<Timestamp> = series
        .iter()
        .filter(|one| !naming.named_by(&one.labels).is_empty())
        .flat_map(|one| one.at.iter().copied())
        .filter(|at| *at <= inputs.observation.at)
        .collect();
    seen.sort_unstable();
    // A source returns a series for the lookback after its newest sample, so an outage of a
    // minute is a gap of seconds here. Therefore one missing evaluation is a gap. Half an
    // interval is for rounding.
    let missed = |gap| times(gap, 2) >= times(inputs.policy.interval, 3);
    let mut start = inputs.observation.at;
    for at in seen.into_iter().rev() {
        if missed(elapsed(at, start)) {
            break;
        }
        start = at;
    }
    (start != inputs.observation.at).then_some(start.max(since))
}
