//! Policies that have nothing to do, and policies that cannot work.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, Room, condition, eventually, in_room, steadily};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_bad_policy_says_what_is_wrong_hurts_only_itself_and_works_when_mended() -> Result<()> {
    in_room("unfit", async |room| {
        let pods = room.deploy(1).await?;
        let elsewhere = r#"sample_app_gauge{namespace="elsewhere"} > 5"#;
        let ranging = format!(r#"max_over_time(sample_app_gauge{{namespace="{}"}}[1m]) > 5"#, room.name());
        let mut short = room.policy("short", &ranging);
        short["spec"]["steps"][0]["verify"]["within"] = json!("30s");
        let bare = format!(r#"sample_app_gauge{{namespace="{}"}}"#, room.name());
        room.apply(&room.policy("good", &room.gauge_over(5))).await?;
        room.apply(&room.policy("bare", &bare)).await?;
        room.apply(&room.policy("astray", elsewhere)).await?;
        room.apply(&short).await?;

        let pinned = format!("add namespace={:?} to every selector", room.name());
        stalled(room, "bare", "NoComparison", "compare it").await?;
        stalled(room, "astray", "NamespaceNotPinned", &pinned).await?;
        // clearFor 2s + interval 1s + range 1m.
        stalled(room, "short", "VerifyTooShort", "need 1m 3s").await?;

        room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
        room.until_outcome("good", 1, "Succeeded").await?;
        for policy in ["bare", "astray", "short"] {
            ensure!(room.actions(policy).await?.is_empty(), "{policy} acted");
        }

        // Mended to mean what "good" does not.
        room.apply(&room.policy("bare", &format!("{bare} < -5"))).await?;
        room.until_condition("bare", "Ready", "True", "Judging").await?;
        room.until_condition("bare", "Stalled", "False", "Compiled").await?;
        let replacement = room.ready_pods(1).await?.pop().context("no pod")?;
        room.simulate(&replacement, "gauge?value=-10").await?;
        room.until_outcome("bare", 1, "Succeeded").await.map(drop)
    })
    .await
}

async fn stalled(room: &Room<'_>, policy: &str, reason: &str, mend: &str) -> Result<()> {
    room.until_condition(policy, "Ready", "False", reason).await?;
    let stalled = room.until_condition(policy, "Stalled", "True", reason).await?;
    ensure!(stalled.message.contains(mend), "{policy} says: {}", stalled.message);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_quiet_policy_asks_and_writes_nothing() -> Result<()> {
    in_room("quiet", async |room| {
        room.deploy(2).await?;
        let mut dry = room.policy("dry", &room.gauge_over(5));
        dry["spec"]["mode"] = json!("DryRun");
        room.apply(&room.policy("enforcing", &room.gauge_over(5))).await?;
        room.apply(&dry).await?;
        room.apply(&room.policy("stalled", "up")).await?;
        for policy in ["enforcing", "dry"] {
            eventually(PATIENCE, "both pods to be selected", async || {
                let policy = room.until_judged(policy).await?;
                let healthy = condition(&policy, "Healthy").map(|one| one.reason);
                let selected = policy.status.and_then(|status| status.targets).map(|targets| targets.selected);
                ensure!(selected == Some(2) && healthy.as_deref() == Some("NoTargetSick"), "{selected:?} {healthy:?}");
                Ok(())
            })
            .await?;
        }
        room.until_condition("stalled", "Stalled", "True", "NoComparison").await?;

        let looks = looks(room).await?;
        let before = room.controller_writes()?.len();
        steadily(Duration::from_secs(20), "the quiet", async || {
            let writes = room.controller_writes()?;
            ensure!(writes.len() == before, "the controller wrote: {:#?}", writes.last());
            Ok(())
        })
        .await?;
        eventually(PATIENCE, "the controller to have looked all the while", async || {
            let since = self::looks(room).await? - looks;
            // Two policies, once a second each.
            ensure!(since >= 30.0, "it looked {since} times");
            Ok(())
        })
        .await
    })
    .await
}

/// How often the controller has asked Prometheus, as it says itself.
async fn looks(room: &Room<'_>) -> Result<f64> {
    let series = room.ground.ask(r#"sum(prunella_evaluations_total{result="Answered"})"#).await?;
    Ok(series.first().context("the controller's metrics are not in Prometheus")?.value)
}
