//! Whom a query reaches: that it reaches nobody is told with the mend, and mended it
//! heals. Who is too young is not reached yet, who gave up is reached again when somebody
//! says so, and who is well again by himself was never in need.

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use prunella_api::RESET_ANNOTATION;
use prunella_e2e::{PATIENCE, Room, Story, condition, eventually, in_room, instant, name_of, uid_of};
use serde_json::json;

use crate::app::{self, APP, deploy, done, ready_pods, reserved_at, status, until_returned};

const POLICY: &str = "gauge";
const SCRAPE: &str = "prometheus.io/scrape";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_misspelt_metric_is_told_of_until_it_is_mended() -> Result<()> {
    in_room("reach-nothing", async |room| {
        let pods = deploy(room, APP, 1).await?;
        let misspelt = room.gauge_over(5).replace("gauge", "guage");
        room.apply(&app::policy(room, POLICY, &misspelt)).await?;
        let observed = room.until_condition(POLICY, "Observed", "False", "NoSeries").await?;
        ensure!(observed.message.contains("correct its metric and labels"), "{}", observed.message);
        room.until_condition(POLICY, "Ready", "True", "Judging").await?;

        let mut nobodys = app::policy(room, POLICY, &room.gauge_over(5));
        nobodys["spec"]["target"]["selector"] = json!({"matchLabels": {"app": "no-such"}});
        room.apply(&nobodys).await?;
        let healthy = room.until_condition(POLICY, "Healthy", "Unknown", "NoTarget").await?;
        ensure!(healthy.message.contains("app=no-such"), "{}", healthy.message);

        room.apply(&app::policy(room, POLICY, &room.gauge_over(5))).await?;
        room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        room.until_outcome(POLICY, 1, "Succeeded").await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn pods_that_were_not_scraped_are_seen_soon_after_they_are() -> Result<()> {
    /// It is asked every five seconds; the pod is found, scraped and told of in the rest.
    const SEEN: SignedDuration = SignedDuration::from_secs(30);
    in_room("reach-later", async |room| {
        let pod = name_of(deploy(room, APP, 1).await?.first().context("no pod")?);
        room.kubectl(&["annotate", "pod", &pod, &format!("{SCRAPE}-")]).await?;
        let query = format!(r#"sample_app_gauge{{namespace="{}", pod="{pod}"}}"#, room.name());
        until_returned(room, &query, 0).await?;
        room.apply(&app::policy(room, POLICY, &format!("{query} > 5"))).await?;
        room.until_condition(POLICY, "Observed", "False", "NoSeries").await?;
        let mended = Timestamp::now();
        room.kubectl(&["annotate", "pod", &pod, &format!("{SCRAPE}=true")]).await?;
        room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        let took = Timestamp::now().duration_since(mended);
        println!("seen {took:#.1} after it was scraped again");
        ensure!(took <= SEEN, "seen only {took:#} later");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn series_that_keep_the_namespace_elsewhere_say_which_field_to_set() -> Result<()> {
    in_room("reach-exported", async |room| {
        let pods = deploy(room, APP, 1).await?;
        // As from an exporter that speaks of others and is scraped without honorLabels.
        let query = format!(
            r#"label_replace(label_replace({}, "exported_namespace", "$1", "namespace", "(.+)"), "namespace", "monitoring", "", "")"#,
            room.gauge_over(5)
        );
        let mut policy = app::policy(room, POLICY, &query);
        room.apply(&policy).await?;
        let observed = room.until_condition(POLICY, "Observed", "False", "NoSeriesMatchesTargets").await?;
        let mend = "its namespace is in the label exported_namespace; set target.namespaceLabel to it";
        ensure!(observed.message.contains(mend), "{}", observed.message);
        room.simulate(&pods[0], "gauge?value=9").await?;

        policy["spec"]["target"]["namespaceLabel"] = json!("exported_namespace");
        room.apply(&policy).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&pods[0]))], "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn that_only_the_dead_are_in_the_answer_after_a_heal_is_no_mistake_of_the_query() -> Result<()> {
    in_room("reach-gone", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let story = Story::of(room);
        let increase = format!(r#"increase(sample_app_gauge{{namespace="{}"}}[1m])"#, room.name());
        until_returned(room, &increase, 2).await?;
        let query = format!("{increase} > 0");
        room.apply(&app::policy(room, POLICY, &query)).await?;
        room.until_judged(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;

        let dead = room.ground.ask(&query).await?;
        ensure!(dead.len() == 1 && dead[0].label("pod") == name_of(&pods[0]), "{dead:?}");
        let observed = room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        ensure!(observed.message.starts_with("1 series breached, 0 of them name"), "{}", observed.message);
        let seen =
            story.policy(POLICY, |policy| condition(policy, "Observed").map(|one| one.reason).unwrap_or_default());
        ensure!(seen.iter().all(|one| one.is_empty() || one == "Answered"), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_sum_that_loses_the_namespace_is_refused_and_works_when_it_is_kept() -> Result<()> {
    in_room("reach-lost", async |room| {
        let pods = deploy(room, APP, 1).await?;
        room.apply(&app::policy(room, POLICY, "sum by (pod) (sample_app_gauge) > 5")).await?;
        let stalled = room.until_condition(POLICY, "Stalled", "True", "NamespaceNotPinned").await?;
        ensure!(stalled.message.contains(&format!("add namespace={:?}", room.name())), "{}", stalled.message);
        room.until_condition(POLICY, "Ready", "False", "NamespaceNotPinned").await?;
        room.simulate(&pods[0], "gauge?value=9").await?;

        room.apply(&app::policy(room, POLICY, "sum by (namespace, pod) (sample_app_gauge) > 5")).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&pods[0]))], "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_younger_than_it_must_be_is_not_judged() -> Result<()> {
    const AGE: SignedDuration = SignedDuration::from_secs(30);
    in_room("reach-young", async |room| {
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["target"]["minAge"] = json!("30s");
        room.apply(&policy).await?;
        let pods = deploy(room, APP, 1).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        let judged = pods[0].creation_timestamp().context("no time")?.0 + AGE;
        until_returned(room, &room.gauge_over(5), 1).await?;
        ensure!(Timestamp::now() < judged, "this machine is too slow: the pod is old already");
        let sick = status(room, POLICY).await?.sick;
        ensure!(sick.is_empty() || Timestamp::now() >= judged, "judged too young: {sick:?}");

        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(&pods[0]));
        let evicted = instant(room.healing_writes()?.first().context("nothing was evicted")?)?;
        let late = evicted.duration_since(judged);
        println!("evicted {late:#.1} after it was old enough");
        // Breached for two seconds of its judged life.
        ensure!(late >= SignedDuration::from_secs(2), "evicted {late:#} after it was old enough");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_reset_lets_what_is_exhausted_be_tried_again_after_its_cooldown() -> Result<()> {
    // A status may come ten seconds late, and the refusal is to be seen in it.
    const COOLDOWN: SignedDuration = SignedDuration::from_mins(1);
    in_room("reach-reset", async |room| {
        let first = deploy(room, APP, 1).await?;
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["limits"]["cooldown"] = json!("1m");
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(&first[0], "gauge?value=9").await?;
        let healed = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let again = ready_pods(room, APP, 1).await?;
        room.simulate(&again[0], "gauge?value=9").await?;
        room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;

        let reset = format!("{RESET_ANNOTATION}={}", Timestamp::from_second(Timestamp::now().as_second())?);
        room.kubectl(&["annotate", "healingpolicy", POLICY, &reset]).await?;
        room.until_condition(POLICY, "Blocked", "True", "Cooldown").await?;
        ensure!(done(room)?.len() == 1, "{:#?}", done(room)?);
        let second = room.until_outcome(POLICY, 2, "Succeeded").await?;
        let since = reserved_at(&second).duration_since(reserved_at(&healed));
        println!("reserved again {since:#} after the first");
        ensure!(since >= COOLDOWN, "reserved again {since:#} after the first");
        ensure!((second.spec.rung, second.spec.attempt) == (1, 1), "{:?}", second.spec);
        let evicted = [&first[0], &again[0]].map(|pod| format!("create pods/eviction {}", name_of(pod)));
        ensure!(done(room)? == evicted, "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_recovers_by_itself_is_told_of_and_counted_and_left_alone() -> Result<()> {
    in_room("reach-recovers", async |room| {
        let pods = deploy(room, APP, 1).await?;
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["suspend"] = json!(true);
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        until_told(room, &pods[0], "Firing").await?;
        room.simulate(&pods[0], "gauge?value=0").await?;
        until_told(room, &pods[0], "Recovered").await?;
        let query = format!(r#"prunella_recoveries_total{{exported_namespace="{}"}}"#, room.name());
        eventually(PATIENCE, "the recovery to be counted", async || {
            let series = room.ground.ask(&query).await?;
            let values: Vec<_> = series.iter().map(|one| one.value.to_string()).collect();
            ensure!(values == ["1"], "{series:?}");
            Ok(())
        })
        .await?;
        ensure!(room.actions(POLICY).await?.is_empty() && done(room)?.is_empty(), "it was acted on");
        Ok(())
    })
    .await
}

async fn until_told(room: &Room<'_>, pod: &Pod, reason: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{reason} on {}", name_of(pod)), async || {
        let told = room.told(&uid_of(pod)).await?;
        if !told.iter().any(|one| one.reason == reason) {
            bail!("{told:?}");
        }
        Ok(())
    })
    .await
}
