//! Series → targets. A series that names no selected, living target is counted
//! and ignored: old pods' series outlive them by minutes.

mod naming;

use std::collections::{BTreeMap, BTreeSet};

use super::Inputs;
use jiff::Timestamp;
use naming::Naming;
pub use naming::{POD_LABEL, UID_LABEL};

use crate::observation::{Answer, History, Labels, Series};
use crate::policy::OnNoData;
use crate::target::{Target, Uid};
use crate::time::{elapsed, times};

/// How the breached series fitted the targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matching {
    /// Series returned.
    pub returned: usize,
    /// Series that named a selected target.
    pub matched: usize,
    /// Series that do not say of which namespace they are, where nothing else does.
    pub unplaced: usize,
    /// The least labels, in their order, of the series that named none.
    pub first_ignored: Option<Labels>,
    /// The worst value a target is breached with, and the labels it came with.
    pub breached: BTreeMap<Uid, Series>,
    /// The targets whose series carry their uid: no namesake's can be among them.
    own: BTreeSet<Uid>,
}

/// What an observation says of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sight {
    /// In the answer.
    Breached(f64),
    /// In the answer, but younger than `minAge`: it may be starting up.
    Young(f64),
    /// So young that a predecessor's samples may be taken for its own.
    Namesake,
    /// Not in the answer, and nobody needs proof: it was healthy.
    Quiet,
    /// Not in the answer, and the evidence shows that there is data about it.
    Clear,
    /// Not in the answer, and nobody asked for the evidence yet.
    Unproven,
    /// In neither.
    NoData,
    /// The source had no usable answer.
    Unknown,
}

/// Lays each breached series to its target.
pub(super) fn match_series(inputs: Inputs<'_>) -> Matching {
    let Answer::Answered(series) = &inputs.observation.breach else { return Matching::default() };
    let mut matching = Matching::default();
    // Nobody needs a name then, which is what most looks find.
    if series.is_empty() {
        return matching;
    }
    let naming = Naming::of(inputs.targets, inputs.policy);
    for one in series.iter().filter(|one| !one.value.is_nan()) {
        matching.returned = matching.returned.saturating_add(1);
        let named = naming.named_by(&one.labels);
        if named.is_empty() {
            matching.unplaced = matching.unplaced.saturating_add(usize::from(naming.is_unplaced(&one.labels)));
            // The least of them, for a source has no order.
            if matching.first_ignored.as_ref().is_none_or(|first| one.labels.cmp(first).is_lt()) {
                matching.first_ignored = Some(one.labels.clone());
            }
            continue;
        }
        matching.matched = matching.matched.saturating_add(1);
        for target in named {
            let uid = &target.object.uid;
            if naming::carries_uid(&one.labels) {
                matching.own.insert(uid.clone());
            }
            matching
                .breached
                .entry(uid.clone())
                .and_modify(|worst| {
                    // Of two with one value the least, for a source has no order.
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

/// What the observation says of each target. A target that was sick, or that
/// stands for a running action, is clear only by proof.
pub(super) fn sights(inputs: Inputs<'_>, matching: &Matching) -> BTreeMap<Uid, Sight> {
    let proven = evidence_for(inputs);
    let own =
        |uid: &Uid| matching.own.contains(uid) || matches!(&proven, Proof::For(uids) if uids.get(uid) == Some(&true));
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
                        // Evidence that carries the uid would be the target's own.
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
                (_, Proof::For(uids)) if uids.contains_key(uid) => Sight::Clear,
                _ => match inputs.policy.on_no_data {
                    OnNoData::Hold => Sight::NoData,
                    OnNoData::Clear => Sight::Clear,
                },
            };
            (uid.clone(), sight)
        })
        .collect()
}

/// Whether what is said of the target may be said of an earlier object of its name.
/// Creation and observation times are both the API server's.
fn may_be_namesake(inputs: Inputs<'_>, target: &Target) -> bool {
    target.stable_name && age(inputs, target) < inputs.policy.signal_window
}

fn age(inputs: Inputs<'_>, target: &Target) -> jiff::SignedDuration {
    elapsed(target.created, inputs.observation.at)
}

enum Proof {
    NotAsked,
    Unknown,
    /// For these, and whether by a series that carries their uid.
    For(BTreeMap<Uid, bool>),
}

fn evidence_for(inputs: Inputs<'_>) -> Proof {
    match &inputs.observation.evidence {
        None => Proof::NotAsked,
        Some(Answer::Unknown(_)) => Proof::Unknown,
        Some(Answer::Answered(series)) => {
            let naming = Naming::of(inputs.targets, inputs.policy);
            let mut uids = BTreeMap::new();
            for one in series.iter().filter(|one| !one.value.is_nan()) {
                for target in naming.named_by(&one.labels) {
                    *uids.entry(target.object.uid.clone()).or_default() |= naming::carries_uid(&one.labels);
                }
            }
            Proof::For(uids)
        }
    }
}

/// What the evidence reaches, when it was asked for: see [`super::Reach`].
pub(super) fn reach(inputs: Inputs<'_>, matching: &Matching) -> Option<super::Reach> {
    if matching.matched > 0 {
        return Some(super::Reach::Targets);
    }
    let Some(Answer::Answered(series)) = &inputs.observation.evidence else { return None };
    let naming = Naming::of(inputs.targets, inputs.policy);
    let mut ignored = series.iter().filter(|one| !one.value.is_nan());
    Some(match ignored.next() {
        None => super::Reach::NoSeries,
        // Whose pods are not there cannot be named: nothing is wrong with the query.
        Some(_) if inputs.targets.is_empty() => super::Reach::Targets,
        Some(_) if series.iter().any(|one| !naming.named_by(&one.labels).is_empty()) => super::Reach::Targets,
        Some(first) => super::Reach::NoTarget(first.labels.clone()),
    })
}

/// Since when `target` has been breached without a gap up to the newest observation,
/// no earlier than `since`; `None` when the history does not reach up to it.
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
    // A source shows a series for as long as its lookback after the newest sample: an
    // outage of a minute is a gap of seconds here. So one look at which the breach was
    // not there is one too many, and half an interval is for rounding.
    let missed = |gap| times(gap, 2) >= times(inputs.policy.interval, 3);
    let mut begun = inputs.observation.at;
    for at in seen.into_iter().rev() {
        if missed(elapsed(at, begun)) {
            break;
        }
        begun = at;
    }
    (begun != inputs.observation.at).then_some(begun.max(since))
}
