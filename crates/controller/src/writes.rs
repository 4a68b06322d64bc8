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

/// How long one write may take: what is left of the lease, by default, when the leader
/// stops acting. So whoever began it in time has given it up before another one leads.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// An instant as the API keeps it, so that what is read back equals what was written: else
/// each object would be taken for another than the one that was written, and both be kept.
pub(crate) fn stamp(now: Timestamp) -> Time {
    whole_seconds(now).into()
}

/// Applies a whole status by server-side apply: what is left out is taken away.
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
    fn a_time_is_read_back_as_it_was_written() {
        let written = stamp("2026-11-21T10:00:00.123456789Z".parse().unwrap());
        let kept = serde_json::to_value(&written).unwrap();
        assert_eq!(serde_json::from_value::<Time>(kept).unwrap(), written);
    }
}
