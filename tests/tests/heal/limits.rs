//! The guardrails from a policy's limits.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use prunella_api::HealingAction;
use prunella_e2e::{Room, Story, in_room, name_of, steadily, uid_of};
use serde_json::json;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn two_are_healed_one_after_the_other_and_a_third_is_one_too_many() -> Result<()> {
    in_room("limits", async |room| {
        // At most half of the pods are unhealthy at once.
        let pods = room.deploy(4).await?;
        let [first, second, third, _] = pods.as_slice() else { unreachable!("four pods are ready") };
        let mut policy = room.policy("gauge", &room.gauge_over(5));
        policy["spec"]["limits"]["maxActions"]["count"] = json!(2);
        let story = Story::of(room);
        room.apply(&policy).await?;
        room.until_evaluated("gauge").await?;

        tokio::try_join!(room.simulate(first, "gauge?value=10"), room.simulate(second, "gauge?value=10"))?;
        room.until_condition("gauge", "Blocked", "True", "MaxConcurrent").await?;
        let spent = room.until_outcome("gauge", 1, "Succeeded").await?;
        room.until_outcome("gauge", 2, "Succeeded").await?;
        ensure!(story.most_at_once("gauge") == 1, "{} were in flight at the same time", story.most_at_once("gauge"));

        room.ready_pods(4).await?;
        room.simulate(third, "gauge?value=10").await?;
        room.until_condition("gauge", "Blocked", "True", "MaxActions").await?;
        held_back(room, "gauge", "MaxActions", created(&spent)? + HOUR).await?;
        stays(room, "gauge", 2, &uid_of(third)).await?;

        let mut evicted: Vec<_> = room.healing_writes()?.into_iter().map(|write| write.object_ref.name).collect();
        evicted.sort();
        ensure!(evicted == [name_of(first), name_of(second)], "{evicted:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_any_policy_did_cools_down_before_another_acts() -> Result<()> {
    in_room("cooldown", async |room| {
        let pods = room.deploy(1).await?;
        let leaking = pods.first().context("no pod")?;
        let leaked = format!(r#"sample_app_leaked_bytes{{namespace="{}"}} > 1000000"#, room.name());
        let mut patient = room.policy("patient", &room.gauge_over(5));
        patient["spec"]["limits"]["cooldown"] = json!("1h");
        room.apply(&room.policy("hasty", &leaked)).await?;
        room.apply(&patient).await?;
        room.until_evaluated("hasty").await?;
        room.until_evaluated("patient").await?;

        room.simulate(leaking, "memory-leak?rate=20Mi&ceiling=10Mi").await?;
        let healed = room.until_outcome("hasty", 1, "Succeeded").await?;

        let replacement = room.ready_pods(1).await?.pop().context("no pod")?;
        room.simulate(&replacement, "gauge?value=10").await?;
        room.until_condition("patient", "Blocked", "True", "Cooldown").await?;
        held_back(room, "patient", "Cooldown", created(&healed)? + HOUR).await?;
        stays(room, "patient", 0, &uid_of(&replacement)).await
    })
    .await
}

fn created(action: &HealingAction) -> Result<Timestamp> {
    Ok(action.metadata.creation_timestamp.as_ref().context("not created")?.0)
}

/// The status names the guardrail, and until when it applies.
async fn held_back(room: &Room<'_>, policy: &str, by: &str, until: Timestamp) -> Result<()> {
    let status = room.policy_now(policy).await?.status.context("no status")?;
    let [unhealthy] = status.unhealthy.as_slice() else { anyhow::bail!("unhealthy: {:?}", status.unhealthy) };
    ensure!(unhealthy.state == "Firing" && unhealthy.blocked_by.as_deref() == Some(by), "{unhealthy:?}");
    ensure!(unhealthy.blocked_until.as_ref().map(|time| time.0) == Some(until), "not until {until}: {unhealthy:?}");
    ensure!(status.blocked.iter().map(|one| (one.reason.as_str(), one.count)).eq([(by, 1)]), "{:?}", status.blocked);
    Ok(())
}

/// The unhealthy pod stays, and no further action is reserved.
async fn stays(room: &Room<'_>, policy: &str, actions: usize, pod: &str) -> Result<()> {
    steadily(Duration::from_secs(5), "the guardrail", async || {
        ensure!(room.actions(policy).await?.len() == actions, "another action was reserved");
        ensure!(room.pods().await?.iter().any(|one| uid_of(one) == pod), "the unhealthy pod is gone");
        Ok(())
    })
    .await
}
