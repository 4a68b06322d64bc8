//! A controller that starts before its `CustomResourceDefinition`s exist says what it waits for,
//! waits, and starts to work when they are applied, without a restart.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use prunella_e2e::{DEPLOYMENT, NAMESPACE, PATIENCE, Room, alone, eventually, repository, restarts, uid_of};
use testbed::Testbed;

const POLICY: &str = "gauge";
const PODS: &str = "app.kubernetes.io/component=controller";
const KINDS: [&str; 3] =
    ["healingpolicies.prunella.dev", "healingactions.prunella.dev", "clusterprometheussources.prunella.dev"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn kinds_that_are_applied_late_are_waited_for() -> Result<()> {
    alone("late", async |room| {
        let testbed = room.ground.testbed;
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let waited = without_kinds(room, testbed).await;
        let (crds, source) = (path("crds"), path("examples/source.yaml"));
        testbed.kubectl(&["apply", "--server-side", "--kustomize", &crds]).await?;
        eventually(PATIENCE, "the source's kind to be served", async || {
            testbed.kubectl(&["apply", "--filename", &source]).await.map(drop)
        })
        .await?;
        let controller = waited?;

        eventually(PATIENCE, "the policies' kind to be served", async || {
            room.apply(&room.policy(POLICY, &room.gauge_over(5))).await
        })
        .await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(unhealthy));
        let now = the_controller(room).await?;
        ensure!(uid_of(&now) == uid_of(&controller), "it is another pod");
        ensure!(restarts(&now) == 0, "restarted {} times", restarts(&now));
        Ok(())
    })
    .await
}

/// A new pod of the controller, while none of its kinds exists.
async fn without_kinds(room: &Room<'_>, testbed: &Testbed) -> Result<Pod> {
    let mut delete = vec!["delete", "customresourcedefinitions", "--timeout=1m"];
    delete.extend(KINDS);
    testbed.kubectl(&delete).await?;
    testbed.kubectl(&["delete", "pods", "--namespace", NAMESPACE, "--selector", PODS]).await?;
    eventually(PATIENCE, "the controller to say what it waits for", async || {
        let log = testbed.kubectl(&["logs", "--namespace", NAMESPACE, DEPLOYMENT, "--tail=200"]).await?;
        for kind in ["kind=\"HealingAction\"", "controller=\"source\""] {
            let line =
                log.lines().find(|line| line.contains(kind) && line.contains("apply the CustomResourceDefinitions"));
            println!("{}", line.with_context(|| format!("no line about {kind} with the fix: {log}"))?);
        }
        Ok(())
    })
    .await?;
    the_controller(room).await
}

async fn the_controller(room: &Room<'_>) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(room.ground.client.clone(), NAMESPACE);
    let mut pods = pods.list(&ListParams::default().labels(PODS)).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    ensure!(pods.len() == 1, "there are {} pods of the controller", pods.len());
    pods.pop().context("no controller")
}

fn path(path: &str) -> String {
    repository(path).display().to_string()
}
