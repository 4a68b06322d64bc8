//! Writes to the project's own objects: one request each, under a deadline.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use prunella_api::FIELD_MANAGER;
use prunella_cluster::{ClusterError, within};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// How long one write may take: what is left of the lease, by default, when the leader
/// stops acting. So whoever began it in time has given it up before another one leads.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

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
