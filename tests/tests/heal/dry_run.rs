//! `DryRun`: everything is decided, and nothing is done but to record it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{in_room, name_of, steadily, uid_of};
use serde_json::json;

const POLICY: &str = "dry";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_dry_run_records_a_sickness_once_and_touches_nothing() -> Result<()> {
    in_room("dry-run", async |room| {
        let pods = room.deploy(2).await?;
        let sick = pods.first().context("no pod")?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["mode"] = json!("DryRun");
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(sick, "gauge?value=10").await?;

        let action = room.until_outcome(POLICY, 1, "DryRun").await?;
        ensure!(action.spec.target.name == name_of(sick), "{:?}", action.spec.target);
        ensure!(action.spec.evidence.value == "10", "{}", action.spec.evidence.value);
        room.until_condition(POLICY, "Blocked", "True", "AlreadyRecorded").await?;

        let uids: Vec<_> = pods.iter().map(uid_of).collect();
        steadily(Duration::from_secs(8), "a sickness that is on record", async || {
            let records = room.actions(POLICY).await?.len();
            ensure!(records == 1, "there are {records} records");
            let now: Vec<_> = room.pods().await?.iter().map(uid_of).collect();
            ensure!(now == uids, "other pods than before");
            Ok(())
        })
        .await?;
        let writes = room.healing_writes()?;
        ensure!(writes.is_empty(), "{writes:#?}");

        for uid in [uid_of(sick), action.spec.policy.uid.clone()] {
            let told = room.told(&uid).await?;
            let mut reasons: Vec<_> = told.iter().map(|one| one.reason.as_str()).collect();
            reasons.dedup();
            ensure!(reasons == ["Pending", "Firing", "DryRun"], "{told:#?}");
        }

        // What was decided stays what was decided.
        let patch = json!({"spec": {"rung": 2}}).to_string();
        let name = action.metadata.name.as_deref().unwrap_or_default();
        let changed = room.kubectl(&["patch", "healingaction", name, "--type=merge", "--patch", &patch]).await;
        let refusal = changed.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refusal.contains("the spec of a HealingAction never changes"), "{refusal:?}");
        Ok(())
    })
    .await
}
