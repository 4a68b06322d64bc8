//! Pods that must not be healed, or not now, although they are unhealthy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, Story, eventually, in_room, name_of, state, steadily, uid_of};
use serde_json::json;
use testbed::audit::Event;

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_without_a_controller_is_not_healed() -> Result<()> {
    in_room("naked", async |room| {
        let mut pod = room.example("sample-app/deployment.yaml")?["spec"]["template"].take();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("naked");
        room.apply(&pod).await?;
        let pods = room.ready_pods(1).await?;
        let naked = pods.first().context("no pod")?;
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.simulate(naked, "gauge?value=10").await?;

        let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
        ensure!(blocked.message.contains("NoController"), "{}", blocked.message);
        let unhealthy = room.policy_now(POLICY).await?.status.map(|status| status.unhealthy).unwrap_or_default();
        let refused: Vec<_> = unhealthy.iter().map(|one| (one.uid.clone(), one.blocked_by.as_deref())).collect();
        ensure!(refused == [(uid_of(naked), Some("NotHealable"))], "{refused:?}");

        steadily(Duration::from_secs(5), "the refusal", async || {
            ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
            ensure!(room.pods().await?.iter().map(uid_of).eq([uid_of(naked)]), "the pod is gone");
            Ok(())
        })
        .await?;
        let writes = room.healing_writes()?;
        ensure!(writes.is_empty(), "{writes:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_disruption_budget_is_waited_for_and_never_forced() -> Result<()> {
    in_room("budget", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let mut budget = room.example("sample-app/pdb.yaml")?;
        budget["spec"]["maxUnavailable"] = json!(0);
        room.apply(&budget).await?;
        let story = Story::of(room);
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.simulate(unhealthy, "gauge?value=10").await?;

        eventually(PATIENCE, "the action to say what delays it", async || {
            let actions = room.actions(POLICY).await?;
            let action = actions.first().context("no action")?;
            let by = action.status.as_ref().and_then(|status| status.blocked_by.as_deref());
            ensure!(by == Some("DisruptionBudget"), "{}, delayed by {by:?}", state(action));
            Ok(())
        })
        .await?;
        let said = room.until_condition(POLICY, "Blocked", "True", "DisruptionBudget").await?.message;
        let name = budget["metadata"]["name"].as_str().unwrap_or_default();
        let words = format!("The disruption budget {name} needs 2 healthy pods and has 2 currently");
        ensure!(said.contains(&words), "{said}");
        steadily(Duration::from_secs(12), "the pod", async || {
            ensure!(room.ready_pods(2).await?.iter().any(|pod| uid_of(pod) == uid_of(unhealthy)), "it is gone");
            Ok(())
        })
        .await?;
        let refused = room.healing_writes()?;
        ensure!(refused.len() >= 2, "tried {} times in 12 s", refused.len());
        let meant = |name: &str| name == name_of(unhealthy);
        ensure!(
            refused.iter().all(|one| one.response_status.code == 429 && meant(&one.object_ref.name)),
            "{refused:#?}"
        );
        let events = room.events_on(&uid_of(unhealthy)).await?;
        let blocked: Vec<_> = events.iter().filter(|one| one.reason == "Blocked").collect();
        ensure!(matches!(blocked.as_slice(), [one] if one.warning && one.times == 1), "{events:#?}");

        budget["spec"]["maxUnavailable"] = json!(1);
        room.apply(&budget).await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let states = story.action_states(action.metadata.name.as_deref().unwrap_or_default());
        ensure!(states == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{states:?}");
        let done: Vec<_> = room.healing_writes()?.into_iter().filter(Event::succeeded).collect();
        ensure!(done.len() == 1, "{done:#?}");
        Ok(())
    })
    .await
}
