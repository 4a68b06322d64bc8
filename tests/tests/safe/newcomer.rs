//! The pod that replaces a healed pod.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{Room, uid_of};

/// Waits until the app has this number of ready pods. Returns the pod that is not known.
///
/// # Errors
/// When that takes too long.
pub(crate) async fn newcomer(room: &Room<'_>, count: usize, known: &[Pod]) -> Result<Pod> {
    let pods = room.ready_pods(count).await?;
    let known: Vec<_> = known.iter().map(uid_of).collect();
    pods.into_iter().find(|pod| !known.contains(&uid_of(pod))).context("every pod is known")
}
