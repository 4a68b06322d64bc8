//! Which targets a series names.

use std::collections::BTreeMap;

use crate::observation::Labels;
use crate::policy::{Policy, SeriesMatch};
use crate::target::{Target, Uid};

/// The label that holds an object's uid, as kube-state-metrics writes it.
pub const UID_LABEL: &str = "uid";
/// By this label a series of a pod names the workload that the pod belongs to.
pub const POD_LABEL: &str = "pod";

/// The living targets by all that a series may call them.
pub(super) struct Naming<'a> {
    policy: &'a Policy,
    all: Vec<&'a Target>,
    by_name: BTreeMap<&'a str, &'a Target>,
    /// The pods of the targets, each with its workload and its own uid.
    by_pod: BTreeMap<&'a str, (&'a Target, &'a Uid)>,
}

/// Whose a series is, as far as its labels say.
enum Place {
    Here,
    Elsewhere,
    /// It does not say, and the query does not either.
    Unsaid,
}

impl<'a> Naming<'a> {
    pub(super) fn of(targets: &'a [Target], policy: &'a Policy) -> Self {
        let all: Vec<&Target> = targets.iter().filter(|target| !target.terminating).collect();
        let by_name = all.iter().map(|target| (target.object.name.as_str(), *target)).collect();
        let pods = |target: &'a Target| target.pods.iter().map(move |pod| (pod.name.as_str(), (target, &pod.uid)));
        let by_pod = all.iter().copied().flat_map(pods).collect();
        Self { policy, all, by_name, by_pod }
    }

    /// The targets a series names, in the policy's namespace: by the match label, a
    /// workload also by the name of one of its pods; and with the object's uid where the
    /// series carries one.
    pub(super) fn named_by(&self, labels: &Labels) -> Vec<&'a Target> {
        if !matches!(self.place(labels), Place::Here) {
            return Vec::new();
        }
        let label = |name: &str| labels.get(name).map(String::as_str);
        let same = |uid: &Uid| label(UID_LABEL).is_none_or(|carried| carried == uid.as_str());
        let SeriesMatch::Label(name) = &self.policy.series else { return self.all.clone() };
        if let Some(own) = label(name) {
            // A series that names a workload and a pod of it carries the pod's uid.
            let of_pod = name != POD_LABEL && label(POD_LABEL).is_some();
            let target = self.by_name.get(own).copied();
            return target.filter(|target| of_pod || same(&target.object.uid)).into_iter().collect();
        }
        let above = label(POD_LABEL).and_then(|pod| self.by_pod.get(pod));
        above.filter(|(_, uid)| same(uid)).map(|(target, _)| *target).into_iter().collect()
    }

    /// Whether nobody can say of which namespace a series is.
    pub(super) fn is_unplaced(&self, labels: &Labels) -> bool {
        matches!(self.place(labels), Place::Unsaid)
    }

    fn place(&self, labels: &Labels) -> Place {
        match labels.get(&self.policy.namespace_label) {
            Some(namespace) if *namespace == self.policy.key.namespace => Place::Here,
            Some(_) => Place::Elsewhere,
            None if self.policy.pinned => Place::Here,
            None => Place::Unsaid,
        }
    }
}

/// Whether a series says which object of a name it is about.
pub(super) fn carries_uid(labels: &Labels) -> bool {
    labels.contains_key(UID_LABEL)
}
