//! Series → targets. A series that names no selected, living target is counted
//! and ignored: old pods' series outlive them by minutes.

use std::collections::{BTreeMap, BTreeSet};

use super::Inputs;
use jiff::Timestamp;

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
    /// The labels of the first series that named none.
    pub first_ignored: Option<Labels>,
    /// The worst value a target is breached with, and the labels it came with.
    pub breached: BTreeMap<Uid, Series>,
}

impl Matching {
    /// Series that named no selected target.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.returned.saturating_sub(self.matched)
    }
}

/// What an observation says of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sight {
    /// In the answer.
    Breached(f64),
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
    let targets = living(inputs.targets);
    for one in series.iter().filter(|one| !one.value.is_nan()) {
        matching.returned = matching.returned.saturating_add(1);
        let Some(target) = named_by(&one.labels, &targets, inputs) else {
            matching.first_ignored.get_or_insert_with(|| one.labels.clone());
            continue;
        };
        matching.matched = matching.matched.saturating_add(1);
        matching
            .breached
            .entry(target.object.uid.clone())
            .and_modify(|worst| {
                if one.value > worst.value {
                    worst.clone_from(one);
                }
            })
            .or_insert_with(|| one.clone());
    }
    matching
}

/// What the observation says of each target. A target that was sick, or that
/// stands for a running action, is clear only by proof.
pub(super) fn sights(inputs: Inputs<'_>, matching: &Matching) -> BTreeMap<Uid, Sight> {
    let proven = evidence_for(inputs);
    let needs_proof = |target: &Target| {
        inputs.memory.timers.contains_key(&target.object.uid) || super::verify::in_any_scope(inputs, target)
    };
    inputs
        .targets
        .iter()
        .map(|target| {
            let uid = &target.object.uid;
            let sight = match (&inputs.observation.breach, &proven) {
                (Answer::Unknown(_), _) => Sight::Unknown,
                _ if let Some(worst) = matching.breached.get(uid) => Sight::Breached(worst.value),
                _ if !needs_proof(target) => Sight::Quiet,
                (_, Proof::NotAsked) => Sight::Unproven,
                (_, Proof::Unknown) => Sight::Unknown,
                (_, Proof::For(uids)) if uids.contains(uid) => Sight::Clear,
                _ => match inputs.policy.on_no_data {
                    OnNoData::Hold => Sight::NoData,
                    OnNoData::Clear => Sight::Clear,
                },
            };
            (uid.clone(), sight)
        })
        .collect()
}

enum Proof {
    NotAsked,
    Unknown,
    For(BTreeSet<Uid>),
}

fn evidence_for(inputs: Inputs<'_>) -> Proof {
    match &inputs.observation.evidence {
        None => Proof::NotAsked,
        Some(Answer::Unknown(_)) => Proof::Unknown,
        Some(Answer::Answered(series)) => {
            let targets = living(inputs.targets);
            Proof::For(
                series
                    .iter()
                    .filter(|one| !one.value.is_nan())
                    .filter_map(|one| named_by(&one.labels, &targets, inputs))
                    .map(|target| target.object.uid.clone())
                    .collect(),
            )
        }
    }
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
    let targets = BTreeMap::from([(target.object.name.as_str(), target)]);
    let mut seen: Vec<Timestamp> = series
        .iter()
        .filter(|one| named_by(&one.labels, &targets, inputs).is_some())
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
    (begun < inputs.observation.at).then_some(begun.max(since))
}

fn living(targets: &[Target]) -> BTreeMap<&str, &Target> {
    targets.iter().filter(|target| !target.terminating).map(|target| (target.object.name.as_str(), target)).collect()
}

/// The target a series names: by the match label, in the policy's namespace,
/// and with the target's uid where the series carries one.
fn named_by<'a>(labels: &Labels, targets: &BTreeMap<&str, &'a Target>, inputs: Inputs<'_>) -> Option<&'a Target> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let target = *targets.get(label(&inputs.policy.match_label)?)?;
    let same_namespace = label("namespace").is_none_or(|namespace| namespace == inputs.policy.key.namespace);
    let same_uid = label("uid").is_none_or(|uid| uid == target.object.uid.as_str());
    (same_namespace && same_uid).then_some(target)
}
