//! A pod that replaces another of the same name is not unhealthy because of the earlier pod's
//! samples.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, condition, eventually, in_room, name_of, uid_of};
use serde_json::{Value, json};

use crate::app::{self, APP, STATEFUL_SET, deploy, done, manifest, nothing_more, ready_pods, status, until_returned};

const POLICY: &str = "jumps";
const SET: &str = "web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_replacement_is_not_unhealthy_because_of_the_samples_before_it() -> Result<()> {
    in_room("replacement", async |room| {
        let mut set = manifest(room, STATEFUL_SET, SET, 2)?;
        set["spec"]["serviceName"] = json!(SET);
        room.apply(&set).await?;
        let others = deploy(room, APP, 2).await?;
        until_returned(room, &increase(room, ".*"), 4).await?;
        let pods = ready_pods(room, SET, 2).await?;
        room.apply(&policy(room)).await?;
        room.until_evaluated(POLICY).await?;
        // A pod of a Deployment, whose name is never reused, has the same fault. It shows that
        // the policy works.
        for unhealthy in [&pods[1], &others[0]] {
            room.simulate(unhealthy, "gauge?value=9").await?;
        }
        until_returned(room, &increased(room, "web-1"), 1).await?;

        room.kubectl(&["delete", "pod", "web-1"]).await?;
        let replacement = until_replaced(room, &pods[1]).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;
        nothing_more(room, 1).await?;
        until_returned(room, &increased(room, "web-1"), 1).await?;
        ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&others[0]))]);
        let now = ready_pods(room, SET, 2).await?;
        ensure!(uid_of(&now[1]) == uid_of(&replacement), "the replacement is gone");

        let policy = room.policy_now(POLICY).await?;
        let status = status(room, POLICY).await?;
        ensure!(!status.unhealthy.iter().any(|unhealthy| unhealthy.name == "web-1"), "{:?}", status.unhealthy);
        let observed = condition(&policy, "Observed").context("no condition")?;
        ensure!(observed.status == "True", "{}: {}", observed.reason, observed.message);
        let events = room.events_on(&uid_of(&replacement)).await?;
        ensure!(events.is_empty(), "{events:#?}");
        Ok(())
    })
    .await
}

/// Like a query for restarts: an increase over five minutes, without a uid that would tell two pods
/// of the same name apart.
fn policy(room: &Room<'_>) -> Value {
    let mut policy = app::policy(room, POLICY, &increased(room, ".*"));
    let spec = &mut policy["spec"];
    spec["target"]["selector"] = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": [APP, SET]}]});
    spec["steps"][0]["verify"]["within"] = json!("6m");
    spec["limits"]["maxConcurrent"] = json!(5);
    policy
}

fn increase(room: &Room<'_>, pods: &str) -> String {
    format!(r#"increase(sample_app_gauge{{namespace="{}", pod=~"{pods}"}}[5m])"#, room.name())
}

fn increased(room: &Room<'_>, pods: &str) -> String {
    format!("{} > 0", increase(room, pods))
}

async fn until_replaced(room: &Room<'_>, earlier: &Pod) -> Result<Pod> {
    eventually(PATIENCE, "another pod of the same name", async || {
        let pod = ready_pods(room, SET, 2).await?.pop().context("no pod")?;
        ensure!(uid_of(&pod) != uid_of(earlier), "it is still the earlier pod");
        Ok(pod)
    })
    .await
}
