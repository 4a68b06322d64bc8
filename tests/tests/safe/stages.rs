//! What happens can be watched: every stage of an action and of its target is seen by
//! whoever watched from the beginning, in the order of the transition table. And what
//! was decided stays what was decided.

use anyhow::{Context as _, Result, ensure};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_e2e::{PATIENCE, Room, Story, eventually, in_room, uid_of};
use serde_json::{Value, json};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_watch_sees_every_stage_in_its_order() -> Result<()> {
    in_room("stages", async |room| {
        let pods = room.deploy(2).await?;
        let sick = pods.first().context("no pod")?;
        let story = Story::of(room);
        room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
        room.until_judged(POLICY).await?;
        room.simulate(sick, "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;

        let name = action.metadata.name.as_deref().unwrap_or_default();
        let uid = uid_of(sick);
        eventually(PATIENCE, "the watch to show the end", async || {
            let states = story.action_states(name);
            ensure!(states == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{states:?}");
            let states = story.policy(POLICY, |policy| state_of(policy, &uid));
            let expected = ["", "Pending", "Firing", "Acting", "Settling", "Verifying", ""];
            ensure!(states == expected, "{states:?}");
            // The action names its outcome where the policy is looked at, too.
            let outcomes = story.policy(POLICY, newest_outcome);
            ensure!(outcomes == ["none", "under way", "Succeeded"], "{outcomes:?}");
            Ok(())
        })
        .await?;
        nobody_changes(room, &action).await
    })
    .await
}

fn state_of(policy: &HealingPolicy, uid: &str) -> String {
    let sick = policy.status.as_ref().map(|status| status.sick.as_slice()).unwrap_or_default();
    sick.iter().find(|target| target.uid == uid).map(|target| target.state.clone()).unwrap_or_default()
}

fn newest_outcome(policy: &HealingPolicy) -> String {
    let newest = policy.status.as_ref().and_then(|status| status.last_action.as_ref());
    let word = newest.map(|newest| newest.outcome.as_deref().unwrap_or("under way"));
    word.unwrap_or("none").to_owned()
}

/// Not even the cluster's administrator, whom no rule on who may write holds back.
async fn nobody_changes(room: &Room<'_>, action: &HealingAction) -> Result<()> {
    let name = action.metadata.name.as_deref().unwrap_or_default();
    for spec in [
        json!({"mode": "DryRun"}),
        json!({"rung": 2}),
        json!({"startBy": "2099-01-01T00:00:00Z"}),
        json!({"target": {"uid": "another"}}),
        json!({"policy": {"name": "another"}}),
        json!({"evidence": {"value": "0"}}),
        json!({"action": {"deletePod": {"disruption": "Delete"}}}),
    ] {
        let refusal = patched(room, name, &[], &json!({"spec": spec})).await?;
        ensure!(refusal.contains("the spec of a HealingAction never changes"), "{spec}: {refusal:?}");
    }
    let status = json!({"status": {"outcome": "Failed"}});
    let refusal = patched(room, name, &["--subresource=status"], &status).await?;
    ensure!(refusal.contains("written by the prunella controller alone"), "status: {refusal:?}");
    let now = room.actions(POLICY).await?.pop().context("no action")?;
    // Its finalizer goes when it is over.
    ensure!(now.spec == action.spec && now.status == action.status, "the record changed: {now:#?}");
    Ok(())
}

/// What kubectl says to a change that must not be made.
async fn patched(room: &Room<'_>, name: &str, more: &[&str], patch: &Value) -> Result<String> {
    let patch = patch.to_string();
    let mut args = vec!["patch", "healingaction", name, "--type=merge", "--patch", &patch];
    args.extend(more);
    let refusal = room.kubectl(&args).await.err().with_context(|| format!("{patch} was let through"))?;
    Ok(format!("{refusal:#}"))
}
