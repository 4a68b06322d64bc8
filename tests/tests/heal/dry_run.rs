//! `DryRun`: decisions are recorded and nothing is changed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{in_room, name_of, steadily, uid_of};
use serde_json::json;

const POLICY: &str = "dry";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_dry_run_records_an_episode_once_and_touches_nothing() -> Result<()> {
    in_room("dry-run", async |room| {
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["mode"] = json!("DryRun");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=10").await?;

        let action = room.until_outcome(POLICY, 1, "DryRun").await?;
        ensure!(action.spec.target.name == name_of(unhealthy), "{:?}", action.spec.target);
        let evidence = action.spec.evidence.promql.as_ref().context("no evidence")?;
        ensure!(evidence.value == "10", "{evidence:?}");
        room.until_condition(POLICY, "Blocked", "True", "AlreadyRecorded").await?;

        let uids: Vec<_> = pods.iter().map(uid_of).collect();
        steadily(Duration::from_secs(8), "an episode that is recorded", async || {
            let records = room.actions(POLICY).await?.len();
            ensure!(records == 1, "there are {records} records");
            let now: Vec<_> = room.pods().await?.iter().map(uid_of).collect();
            ensure!(now == uids, "the pods are not the same");
            Ok(())
        })
        .await?;
        let writes = room.healing_writes()?;
        ensure!(writes.is_empty(), "{writes:#?}");

        for uid in [uid_of(unhealthy), action.spec.policy.uid.clone()] {
            let events = room.events_on(&uid).await?;
            let mut reasons: Vec<_> = events.iter().map(|one| one.reason.as_str()).collect();
            reasons.dedup();
            ensure!(reasons == ["Firing", "DryRun"], "{events:#?}");
        }

        // The record of a decision cannot be changed.
        let patch = json!({"spec": {"step": "another"}}).to_string();
        let name = action.metadata.name.as_deref().unwrap_or_default();
        let changed = room.kubectl(&["patch", "healingaction", name, "--type=merge", "--patch", &patch]).await;
        let refusal = changed.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refusal.contains("the spec of a HealingAction never changes"), "{refusal:?}");
        Ok(())
    })
    .await
}
