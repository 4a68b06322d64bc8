//! HP-18: never fewer than `minAvailable` Ready pods of a workload by what controllers removed, over all
//! policies and processes. What others deleted, and what never became Ready, is not laid to them.

use jiff::Timestamp;
use serde_json::Value;

use super::ledger::{Ledger, PodFacts};

impl Ledger {
    /// A pod is about to go.
    pub(super) fn check_floor(&mut self, at: Timestamp, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.is_ready) else { return };
        pod.removed = Some(at);
        let app = pod.app.clone();
        let wanted = self.wanted.get(&app).copied().unwrap_or(0);
        let policy = self.actions.values().find(|action| action.target == uid && action.state == "Running");
        let minimum = policy.and_then(|action| self.policies.get(&action.policy)).map(|policy| &policy.min_available);
        let required = minimum.map_or(0, |minimum| required(minimum, wanted));
        let others = self.pods.iter().filter(|(other, pod)| pod.app == app && other.as_str() != uid);
        let ready = others.filter(|(_, pod)| pod.is_ready && !pod.is_leaving).count();
        let missing = self.missing(&app);
        let kept = wanted <= 1 || ready >= required || wanted.saturating_sub(missing) >= required;
        self.require(kept, at, "HP-18", || {
            format!("pod {uid} goes: {ready} of {wanted} stay Ready, {required} must, {missing} were removed")
        });
    }

    /// The pods of an app that were removed while they were Ready, and have no Ready pod in their place.
    fn missing(&self, app: &str) -> usize {
        let of_app = || self.pods.values().filter(|pod| pod.app == app);
        let mut removed: Vec<Timestamp> = of_app().filter_map(|pod| pod.removed).collect();
        let mut stood: Vec<&PodFacts> = of_app().filter(|pod| pod.was_ready).collect();
        removed.sort();
        stood.sort_by_key(|pod| pod.created);
        let mut stood = stood.into_iter();
        removed.iter().filter(|removed| !stood.by_ref().any(|pod| pod.created >= **removed)).count()
    }
}

fn required(minimum: &Value, wanted: usize) -> usize {
    let percent = minimum.as_str().and_then(|text| text.trim_end_matches('%').parse::<usize>().ok());
    let count = minimum.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    match percent {
        Some(0) => 0,
        Some(percent) => (wanted * percent / 100).max(1),
        None => count,
    }
}
