//! Was it right? What is compared is the world before the fault and after the heal.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use prunella_api::HealingAction;

use crate::console::Console;
use crate::ground::{CONTROLLER, Ground, NAMESPACE};
use crate::heal::Healed;

/// Its records and status, its Events, its Lease.
const OWN_GROUPS: [&str; 3] = ["prunella.dev", "events.k8s.io", "coordination.k8s.io"];

/// The world at one moment.
#[derive(Debug)]
pub(crate) struct World {
    /// The sample app's pods by name, with uid and restarts.
    pub(crate) pods: BTreeMap<String, (String, i32)>,
    /// The actions by name, with the target's uid.
    actions: BTreeMap<String, String>,
    /// What the controller asked of the API server to change, apart from what is its
    /// own; `None` where the request log cannot be read.
    writes: Option<Vec<String>>,
}

/// Looks at the world.
///
/// # Errors
/// When the API server does not say.
pub(crate) async fn look(ground: &Ground) -> Result<World> {
    let pods: Api<Pod> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let pods = pods.list(&ListParams::default().labels("app=sample-app")).await.context("cannot list the pods")?;
    let actions: Api<HealingAction> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let actions = actions.list(&ListParams::default()).await.context("cannot list the HealingActions")?;
    Ok(World {
        pods: pods
            .items
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| (pod.name_any(), (pod.uid().unwrap_or_default(), restarts(pod))))
            .collect(),
        actions: actions.items.iter().map(|action| (action.name_any(), action.spec.target.uid.clone())).collect(),
        writes: writes(ground)?,
    })
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|container| container.restart_count).sum()
}

fn writes(ground: &Ground) -> Result<Option<Vec<String>>> {
    let Some(testbed) = &ground.testbed else { return Ok(None) };
    let asked = testbed.audit()?.filter(|event| {
        let own = OWN_GROUPS.contains(&event.object_ref.api_group.as_str());
        event.user.username == CONTROLLER && event.is_write() && !own
    });
    let told = asked.map(|event| {
        let object = event.object_ref;
        let resource = [object.resource, object.subresource].into_iter().filter(|part| !part.is_empty());
        format!("{} {} {}", event.verb, resource.collect::<Vec<_>>().join("/"), object.name)
    });
    Ok(Some(told.collect()))
}

/// Checks that the sick pod was replaced by one action and one write, and that no
/// other pod was touched.
///
/// # Errors
/// The first thing that is not so.
pub(crate) async fn check(ground: &Ground, console: &Console, before: &World, healed: &Healed) -> Result<()> {
    let after = look(ground).await?;
    for (name, was) in &before.pods {
        match after.pods.get(name) {
            Some(_) if *name == healed.pod => bail!("the sick pod {name} is still there"),
            None if *name != healed.pod => bail!("{name} was not sick and is gone"),
            Some(is) if is != was => bail!("{name} was not sick and was replaced or restarted"),
            _ => {}
        }
    }
    let new: Vec<_> = after.actions.iter().filter(|(name, _)| !before.actions.contains_key(*name)).collect();
    ensure!(new.len() == 1, "{} actions were taken where one was due", new.len());
    console.say(&format!("the other {} pods are the same, without a restart", before.pods.len() - 1));

    if let (Some(before), Some(after)) = (&before.writes, &after.writes) {
        let new = after.get(before.len()..).unwrap_or_default();
        let wanted = format!("create pods/eviction {}", healed.pod);
        ensure!(
            new == [wanted.as_str()],
            "the controller asked the API server for {new:?}, where one eviction was due"
        );
        console.say(&format!("all that the controller changed of others, by the API server's request log: {wanted}"));
    }
    Ok(())
}
