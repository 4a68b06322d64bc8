//! Checks the result: compares the state before the fault with the state after the heal.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, RESTARTED_BY_ANNOTATION};

use crate::console::Console;
use crate::ground::{APP, CONTROLLER, Ground, NAMESPACE};
use crate::heal::Healed;
use crate::policies::Policy;

/// The API groups of the controller's records and status, its Events and its Lease.
const OWN_GROUPS: [&str; 3] = ["prunella.dev", "events.k8s.io", "coordination.k8s.io"];

/// The state at one moment.
#[derive(Debug)]
pub(crate) struct World {
    /// The sample app's pods by name.
    pub(crate) pods: BTreeMap<String, Seen>,
    /// All other pods of the namespace.
    other_pods: BTreeMap<String, Seen>,
    /// The app's Deployment.
    pub(crate) deployment: Shape,
    /// The actions by name, and whether they expired before they started.
    pub(crate) actions: BTreeMap<String, bool>,
    /// The controller's write requests, except those for its own objects. `None`: there is no
    /// request log.
    writes: Option<Vec<Write>>,
}

/// A write request.
#[derive(Debug)]
struct Write {
    /// `verb resource/subresource name`.
    what: String,
    /// Whether it succeeded.
    granted: bool,
}

/// What identifies a pod, and shows that it was restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) restarts: i32,
}

impl Seen {
    /// Of a pod.
    pub(crate) fn of(pod: &Pod) -> Self {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        let restarts = statuses.unwrap_or_default().iter().map(|container| container.restart_count).sum();
        Self { uid: pod.uid().unwrap_or_default(), restarts }
    }
}

/// The parts of a Deployment that actions change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) uid: String,
    pub(crate) replicas: i32,
    /// The uid of the action that restarted it last.
    pub(crate) restarted_by: Option<String>,
}

impl Shape {
    /// Of a Deployment.
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let template = spec.and_then(|spec| spec.template.metadata.as_ref());
        let annotations = template.and_then(|template| template.annotations.as_ref());
        Self {
            uid: deployment.uid().unwrap_or_default(),
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            restarted_by: annotations.and_then(|all| all.get(RESTARTED_BY_ANNOTATION)).cloned(),
        }
    }
}

/// Reads the state.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn look(ground: &Ground) -> Result<World> {
    let api: Api<Pod> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let mut pods = api.list(&ListParams::default()).await.context("cannot list the pods")?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    let (pods, other_pods) = pods.into_iter().partition::<Vec<_>, _>(is_of_app);
    let seen = |pods: Vec<Pod>| pods.iter().map(|pod| (pod.name_any(), Seen::of(pod))).collect();
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let deployment = deployments.get(APP).await.context("cannot read the Deployment of the sample app")?;
    let actions: Api<HealingAction> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let actions = actions.list(&ListParams::default()).await.context("cannot list the HealingActions")?;
    Ok(World {
        pods: seen(pods),
        other_pods: seen(other_pods),
        deployment: Shape::of(&deployment),
        actions: actions.items.iter().map(|action| (action.name_any(), expired(action))).collect(),
        writes: writes(ground)?,
    })
}

/// Whether an action did not start before its evidence was too old, for example on a busy
/// machine. It had no effect, and the controller decides again.
pub(crate) fn expired(action: &HealingAction) -> bool {
    action.status.as_ref().is_some_and(|status| status.outcome.as_deref() == Some("Expired"))
}

/// Whether a pod belongs to the sample app.
pub(crate) fn is_of_app(pod: &Pod) -> bool {
    pod.labels().get("app").is_some_and(|app| app == APP)
}

fn writes(ground: &Ground) -> Result<Option<Vec<Write>>> {
    let Some(testbed) = &ground.testbed else { return Ok(None) };
    let asked = testbed.audit()?.filter(|event| {
        let own = OWN_GROUPS.contains(&event.object_ref.api_group.as_str());
        event.user.username == CONTROLLER && event.is_write() && !own
    });
    let writes = asked.map(|event| {
        let granted = event.succeeded();
        let object = event.object_ref;
        let resource = [object.resource, object.subresource].into_iter().filter(|part| !part.is_empty());
        let what = format!("{} {} {}", event.verb, resource.collect::<Vec<_>>().join("/"), object.name);
        Write { what, granted }
    });
    Ok(Some(writes.collect()))
}

/// Checks that one action was taken, with one write, and that nothing else was changed.
///
/// # Errors
/// The first difference.
pub(crate) async fn check(
    ground: &Ground,
    console: &Console,
    policy: &Policy,
    before: &World,
    healed: &Healed,
) -> Result<()> {
    let after = look(ground).await?;
    let (remedy, unhealthy) = (policy.remedy, healed.pod.as_str());
    for (name, was) in &before.pods {
        match after.pods.get(name) {
            Some(_) if remedy.replaces(name, unhealthy) => bail!("{name} was not replaced"),
            None if !remedy.replaces(name, unhealthy) => {
                bail!("{name} was removed, but should not have been touched")
            }
            Some(is) if is != was => {
                bail!("{name} was replaced or restarted, but should not have been touched")
            }
            _ => {}
        }
    }
    let wanted = before.pods.len() + remedy.adds();
    ensure!(after.pods.len() == wanted, "there are {} pods, expected {wanted}", after.pods.len());
    ensure!(after.other_pods == before.other_pods, "pods of another app were replaced or restarted");
    let new = after.actions.iter().filter(|(name, expired)| !before.actions.contains_key(*name) && !**expired).count();
    ensure!(new == 1, "{new} actions were taken, expected one");
    let kept = before.pods.keys().filter(|name| !remedy.replaces(name, unhealthy)).count();
    console.say(&match kept {
        0 => format!("all {wanted} pods were replaced; pods of other apps were not touched"),
        kept => format!("the other {kept} pods were neither replaced nor restarted"),
    });

    if let (Some(before), Some(after)) = (&before.writes, &after.writes) {
        let new = after.get(before.len()..).unwrap_or_default();
        let due = remedy.request(unhealthy);
        // A write that a busy API server did not finish in time had no effect and is repeated.
        let once = new.iter().filter(|write| write.granted).count() == 1;
        let only = new.iter().all(|write| write.what == due);
        ensure!(once && only, "the controller sent {new:?}, expected {due} once");
        console.say(&format!("the only change of a workload in the API server's request log: {due}"));
    }
    Ok(())
}
