//! A watch sees every state of an action and of its target, in the order of the transition table.
//! And the record of a decision cannot be changed.

use anyhow::{Context as _, Result, ensure};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_e2e::{PATIENCE, Room, Story, eventually, in_room, uid_of};
use serde_json::{Value, json};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_watch_sees_every_state_in_order() -> Result<()> {
    in_room("states", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let story = Story::of(room);
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;

        let name = action.metadata.name.as_deref().unwrap_or_default();
        let uid = uid_of(unhealthy);
        eventually(PATIENCE, "the watch to show the outcome", async || {
            let states = story.action_states(name);
            ensure!(states == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{states:?}");
            let states = story.policy(POLICY, |policy| state_of(policy, &uid));
            let expected = ["", "Pending", "Firing", "Acting", "Settling", "Verifying", ""];
            ensure!(states == expected, "{states:?}");
            // The policy's status shows the outcome as well.
            let outcomes = story.policy(POLICY, newest_outcome);
            ensure!(outcomes == ["none", "in flight", "Succeeded"], "{outcomes:?}");
            Ok(())
        })
        .await?;
        nobody_can_change(room, &action).await
    })
    .await
}

fn state_of(policy: &HealingPolicy, uid: &str) -> String {
    let unhealthy = policy.status.as_ref().map(|status| status.unhealthy.as_slice()).unwrap_or_default();
    unhealthy.iter().find(|target| target.uid == uid).map(|target| target.state.clone()).unwrap_or_default()
}

fn newest_outcome(policy: &HealingPolicy) -> String {
    let newest = policy.status.as_ref().and_then(|status| status.last_action.as_ref());
    let word = newest.map(|newest| newest.outcome.as_deref().unwrap_or("in flight"));
    word.unwrap_or("none").to_owned()
}

/// Not even the cluster's administrator, who has all rights.
async fn nobody_can_change(room: &Room<'_>, action: &HealingAction) -> Result<()> {
    let name = action.metadata.name.as_deref().unwrap_or_default();
    for spec in [
        json!({"mode": "DryRun"}),
        json!({"step": "another"}),
        json!({"stepNumber": 2}),
        json!({"startBy": "2099-01-01T00:00:00Z"}),
        json!({"target": {"uid": "another"}}),
        json!({"policy": {"digest": "another"}}),
        json!({"evidence": {"promql": {"value": "0"}}}),
        json!({"action": {"deletePod": {"disruption": "Delete"}}}),
    ] {
        let refusal = patched(room, name, &[], &json!({"spec": spec})).await?;
        ensure!(refusal.contains("the spec of a HealingAction never changes"), "{spec}: {refusal:?}");
    }
    let status = json!({"status": {"outcome": "Failed"}});
    let refusal = patched(room, name, &["--subresource=status"], &status).await?;
    ensure!(refusal.contains("written by the prunella controller alone"), "status: {refusal:?}");
    let now = room.actions(POLICY).await?.pop().context("no action")?;
    // Its finalizer may be removed meanwhile.
    ensure!(now.spec == action.spec && now.status == action.status, "the record changed: {now:#?}");
    Ok(())
}

/// The error of a change that must be refused.
async fn patched(room: &Room<'_>, name: &str, more: &[&str], patch: &Value) -> Result<String> {
    let patch = patch.to_string();
    let mut args = vec!["patch", "healingaction", name, "--type=merge", "--patch", &patch];
    args.extend(more);
    let refusal = room.kubectl(&args).await.err().with_context(|| format!("{patch} was accepted"))?;
    Ok(format!("{refusal:#}"))
}
