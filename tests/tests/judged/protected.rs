//! Pods that are not healed, whatever the query returns: the controller itself, and
//! system-critical pods unless the policy allows them.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use prunella_api::HealingPolicy;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, condition, eventually, in_room, name_of};
use serde_json::json;

use crate::app::{self, APP, DEPLOYMENT, done, manifest, nothing_more, ready_pods, until_returned};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn system_critical_pods_are_not_healed_unless_the_policy_allows_it() -> Result<()> {
    in_room("critical", async |room| {
        let mut critical = manifest(room, DEPLOYMENT, APP, 1)?;
        critical["spec"]["template"]["spec"]["priorityClassName"] = json!("system-cluster-critical");
        room.apply(&critical).await?;
        until_returned(room, &format!(r#"sample_app_gauge{{namespace="{}"}}"#, room.name()), 1).await?;
        let unhealthy = ready_pods(room, APP, 1).await?.swap_remove(0);
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
        ensure!(blocked.message.contains("SystemCritical"), "{}", blocked.message);
        nothing_more(room, 0).await?;

        policy["spec"]["target"]["systemCritical"] = json!(true);
        room.apply(&policy).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&unhealthy))], "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_controller_does_not_heal_itself() -> Result<()> {
    in_room("itself", async |room| {
        let client = &room.ground.client;
        let policies: Api<HealingPolicy> = Api::namespaced(client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let own = || async {
            let all = pods.list(&ListParams::default().labels(SELECTOR)).await?;
            Ok::<_, kube::Error>(all.items.iter().map(name_of).collect::<Vec<_>>())
        };
        let before = own().await?;
        // This namespace stays after the test, so the policy is deleted.
        let name = room.name();
        let policy = itself(room);
        room.ground.testbed.apply(&policy.to_string()).await?;
        let held = eventually(PATIENCE, "the controller's own pod to be held back", async || {
            let policy = policies.get(name).await?;
            let blocked = condition(&policy, "Blocked").context("no condition Blocked")?;
            ensure!(blocked.reason == "NotHealable" && blocked.message.contains("OwnPod"), "{blocked:?}");
            Ok(())
        })
        .await;
        let after = own().await?;
        policies.delete(name, &kube::api::DeleteParams::default()).await?;
        held?;
        ensure!(before == after, "{before:?} became {after:?}");
        Ok(())
    })
    .await
}

const SELECTOR: &str = "app.kubernetes.io/name=prunella";

/// A policy for which the controller is always unhealthy.
fn itself(room: &Room<'_>) -> serde_json::Value {
    let query = format!(r#"prunella_leader{{namespace="{NAMESPACE}"}} >= 0"#);
    let mut policy = app::policy(room, room.name(), &query);
    policy["metadata"]["namespace"] = json!(NAMESPACE);
    policy["spec"]["target"]["selector"]["matchLabels"] = json!({"app.kubernetes.io/name": "prunella"});
    policy
}
