//! Which series of the evidence speak for a series that was breached. Harmful case: two
//! probers report about one pod. One of them sees a breach, then stops. The series of the
//! other one must not clear the pod.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::naming::POD_LABEL;
use crate::decide::{Inputs, Matching, Sight, Timer, verify};
use crate::observation::Labels;
use crate::policy::{EvidenceMatch, Policy};
use crate::target::{Target, Uid};
use crate::time::elapsed;

/// How many series are remembered for each target. With more, the others are not compared.
const MAX_SERIES: usize = 16;

/// Labels that change when a container starts again, and labels that the naming of targets
/// compares.
const NEVER_COMPARED: [&str; 7] = ["__name__", "container_id", "id", "image", "image_id", "name", "uid"];
/// Labels that differ between a pod and the pod that replaces it.
const OF_POD: [&str; 12] = [
    "controller_revision_hash",
    "created_by_name",
    "host_ip",
    "hostname",
    "instance",
    "node",
    "owner_name",
    "pod",
    "pod_ip",
    "pod_template_hash",
    "replicaset",
    "version",
];

/// Adds a series to those of a target.
pub(super) fn note(series: &mut BTreeSet<Labels>, labels: &Labels) {
    if series.len() < MAX_SERIES {
        series.insert(labels.clone());
    }
}

/// The series with which each unhealthy target was breached. A series that was not breached
/// for `ladderReset` is forgotten: its exporter may be gone for good.
pub(in crate::decide) fn breached_by(
    inputs: Inputs<'_>,
    matching: &Matching,
    sights: &BTreeMap<Uid, Sight>,
    timers: &BTreeMap<Uid, Timer>,
) -> BTreeMap<Uid, BTreeMap<Labels, Timestamp>> {
    let at = inputs.observation.at;
    let of_target = |uid: &Uid| {
        // The series of a young target may be those of an earlier object of the same name.
        let is_its_own = matches!(sights.get(uid), Some(Sight::Breached(_)));
        let series = matching.all.get(uid).filter(|_| is_its_own);
        let now = series.into_iter().flatten().map(|labels| (labels.clone(), at));
        let earlier = inputs.memory.breached_by.get(uid).into_iter().flatten();
        let mut series: BTreeMap<Labels, Timestamp> = now.collect();
        for (labels, last) in earlier.filter(|(_, last)| elapsed(**last, at) < inputs.policy.limits.ladder_reset) {
            if series.len() < MAX_SERIES && !series.contains_key(labels) {
                series.insert(labels.clone(), *last);
            }
        }
        series
    };
    timers.keys().map(|uid| (uid.clone(), of_target(uid))).filter(|(_, series)| !series.is_empty()).collect()
}

/// A series that must have data before a target is clear.
pub(super) struct Breached<'a> {
    labels: &'a Labels,
    /// The pod that the series is about, if the target is another object.
    of: Option<&'a str>,
    /// Whether the series is about another object than the one that replaced it.
    replaced: bool,
}

/// The series that must have data before `target` is clear: those with which it was breached,
/// and those of the pods that it replaces in an action that is being verified.
pub(super) fn breached<'a>(inputs: Inputs<'a>, target: &'a Target) -> Vec<Breached<'a>> {
    let own = inputs.memory.breached_by.get(&target.object.uid).into_iter().flat_map(BTreeMap::keys);
    let own = own.map(|labels| {
        let pod = labels.get(POD_LABEL).map(String::as_str);
        let exists = pod.is_some_and(|pod| target.pods.iter().any(|own| own.name == pod));
        // A workload replaces its pods, and their series go with them.
        let replaced = target.object.kind != "Pod" && !exists;
        Breached { labels, of: pod.filter(|_| replaced), replaced }
    });
    let by_actions = verify::judging(inputs, target).filter(|record| record.target.uid != target.object.uid);
    let by_actions = by_actions.map(|record| Breached {
        labels: &record.breached,
        of: Some(record.target.name.as_str()),
        replaced: true,
    });
    own.chain(by_actions).collect()
}

impl Breached<'_> {
    /// Whether `evidence` shows that this series, or the one that replaced it, has data: all
    /// labels that both have are equal, except those that may differ.
    pub(super) fn has_data_in(&self, policy: &Policy, evidence: &Labels) -> bool {
        let EvidenceMatch::Series { except } = &policy.query.evidence else { return true };
        self.labels.iter().all(|(name, value)| {
            evidence.get(name).is_none_or(|other| other == value)
                || except.contains(name)
                || self.may_differ(name, value)
        })
    }

    fn may_differ(&self, name: &str, value: &str) -> bool {
        let names_pod = || self.of.is_some_and(|of| !of.is_empty() && value.contains(of));
        NEVER_COMPARED.contains(&name) || self.replaced && (OF_POD.contains(&name) || names_pod())
    }
}
