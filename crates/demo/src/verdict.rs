//! Was it right? What is compared is the world before the fault and after the heal.

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

/// Its records and status, its Events, its Lease.
const OWN_GROUPS: [&str; 3] = ["prunella.dev", "events.k8s.io", "coordination.k8s.io"];

/// The world at one moment.
#[derive(Debug)]
pub(crate) struct World {
    /// The sample app's pods by name.
    pub(crate) pods: BTreeMap<String, Seen>,
    /// All other pods of the namespace.
    bystanders: BTreeMap<String, Seen>,
    /// The app's Deployment.
    pub(crate) deployment: Shape,
    /// The actions by name, and whether they expired before they were begun.
    pub(crate) actions: BTreeMap<String, bool>,
    /// What the controller asked of the API server to change, apart from what is its
    /// own; `None` where the request log cannot be read.
    writes: Option<Vec<Write>>,
}

/// A change that was asked for.
#[derive(Debug)]
struct Write {
    /// `verb resource/subresource name`.
    what: String,
    /// Whether it was made.
    granted: bool,
}

/// What makes a pod another one, or shows that it was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) restarts: i32,
}

impl Seen {
    /// A pod as it is.
    pub(crate) fn of(pod: &Pod) -> Self {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        let restarts = statuses.unwrap_or_default().iter().map(|container| container.restart_count).sum();
        Self { uid: pod.uid().unwrap_or_default(), restarts }
    }
}

/// What is wanted of a Deployment, as far as it is healed by a change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) uid: String,
    pub(crate) replicas: i32,
    /// The action that restarted it last.
    pub(crate) restarted_by: Option<String>,
}

impl Shape {
    /// A Deployment as it is wanted.
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

/// Looks at the world.
///
/// # Errors
/// When the API server does not say.
pub(crate) async fn look(ground: &Ground) -> Result<World> {
    let api: Api<Pod> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let mut pods = api.list(&ListParams::default()).await.context("cannot list the pods")?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    let (pods, bystanders) = pods.into_iter().partition::<Vec<_>, _>(is_of_app);
    let seen = |pods: Vec<Pod>| pods.iter().map(|pod| (pod.name_any(), Seen::of(pod))).collect();
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let deployment = deployments.get(APP).await.context("cannot look at the sample app")?;
    let actions: Api<HealingAction> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let actions = actions.list(&ListParams::default()).await.context("cannot list the HealingActions")?;
    Ok(World {
        pods: seen(pods),
        bystanders: seen(bystanders),
        deployment: Shape::of(&deployment),
        actions: actions.items.iter().map(|action| (action.name_any(), expired(action))).collect(),
        writes: writes(ground)?,
    })
}

/// Whether an action could not be begun before its evidence was stale, as on a machine
/// that is very busy: it had no effect, and is decided anew.
pub(crate) fn expired(action: &HealingAction) -> bool {
    action.status.as_ref().is_some_and(|status| status.outcome.as_deref() == Some("Expired"))
}

/// Whether a pod is one of the sample app's.
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

/// Checks that one action was taken, by one write, and that nothing was touched but what
/// it had to touch.
///
/// # Errors
/// The first thing that is not so.
pub(crate) async fn check(
    ground: &Ground,
    console: &Console,
    policy: &Policy,
    before: &World,
    healed: &Healed,
) -> Result<()> {
    let after = look(ground).await?;
    let (remedy, sick) = (policy.remedy, healed.pod.as_str());
    for (name, was) in &before.pods {
        match after.pods.get(name) {
            Some(_) if remedy.replaces(name, sick) => bail!("{name} was to be replaced and is still there"),
            None if !remedy.replaces(name, sick) => bail!("{name} was not to be touched and is gone"),
            Some(is) if is != was => bail!("{name} was not to be touched and was replaced or restarted"),
            _ => {}
        }
    }
    let wanted = before.pods.len() + remedy.adds();
    ensure!(after.pods.len() == wanted, "there are {} pods where {wanted} are due", after.pods.len());
    ensure!(after.bystanders == before.bystanders, "pods of another app were replaced or restarted");
    let new = after.actions.iter().filter(|(name, expired)| !before.actions.contains_key(*name) && !**expired).count();
    ensure!(new == 1, "{new} actions were taken where one was due");
    let kept = before.pods.keys().filter(|name| !remedy.replaces(name, sick)).count();
    console.say(&match kept {
        0 => format!("all {wanted} pods are new, and those of other apps the same"),
        kept => format!("the other {kept} pods are the same, without a restart"),
    });

    if let (Some(before), Some(after)) = (&before.writes, &after.writes) {
        let new = after.get(before.len()..).unwrap_or_default();
        let due = remedy.request(sick);
        // What a busy API server did not get done in time had no effect, and is asked again.
        let once = new.iter().filter(|write| write.granted).count() == 1;
        let only = new.iter().all(|write| write.what == due);
        ensure!(once && only, "the controller asked the API server for {new:?}, where {due} was due");
        console.say(&format!("all that the controller changed of others, by the API server's request log: {due}"));
    }
    Ok(())
}
