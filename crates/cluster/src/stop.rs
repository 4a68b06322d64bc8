//! The stop switches of people, read from the API server right before an effect: holds and
//! opt-outs. A watch may be minutes behind, and somebody who holds healing back at 3 a.m.
//! expects it to stop now.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use prunella_core::target::{Object, OptOut};
use serde::de::DeserializeOwned;

use crate::marks::{NamespaceMarks, longer, opt_out};
use crate::{ClusterError, REQUEST_DEADLINE, within};

/// The stop switches that apply to one action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopSwitches {
    /// Whether the target's namespace, or the controller's own, holds healing back.
    pub held: bool,
    /// The longest opt-out of the target, its workload and its namespace.
    pub opted_out: Option<OptOut>,
}

/// Reads the stop switches of an action on `target`, whose workload is `subject`. All requests
/// are sent at once.
///
/// # Errors
/// When the API server gives no answer: then the action must not go on.
pub async fn stop_switches(
    client: &Client,
    namespace: &str,
    own_namespace: &str,
    target: &Object,
    subject: &Object,
) -> Result<StopSwitches, ClusterError> {
    let own =
        async { if own_namespace == namespace { Ok(None) } else { marks_of_namespace(client, own_namespace).await } };
    let workload =
        async { if subject.uid == target.uid { Ok(None) } else { opt_out_of(client, namespace, subject).await } };
    let (here, own, target, workload) = futures::future::try_join4(
        marks_of_namespace(client, namespace),
        own,
        opt_out_of(client, namespace, target),
        workload,
    )
    .await?;
    let is_held = |marks: &Option<NamespaceMarks>| marks.as_ref().is_some_and(|marks| marks.held.is_some());
    Ok(StopSwitches {
        held: is_held(&here) || is_held(&own),
        // An opt-out on the controller's own namespace is about its own pods only.
        opted_out: longer(longer(target, workload), here.and_then(|marks| marks.opt_out)),
    })
}

async fn marks_of_namespace(client: &Client, name: &str) -> Result<Option<NamespaceMarks>, ClusterError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = within(REQUEST_DEADLINE, namespaces.get_metadata_opt(name)).await?;
    Ok(found.as_ref().and_then(NamespaceMarks::of))
}

async fn opt_out_of(client: &Client, namespace: &str, object: &Object) -> Result<Option<OptOut>, ClusterError> {
    match object.native_kind() {
        "Pod" => read::<Pod>(client, namespace, object).await,
        "Deployment" => read::<Deployment>(client, namespace, object).await,
        "StatefulSet" => read::<StatefulSet>(client, namespace, object).await,
        "DaemonSet" => read::<DaemonSet>(client, namespace, object).await,
        "ReplicaSet" => read::<ReplicaSet>(client, namespace, object).await,
        // The controller has no right to read other kinds.
        _ => Ok(None),
    }
}

async fn read<K>(client: &Client, namespace: &str, object: &Object) -> Result<Option<OptOut>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = within(REQUEST_DEADLINE, api.get_metadata_opt(&object.name)).await?;
    Ok(found.as_ref().and_then(opt_out))
}
