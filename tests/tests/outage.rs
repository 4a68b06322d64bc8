//! Tests that break the cluster. Each has the cluster alone, and always repairs it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;
use prunella_e2e::{DEPLOYMENT, NAMESPACE, PATIENCE, Room, alone, eventually, restarts, steadily, uid_of};
use testbed::{Fault, Testbed};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_silent_prometheus_is_neither_unhealthy_nor_healthy() -> Result<()> {
    alone("silence", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;

        let testbed = room.ground.testbed;
        testbed.fault("prometheus", Fault::Kill).await?;
        let broken = async {
            room.simulate(unhealthy, "gauge?value=10").await?;
            room.until_condition(POLICY, "Observed", "False", "Unreachable").await?;
            steadily(Duration::from_secs(8), "the outage", async || {
                ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
                let ready = prunella_e2e::condition(&room.policy_now(POLICY).await?, "Ready").map(|one| one.status);
                ensure!(ready.as_deref() == Some("True"), "the outage is attributed to the policy: Ready={ready:?}");
                Ok(())
            })
            .await?;
            ensure!(room.healing_writes()?.is_empty(), "{:#?}", room.healing_writes()?);
            Ok(())
        }
        .await;
        repaired(broken, testbed.start("prometheus").await)?;

        // It recovers by itself.
        room.until_evaluated(POLICY).await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(unhealthy), "{:?}", action.spec.target);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn without_the_controller_nothing_is_healed() -> Result<()> {
    alone("no-controller", async |room| {
        let pods = room.deploy(1).await?;
        let unhealthy = pods.first().context("no pod")?;
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;

        scale(room.ground.testbed, 0).await?;
        let broken = async {
            room.simulate(unhealthy, "gauge?value=10").await?;
            eventually(PATIENCE, "the breach in Prometheus", async || {
                ensure!(!room.ground.ask(&room.gauge_over(5)).await?.is_empty(), "no series");
                Ok(())
            })
            .await?;
            // Twice as long as the controller would need.
            steadily(Duration::from_secs(10), "the episode", async || {
                ensure!(room.pods().await?.iter().map(uid_of).eq([uid_of(unhealthy)]), "the pod is gone");
                Ok(())
            })
            .await
        }
        .await;
        repaired(broken, scale(room.ground.testbed, 1).await)?;

        // A pod that became unhealthy before the controller started is healed as well.
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(unhealthy), "{:?}", action.spec.target);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_leader_that_cannot_renew_its_lease_stands_again_without_a_restart() -> Result<()> {
    alone("lease", async |room| {
        let pods = room.deploy(1).await?;
        let unhealthy = pods.first().context("no pod")?;
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;
        let before = controller_pods(room).await?;

        let testbed = room.ground.testbed;
        testbed.fault("kube-apiserver", Fault::Pause).await?;
        let leads = format!(r#"sum(prunella_leader{{namespace="{NAMESPACE}"}})"#);
        // Prometheus scrapes the controller without the API server.
        let stopped = eventually(PATIENCE, "the leader to stop", async || {
            let now = room.ground.ask(&leads).await?.first().map(|series| series.value);
            ensure!(now.is_some_and(|leaders| leaders < 1.0), "{leads} is {now:?}");
            Ok(())
        })
        .await;
        repaired(stopped, testbed.fault("kube-apiserver", Fault::Resume).await)?;

        let resumed = Instant::now();
        room.simulate(unhealthy, "gauge?value=10").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(unhealthy), "{:?}", action.spec.target);
        eprintln!("healed {:.1?} after the API server's return", resumed.elapsed());
        ensure!(controller_pods(room).await? == before, "the controller was restarted");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_killed_node_is_not_ready_until_it_is_started() -> Result<()> {
    alone("node", async |room| {
        until_node(room, "True").await?;
        let testbed = room.ground.testbed;
        testbed.node_kill("node-2").await?;
        let broken = until_node(room, "Unknown").await;
        repaired(broken, testbed.node_start("node-2").await)?;
        until_node(room, "True").await
    })
    .await
}

/// The controller's pods, each with the number of its restarts.
async fn controller_pods(room: &Room<'_>) -> Result<Vec<(String, i32)>> {
    let pods: Api<Pod> = Api::namespaced(room.ground.client.clone(), NAMESPACE);
    Ok(pods.list(&ListParams::default()).await?.iter().map(|pod| (uid_of(pod), restarts(pod))).collect())
}

/// The result of the test, and of the repair.
fn repaired(broken: Result<()>, repaired: Result<()>) -> Result<()> {
    match (broken, repaired) {
        (broken, Ok(())) => broken,
        (Ok(()), Err(error)) => Err(error.context("cannot repair the cluster")),
        (Err(error), Err(more)) => bail!("{error:#}; and cannot repair the cluster: {more:#}"),
    }
}

/// Sets the number of the controller's pods and waits until it is reached.
async fn scale(testbed: &Testbed, replicas: u8) -> Result<()> {
    let number = format!("--replicas={replicas}");
    testbed.kubectl(&["scale", DEPLOYMENT, "--namespace", NAMESPACE, &number]).await?;
    testbed.kubectl(&["rollout", "status", DEPLOYMENT, "--namespace", NAMESPACE, "--timeout=2m"]).await?;
    if replicas == 0 {
        let pods = ["wait", "--for=delete", "pods", "--all", "--namespace", NAMESPACE, "--timeout=2m"];
        testbed.kubectl(&pods).await?;
    }
    Ok(())
}

async fn until_node(room: &Room<'_>, ready: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(room.ground.client.clone());
    eventually(PATIENCE, &format!("node-2 to have Ready={ready}"), async || {
        let node = nodes.get("node-2").await?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let found = conditions.into_iter().find(|one| one.type_ == "Ready").context("no condition Ready")?;
        ensure!(found.status == ready, "Ready={}: {}", found.status, found.message.unwrap_or_default());
        Ok(())
    })
    .await
}
