//! What comes a second time, or late: a policy with the same mistake, a source after its policy, a
//! new process.

use std::time::Duration;

use anyhow::{Result, ensure};
use prunella_e2e::{NAMESPACE, PATIENCE, Room, alone, eventually, in_room, name_of, steadily};
use serde_json::json;

use crate::source::Source;

const POLICY: &str = "gauge";
const CONTROLLER: &str = "app.kubernetes.io/component=controller";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_policy_that_is_created_again_with_the_same_mistake_gets_a_status_again() -> Result<()> {
    in_room("again", async |room| {
        let policy = room.policy(POLICY, &format!("up{{namespace={:?}}}", room.name()));
        for _ in 0..3 {
            room.apply(&policy).await?;
            room.until_condition(POLICY, "Ready", "False", "NoComparison").await?;
            room.kubectl(&["delete", "healingpolicy", POLICY]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_policy_is_evaluated_as_soon_as_its_source_is_created() -> Result<()> {
    in_room("late-source", async |room| {
        room.deploy(1).await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["interval"] = json!("1h");
        policy["spec"]["steps"][0]["verify"] = json!({"within": "3h"});
        policy["spec"]["condition"]["promql"]["source"] = json!({"name": format!("{}-late", room.name())});
        room.apply(&policy).await?;
        room.until_condition(POLICY, "Ready", "False", "SourceNotReady").await?;
        let _source = Source::new(room, "late").await?;
        room.until_condition(POLICY, "Ready", "True", "Evaluating").await?;
        Ok(())
    })
    .await
}

/// Several quiet policies, one of which healed a pod before. The controller is killed three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_new_controller_starts_nothing_because_it_is_new() -> Result<()> {
    alone("new-process", async |room| {
        let pods = room.deploy(2).await?;
        let names: Vec<String> = (1..=5).map(|number| format!("{POLICY}-{number}")).collect();
        for name in &names {
            // Only the first one sees the fault.
            let limit = if *name == names[0] { 5 } else { 50 };
            room.apply(&room.policy(name, &room.gauge_over(limit))).await?;
            room.until_evaluated(name).await?;
        }
        room.simulate(&pods[0], "gauge?value=9").await?;
        room.until_outcome(&names[0], 1, "Succeeded").await?;
        let healed = room.healing_writes()?;
        ensure!(healed.len() == 1 && healed[0].object_ref.name == name_of(&pods[0]), "{healed:#?}");
        for _ in 0..3 {
            restart_controller(room).await?;
            steadily(Duration::from_secs(10), "nothing to be started", async || {
                ensure!(room.healing_writes()?.len() == 1, "{:#?}", room.healing_writes()?);
                for name in &names {
                    let records = room.actions(name).await?.len();
                    ensure!(records == usize::from(*name == names[0]), "{name} has {records} records");
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await
}

/// Kills the controller's pod, and waits until another one is ready.
async fn restart_controller(room: &Room<'_>) -> Result<()> {
    let testbed = room.ground.testbed;
    let pods = ["delete", "pods", "--selector", CONTROLLER, "--namespace", NAMESPACE, "--grace-period=0", "--force"];
    testbed.kubectl(&pods).await?;
    eventually(PATIENCE, "a new controller", async || {
        let wait = ["wait", "pod", "--selector", CONTROLLER, "--namespace", NAMESPACE, "--for=condition=Ready"];
        testbed.kubectl(&[&wait[..], &["--timeout=5s"]].concat()).await.map(drop)
    })
    .await
}
