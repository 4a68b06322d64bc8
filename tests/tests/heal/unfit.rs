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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_only_the_server_can_read_heals_and_what_it_cannot_read_either_is_a_bad_query() -> Result<()> {
    in_room("unread", async |room| {
        let pods = room.deploy(1).await?;
        let evidence = format!("sample_app_gauge{{namespace={:?}}}", room.name());
        let unread = |name: &str, query: &str| {
            let mut policy = room.policy(name, query);
            policy["spec"]["condition"]["promql"]["evidence"] = json!(evidence);
            policy
        };
        // A byte to the server, a character to our parser, which therefore refuses it.
        let bytes = format!(r#"sample_app_gauge{{namespace="{}", pod!="\xff"}} > 5"#, room.name());
        let neither = format!(r#"sample_app_gauge{{namespace="{}"}} >> 5"#, room.name());
        room.apply(&unread("bytes", &bytes)).await?;
        stalled(room, "bytes", "BadQuery", "set `evidence` and `signalWindow`").await?;

        let mut given = unread("bytes", &bytes);
        given["spec"]["condition"]["promql"]["signalWindow"] = json!("0s");
        room.apply(&given).await?;
        let mut bad = unread("neither", &neither);
        bad["spec"]["condition"]["promql"]["signalWindow"] = json!("1m");
        room.apply(&bad).await?;
        room.until_condition("bytes", "Observed", "True", "Answered").await?;
        room.until_condition("neither", "Stalled", "False", "Compiled").await?;
        let observed = room.until_condition("neither", "Observed", "False", "BadQuery").await?;
        ensure!(observed.message.contains("refuses the query"), "{}", observed.message);

        room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
        room.until_outcome("bytes", 1, "Succeeded").await?;
        ensure!(room.actions("neither").await?.is_empty(), "a query that nobody understands acted");
        Ok(())
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
