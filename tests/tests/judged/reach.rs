//! Which targets a query reaches: a query that reaches none is reported with the fix, and heals
//! when it is fixed. Also: targets that are too young, targets that are exhausted and reset, and
//! targets that recover by themselves.

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
async fn a_misspelt_metric_is_reported_until_it_is_fixed() -> Result<()> {
    in_room("reach-nothing", async |room| {
        let pods = deploy(room, APP, 1).await?;
        let misspelt = room.gauge_over(5).replace("gauge", "guage");
        room.apply(&app::policy(room, POLICY, &misspelt)).await?;
        let observed = room.until_condition(POLICY, "Observed", "False", "NoSeries").await?;
        ensure!(observed.message.contains("correct the metric name and labels"), "{}", observed.message);
        room.until_condition(POLICY, "Ready", "True", "Evaluating").await?;

        let mut unselective = app::policy(room, POLICY, &room.gauge_over(5));
        unselective["spec"]["target"]["selector"] = json!({"matchLabels": {"app": "no-such"}});
        room.apply(&unselective).await?;
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
async fn a_misspelt_second_metric_is_named_while_the_first_one_has_data() -> Result<()> {
    in_room("reach-operand", async |room| {
        deploy(room, APP, 1).await?;
        let query = |second: &str| format!("{} and on (namespace, pod) {second} > 0", room.gauge_over(5));
        room.apply(&app::policy(room, POLICY, &query("sample_app_guage"))).await?;
        let observed = room.until_condition(POLICY, "Observed", "False", "NoSeries").await?;
        ensure!(observed.message.contains("sample_app_guage"), "{}", observed.message);
        room.until_condition(POLICY, "Healthy", "Unknown", "NotObserved").await?;
        room.apply(&app::policy(room, POLICY, &query("sample_app_gauge"))).await?;
        room.until_condition(POLICY, "Observed", "True", "Answered").await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn pods_that_were_not_scraped_are_seen_soon_after_they_are() -> Result<()> {
    /// The query is repeated every five seconds. The rest is for discovery, scrape and status.
    const SEEN: SignedDuration = SignedDuration::from_secs(30);
    in_room("reach-later", async |room| {
        let pod = name_of(deploy(room, APP, 1).await?.first().context("no pod")?);
        room.kubectl(&["annotate", "pod", &pod, &format!("{SCRAPE}-")]).await?;
        let query = format!(r#"sample_app_gauge{{namespace="{}", pod="{pod}"}}"#, room.name());
        until_returned(room, &query, 0).await?;
        room.apply(&app::policy(room, POLICY, &format!("{query} > 5"))).await?;
        room.until_condition(POLICY, "Observed", "False", "NoSeries").await?;
        let fixed = Timestamp::now();
        room.kubectl(&["annotate", "pod", &pod, &format!("{SCRAPE}=true")]).await?;
        room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        let took = Timestamp::now().duration_since(fixed);
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
        let testbed = room.ground.testbed;
        let trusting = format!("{}-trusting", room.name());
        let source = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource", "metadata": {"name": trusting},
            "spec": {"url": testbed.prometheus_url(), "namespaceLabels": ["namespace", "exported_namespace"]},
        });
        testbed.apply(&source.to_string()).await?;
        let outcome = set_the_named_field(room, &trusting).await;
        testbed.kubectl(&["delete", "clusterprometheussource", &trusting]).await?;
        outcome
    })
    .await
}

async fn set_the_named_field(room: &Room<'_>, source: &str) -> Result<()> {
    let pods = deploy(room, APP, 1).await?;
    // Like an exporter of other objects' metrics that is scraped without honorLabels. The selector
    // has the namespace, so nothing is added to it.
    let query = format!(
        r#"label_replace(label_replace({}, "exported_namespace", "$1", "namespace", "(.+)"), "namespace", "monitoring", "", "")"#,
        room.gauge_over(5)
    );
    let mut policy = app::policy(room, POLICY, &query);
    policy["spec"]["condition"]["promql"]["source"] = json!({"name": source});
    room.apply(&policy).await?;
    let observed = room.until_condition(POLICY, "Observed", "False", "NoSeriesMatchesTargets").await?;
    let fix = "its namespace is in the label exported_namespace: set target.namespaceLabel to exported_namespace";
    ensure!(observed.message.contains(fix), "{}", observed.message);
    room.simulate(&pods[0], "gauge?value=9").await?;

    policy["spec"]["target"]["namespaceLabel"] = json!("exported_namespace");
    room.apply(&policy).await?;
    room.until_outcome(POLICY, 1, "Succeeded").await?;
    ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&pods[0]))], "{:#?}", done(room)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn series_of_deleted_pods_after_a_heal_are_no_fault_of_the_query() -> Result<()> {
    in_room("reach-gone", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let story = Story::of(room);
        let increase = format!(r#"increase(sample_app_gauge{{namespace="{}"}}[1m])"#, room.name());
        until_returned(room, &increase, 2).await?;
        let query = format!("{increase} > 0");
        room.apply(&app::policy(room, POLICY, &query)).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;

        let deleted = room.ground.ask(&query).await?;
        ensure!(deleted.len() == 1 && deleted[0].label("pod") == name_of(&pods[0]), "{deleted:?}");
        let observed = room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        ensure!(
            observed.message.starts_with("the query returned series, but none of them names a selected target"),
            "{}",
            observed.message
        );
        let seen =
            story.policy(POLICY, |policy| condition(policy, "Observed").map(|one| one.reason).unwrap_or_default());
        ensure!(seen.iter().all(|one| one.is_empty() || one == "Answered"), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_sum_that_loses_the_namespace_is_of_the_own_namespace() -> Result<()> {
    in_room("reach-lost", async |room| {
        let pods = deploy(room, APP, 1).await?;
        room.apply(&app::policy(room, POLICY, r#"sum by (pod) (sample_app_gauge{namespace="elsewhere"}) > 5"#)).await?;
        let stalled = room.until_condition(POLICY, "Stalled", "True", "NotAllowed").await?;
        for name in ["namespace=\"elsewhere\"", &format!("{:?}", room.name())] {
            ensure!(stalled.message.contains(name), "{name}: {}", stalled.message);
        }
        room.until_condition(POLICY, "Ready", "False", "NotAllowed").await?;
        room.simulate(&pods[0], "gauge?value=9").await?;

        room.apply(&app::policy(room, POLICY, "sum by (pod) (sample_app_gauge) > 5")).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&pods[0]))], "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_younger_than_min_age_is_not_evaluated() -> Result<()> {
    const AGE: SignedDuration = SignedDuration::from_secs(30);
    in_room("reach-young", async |room| {
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["target"]["minAge"] = json!("30s");
        room.apply(&policy).await?;
        let pods = deploy(room, APP, 1).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        let old_enough = pods[0].creation_timestamp().context("no time")?.0 + AGE;
        until_returned(room, &room.gauge_over(5), 1).await?;
        ensure!(Timestamp::now() < old_enough, "this machine is too slow: the pod is already old enough");
        let unhealthy = status(room, POLICY).await?.unhealthy;
        ensure!(unhealthy.is_empty() || Timestamp::now() >= old_enough, "evaluated too young: {unhealthy:?}");

        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(&pods[0]));
        let evicted = instant(room.healing_writes()?.first().context("nothing was evicted")?)?;
        let late = evicted.duration_since(old_enough);
        println!("evicted {late:#.1} after it was old enough");
        // The time before minAge does not count towards `for`.
        ensure!(late >= SignedDuration::from_secs(2), "evicted {late:#} after it was old enough");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_reset_lets_what_is_exhausted_be_tried_again_after_its_cooldown() -> Result<()> {
    // Longer than a status may be late (10 s), so that the status shows the refusal.
    const COOLDOWN: SignedDuration = SignedDuration::from_mins(1);
    in_room("reach-reset", async |room| {
        let first = deploy(room, APP, 1).await?;
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["limits"]["cooldown"] = json!("1m");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
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
        ensure!((second.spec.step_number, second.spec.attempt) == (1, 1), "{:?}", second.spec);
        let evicted = [&first[0], &again[0]].map(|pod| format!("create pods/eviction {}", name_of(pod)));
        ensure!(done(room)? == evicted, "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_recovers_by_itself_is_reported_and_counted_and_not_touched() -> Result<()> {
    in_room("reach-recovers", async |room| {
        let pods = deploy(room, APP, 1).await?;
        let mut policy = app::policy(room, POLICY, &room.gauge_over(5));
        policy["spec"]["suspend"] = json!(true);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        until_event(room, &pods[0], "Firing").await?;
        room.simulate(&pods[0], "gauge?value=0").await?;
        until_event(room, &pods[0], "Recovered").await?;
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

async fn until_event(room: &Room<'_>, pod: &Pod, reason: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{reason} on {}", name_of(pod)), async || {
        let events = room.events_on(&uid_of(pod)).await?;
        if !events.iter().any(|one| one.reason == reason) {
            bail!("{events:?}");
        }
        Ok(())
    })
    .await
}
