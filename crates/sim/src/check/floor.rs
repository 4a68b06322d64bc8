//! HP-18: never fewer than `minAvailable` Ready pods of a workload by Prunella's doing, over all
//! policies and processes. What others delete, and what never became Ready, is not laid to it.

use jiff::Timestamp;
use prunella_core::availability::MinAvailable;
use prunella_core::target::Uid;

use super::Check;
use crate::api_server::ApiServer;
use crate::objects::ActionObject;

impl Check {
    /// A pod became Ready.
    pub(crate) fn became_ready(&mut self, uid: &Uid) {
        self.ever_ready.insert(uid.clone());
    }

    /// A pod is evicted at this moment: enough others are Ready, or those that are missing are
    /// missing for other reasons.
    pub(super) fn check_floor(&mut self, now: Timestamp, action: &ActionObject, uid: &Uid, api: &ApiServer) {
        // The eviction has made it unready. Before, it was as Ready as it ever was.
        let was_ready = self.ever_ready.contains(uid);
        let Some((workload, _)) = self.origin(uid).filter(|_| was_ready && !action.is_on_whole()) else { return };
        self.removed.insert(uid.clone());
        let wanted = usize::try_from(api.workloads[workload].replicas).unwrap_or(0);
        let required = match action.spec.policy.rule.limits.min_available {
            MinAvailable::Count(count) => count as usize,
            MinAvailable::Percent(share) => (wanted * share as usize / 100).max(1),
        };
        let others = api.pods.values().filter(|other| other.workload == workload && other.object.uid != *uid);
        let ready = others.filter(|other| other.ready && !other.terminating).count();
        let missing = self.removed.iter().filter(|removed| self.is_missing(removed, workload)).count();
        let kept = wanted <= 1 || ready >= required || wanted.saturating_sub(missing) >= required;
        self.require(kept, now, "HP-18", || {
            format!(
                "{} evicts {uid}: {ready} of {wanted} pods stay Ready, {required} must, and {missing} are missing by evictions",
                action.name
            )
        });
    }

    /// Whether a pod that was removed has had no Ready pod in its place yet.
    fn is_missing(&self, removed: &Uid, workload: usize) -> bool {
        let of_workload = self.pods.get(removed).is_some_and(|birth| birth.workload == workload);
        let replacement = |uid: &Uid| {
            let made = self.pods.iter().find(|(_, birth)| birth.replaces.as_ref() == Some(uid));
            made.map(|(uid, _)| uid.clone())
        };
        let mut replacements = std::iter::successors(replacement(removed), replacement);
        of_workload && !replacements.any(|uid| self.ever_ready.contains(&uid))
    }
}
