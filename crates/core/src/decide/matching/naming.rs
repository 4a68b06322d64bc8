//! Which targets a series names.

use std::collections::BTreeMap;

use crate::observation::Labels;
use crate::policy::{Policy, SeriesMatch};
use crate::target::{Target, Uid};

/// The label with an object's uid, as kube-state-metrics writes it.
const UID_LABEL: &str = "uid";
/// With this label, a series of a pod also names the workload of the pod.
pub const POD_LABEL: &str = "pod";

/// The targets that are not being deleted, by the names that a series may use.
pub(super) struct Naming<'a> {
    policy: &'a Policy,
    all: Vec<&'a Target>,
    by_name: BTreeMap<&'a str, &'a Target>,
    /// The pods of the targets, each with its workload and its own uid.
    by_pod: BTreeMap<&'a str, (&'a Target, &'a Uid)>,
}

/// The namespace of a series, by its labels.
enum SeriesOrigin {
    Here,
    Elsewhere,
    /// Neither the series nor the query names a namespace.
    Unknown,
}

impl<'a> Naming<'a> {
    pub(super) fn of(targets: &'a [Target], policy: &'a Policy) -> Self {
        let all: Vec<&Target> = targets.iter().filter(|target| !target.terminating).collect();
        let by_name = all.iter().map(|target| (target.object.name.as_str(), *target)).collect();
        let pods = |target: &'a Target| target.pods.iter().map(move |pod| (pod.name.as_str(), (target, &pod.uid)));
        let by_pod = all.iter().copied().flat_map(pods).collect();
        Self { policy, all, by_name, by_pod }
    }

    /// The targets that a series names, in the policy's namespace. The match label has the
    /// name of the target. A series without that label may name a workload by one of its
    /// pods. If the series has a uid, it must be the uid of the object.
    pub(super) fn named_by(&self, labels: &Labels) -> Vec<&'a Target> {
        if !matches!(self.origin(labels), SeriesOrigin::Here) {
            return Vec::new();
        }
        let label = |name: &str| labels.get(name).map(String::as_str);
        let same = |uid: &Uid| carries(labels, uid) != CarriedUid::Other;
        let SeriesMatch::Label(name) = &self.policy.series else { return self.all.clone() };
        if let Some(own) = label(name) {
            // The uid of a series with a workload and a pod is the uid of the pod.
            let of_pod = name != POD_LABEL && label(POD_LABEL).is_some();
            let target = self.by_name.get(own).copied();
            return target.filter(|target| of_pod || same(&target.object.uid)).into_iter().collect();
        }
        let owner = label(POD_LABEL).and_then(|pod| self.by_pod.get(pod));
        owner.filter(|(_, uid)| same(uid)).map(|(target, _)| *target).into_iter().collect()
    }

    /// Whether a series that names `target` cannot be about an earlier object of the same
    /// name: it has the uid of the target, or it names a pod that the target has now. Only a
    /// `StatefulSet` gives a pod the name of an earlier one, so there the pod's uid decides.
    pub(super) fn is_own(&self, labels: &Labels, target: &Target) -> bool {
        if carries(labels, &target.object.uid) == CarriedUid::Own {
            return true;
        }
        let SeriesMatch::Label(name) = &self.policy.series else { return false };
        let pod = labels.get(POD_LABEL).filter(|_| !labels.contains_key(name));
        let Some((owner, uid)) = pod.and_then(|pod| self.by_pod.get(pod.as_str())) else { return false };
        owner.object.uid == target.object.uid
            && (target.object.kind != "StatefulSet" || carries(labels, uid) == CarriedUid::Own)
    }

    /// Whether the namespace of a series is unknown.
    pub(super) fn is_unplaced(&self, labels: &Labels) -> bool {
        matches!(self.origin(labels), SeriesOrigin::Unknown)
    }

    fn origin(&self, labels: &Labels) -> SeriesOrigin {
        match labels.get(&self.policy.namespace_label) {
            Some(namespace) if *namespace == self.policy.key.namespace => SeriesOrigin::Here,
            Some(_) => SeriesOrigin::Elsewhere,
            None if self.policy.pinned => SeriesOrigin::Here,
            None => SeriesOrigin::Unknown,
        }
    }
}

/// What the label `uid` of a series says about an object of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CarriedUid {
    /// It is the object's uid.
    Own,
    /// It is the uid of another object.
    Other,
    /// There is no such label, or its value is not a Kubernetes uid. An application may use
    /// the label for a user id.
    Absent,
}

/// Compares the label `uid` of a series with the uid of an object.
pub(super) fn carries(labels: &Labels, uid: &Uid) -> CarriedUid {
    match labels.get(UID_LABEL) {
        Some(value) if value == uid.as_str() => CarriedUid::Own,
        Some(value) if is_uuid(value) => CarriedUid::Other,
        _ => CarriedUid::Absent,
    }
}

/// The Kubernetes uid in the label `uid` of a series. `None`: there is no such label, or an
/// application uses it for something else.
#[must_use]
pub fn carried_uid(labels: &Labels) -> Option<&str> {
    labels.get(UID_LABEL).map(String::as_str).filter(|value| is_uuid(value))
}

/// Whether the text has the form of a uid of the API server: 8-4-4-4-12 hexadecimal
/// digits.
fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut groups = text.split('-');
    let fits = |length: &usize| {
        groups.next().is_some_and(|group| group.len() == *length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    GROUPS.iter().all(fits) && groups.next().is_none()
}
