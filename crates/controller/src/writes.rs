//! Writes to the project's own objects: one request each, under a deadline.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use prunella_api::FIELD_MANAGER;
use prunella_cluster::{ClusterError, within};
use prunella_core::time::whole_seconds;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// How long one write may take: by default, this is what is left of the lease when the leader
/// stops acting. So a write that started in time has ended before another replica leads.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// An instant as the API stores it: whole seconds. Otherwise the object that the watch delivers
/// would differ from the one that was written, and both would stay in memory.
pub(crate) fn stamp(now: Timestamp) -> Time {
    whole_seconds(now).into()
}

/// Writes a whole status with server-side apply. It removes fields that `status` does not have.
pub(crate) async fn apply_status<K>(api: &Api<K>, name: &str, status: &impl Serialize) -> Result<K, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within(DEADLINE, api.patch_status(name, &params, &Patch::Apply(&patch))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_time_equals_the_time_that_is_read_back() {
        let written = stamp("2026-11-21T10:00:00.123456789Z".parse().unwrap());
        let kept = serde_json::to_value(&written).unwrap();
        assert_eq!(serde_json::from_value::<Time>(kept).unwrap(), written);
    }
}
