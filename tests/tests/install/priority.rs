//! The controller's pod has priority over ordinary pods, but preempts none.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use prunella_e2e::{NAMESPACE, in_room};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_controller_has_priority_over_ordinary_pods_and_preempts_none() -> Result<()> {
    in_room("priority", async |room| {
        let ordinary = room.deploy(1).await?.pop().and_then(|pod| pod.spec?.priority).context("no priority")?;
        let pods: Api<Pod> = Api::namespaced(room.ground.client.clone(), NAMESPACE);
        let pods = pods.list(&ListParams::default().labels("app.kubernetes.io/component=controller")).await?;
        let spec = pods.items.into_iter().next().and_then(|pod| pod.spec).context("no controller")?;
        ensure!(spec.priority > Some(ordinary), "{:?}, other pods have {ordinary}", spec.priority);
        ensure!(spec.preemption_policy.as_deref() == Some("Never"), "{:?}", spec.preemption_policy);
        Ok(())
    })
    .await
}
