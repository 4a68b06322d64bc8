//! Everything seems to be sick: then whoever looks is as suspect as what is looked at. One
//! is tried, and the next only once that has helped; or none at all.

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, Told, eventually, in_room, name_of, uid_of};
use serde_json::{Value, json};

use crate::app::{self, APP, blocked, deploy, done, nothing_more, over_at, ready_pods, reserved_at, status};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn in_a_storm_one_is_probed_and_the_next_only_after_it_has_helped() -> Result<()> {
    in_room("storm-probe", async |room| {
        let pods = deploy(room, APP, 5).await?;
        let mut policy = stormy(room, &room.gauge_over(5));
        // Long enough for all three to be seen before the first is due, and for the probe
        // to be judged while the storm lasts.
        policy["spec"]["condition"]["for"] = json!("8s");
        policy["spec"]["limits"]["stormCooldown"] = json!("25s");
        room.apply(&policy).await?;
        let uid = uid(room).await?;
        for pod in pods.iter().take(3) {
            room.simulate(pod, "gauge?value=9").await?;
        }

        let probe = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let storm = status(room, POLICY).await?.storm.context("the storm is over already")?;
        ensure!(storm.probe.is_some(), "{storm:?} names no probe");
        let second = room.until_outcome(POLICY, 2, "Succeeded").await?;
        let third = room.until_outcome(POLICY, 3, "Succeeded").await?;
        println!("probe {} to {}, the next {}", reserved_at(&probe), over_at(&probe), reserved_at(&second));
        ensure!(reserved_at(&second) >= over_at(&probe), "the probe was not waited for");
        let sick: Vec<_> = pods.iter().take(3).map(uid_of).collect();
        for action in [&probe, &second, &third] {
            ensure!(sick.contains(&action.spec.target.uid), "{:?} was not sick", action.spec.target);
        }

        let told = until_told(room, &uid, "StormEnded").await?;
        let began: Vec<_> = told.iter().filter(|one| one.reason == "StormBegan").collect();
        let [began] = began.as_slice() else { bail!("a storm began so often: {told:#?}") };
        ensure!(began.warning && began.note.starts_with("3 targets are breached, 2 may be"), "{began:?}");
        eventually(PATIENCE, "the status to be without storm", async || {
            let storm = status(room, POLICY).await?.storm;
            ensure!(storm.is_none(), "{storm:?}");
            Ok(())
        })
        .await?;
        ensure!(done(room)?.len() == 3, "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn when_no_pod_is_ready_the_probe_is_over_when_its_own_replacement_is_well() -> Result<()> {
    in_room("storm-unready", async |room| {
        let pods = deploy(room, APP, 3).await?;
        let mut policy = stormy(room, &room.gauge_over(5));
        policy["spec"]["condition"]["for"] = json!("8s");
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        for pod in &pods {
            room.simulate(pod, "not-ready").await?;
            room.simulate(pod, "gauge?value=9").await?;
        }

        let mut over = None;
        for number in 1..=3 {
            let action = room.until_outcome(POLICY, number, "Succeeded").await?;
            ensure!(over.is_none_or(|over| over <= reserved_at(&action)), "two at a time");
            over = Some(over_at(&action));
        }
        let now = ready_pods(room, APP, 3).await?;
        ensure!(pods.iter().all(|old| now.iter().all(|new| uid_of(old) != uid_of(new))), "an old one is there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn while_the_probe_is_unjudged_the_others_wait_for_it() -> Result<()> {
    in_room("storm-waits", async |room| {
        let pods = deploy(room, APP, 5).await?;
        // Half a minute in which the probe's replacement must be clear: it is out.
        let mut policy = stormy(room, &room.gauge_over(5));
        policy["spec"]["condition"]["for"] = json!("8s");
        policy["spec"]["condition"]["clearFor"] = json!("30s");
        room.apply(&policy).await?;
        let uid = uid(room).await?;
        for pod in pods.iter().take(4) {
            room.simulate(pod, "gauge?value=9").await?;
        }
        until_told(room, &uid, "StormBegan").await?;
        eventually(PATIENCE, "the probe, and the others waiting for it", async || {
            let status = status(room, POLICY).await?;
            let probe = status.storm.as_ref().and_then(|storm| storm.probe.clone()).context("no probe")?;
            let last = status.last_action.as_ref().context("no action")?;
            ensure!(last.name == probe && last.outcome.is_none(), "{last:?}");
            ensure!(blocked(&status) == [("Storm", 3)], "{:?}", blocked(&status));
            let verifying = status.targets.context("no counts")?.verifying;
            ensure!(verifying == 1, "{verifying} are verified");
            Ok(())
        })
        .await?;
        let condition = room.until_condition(POLICY, "Blocked", "True", "Storm").await?;
        ensure!(condition.message.contains("one action is tried as a probe"), "{}", condition.message);
        nothing_more(room, 1).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_bad_configuration_of_both_replicas_climbs_by_way_of_the_probe() -> Result<()> {
    in_room("storm-climb", async |room| {
        let pods = deploy(room, APP, 2).await?;
        // What a pod template of the first generation makes is sick, replacements too.
        let query = format!(
            r#"sample_app_gauge{{namespace="{0}"}} < 1 and on (namespace) kube_deployment_status_observed_generation{{namespace="{0}", deployment="{APP}"}} == 1"#,
            room.name()
        );
        let mut policy = stormy(room, &query);
        policy["spec"]["steps"] = json!([
            {"action": {"deletePod": {}}, "verify": {"within": "20s"}},
            {"action": {"rolloutRestart": {}}, "verify": {"within": "2m"}},
        ]);
        room.apply(&policy).await?;

        let probe = room.until_outcome(POLICY, 1, "Failed").await?;
        let climbed = room.until_outcome(POLICY, 2, "Succeeded").await?;
        let probed = name_of(pods.iter().find(|pod| uid_of(pod) == probe.spec.target.uid).context("nobody's probe")?);
        ensure!((climbed.spec.rung, climbed.spec.attempt) == (2, 1), "{:?}", climbed.spec);
        ensure!(!pods.iter().any(|pod| uid_of(pod) == climbed.spec.target.uid), "not for the probe's replacement");
        let done = done(room)?;
        ensure!(done == [format!("create pods/eviction {probed}"), format!("patch deployments {APP}")], "{done:#?}");
        ready_pods(room, APP, 2).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_query_that_is_wrong_costs_one_pod_and_no_more() -> Result<()> {
    in_room("storm-false", async |room| {
        let pods = deploy(room, APP, 3).await?;
        let mut policy = stormy(room, &everybody(room));
        policy["spec"]["steps"][0]["attempts"] = json!(3);
        policy["spec"]["steps"][0]["verify"]["within"] = json!("20s");
        room.apply(&policy).await?;
        let probe = room.until_outcome(POLICY, 1, "Failed").await?;
        eventually(PATIENCE, "all to be held back, the replacement too", async || {
            let status = status(room, POLICY).await?;
            ensure!(blocked(&status) == [("Storm", 3)], "{:?}", status.sick);
            Ok(())
        })
        .await?;
        nothing_more(room, 1).await?;
        ensure!(room.actions(POLICY).await?.len() == 1, "another was reserved");
        let left = ready_pods(room, APP, 3).await?;
        let spared = pods.iter().filter(|pod| left.iter().any(|one| uid_of(one) == uid_of(pod))).count();
        ensure!(spared == 2, "{spared} of three were spared");
        ensure!(done(room)? == [format!("create pods/eviction {}", probe.spec.target.name)]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn where_storms_are_to_be_held_nothing_is_done_and_everybody_is_told() -> Result<()> {
    in_room("storm-hold", async |room| {
        let pods = deploy(room, APP, 3).await?;
        let mut policy = stormy(room, &everybody(room));
        policy["spec"]["limits"]["onStorm"] = json!("Hold");
        room.apply(&policy).await?;
        let condition = room.until_condition(POLICY, "Blocked", "True", "Storm").await?;
        ensure!(condition.message.contains("onStorm is Hold"), "{}", condition.message);
        let status = eventually(PATIENCE, "all three to be held back", async || {
            let status = status(room, POLICY).await?;
            ensure!(blocked(&status) == [("Storm", 3)], "{:?}", blocked(&status));
            Ok(status)
        })
        .await?;
        ensure!(status.storm.is_some_and(|storm| storm.probe.is_none()), "a probe");
        ensure!(status.sick.iter().all(|sick| sick.blocked_by.as_deref() == Some("Storm")), "{:?}", status.sick);
        let uid = uid(room).await?;
        until_told(room, &uid, "StormBegan").await?;
        for pod in &pods {
            until_told(room, &uid_of(pod), "Storm").await?;
        }
        until_counted(room, &pods).await?;
        nothing_more(room, 0).await?;
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
        Ok(())
    })
    .await
}

/// That nothing but the storm holds anybody back.
fn stormy(room: &Room<'_>, query: &str) -> Value {
    let mut policy = app::policy(room, POLICY, query);
    let limits = &mut policy["spec"]["limits"];
    limits["maxUnhealthy"] = json!("50%");
    limits["maxConcurrent"] = json!(5);
    limits["maxActions"]["count"] = json!(10);
    policy
}

/// A query that every pod breaches.
fn everybody(room: &Room<'_>) -> String {
    format!(r#"sample_app_gauge{{namespace="{}"}} < 1"#, room.name())
}

async fn uid(room: &Room<'_>) -> Result<String> {
    room.until_judged(POLICY).await?.metadata.uid.context("no uid")
}

/// Waits for an Event of this reason; all that was told on the object until then.
async fn until_told(room: &Room<'_>, uid: &str, reason: &str) -> Result<Vec<Told>> {
    eventually(PATIENCE, &format!("to be told of {reason}"), async || {
        let told = room.told(uid).await?;
        ensure!(told.iter().any(|one| one.reason == reason), "{told:?}");
        Ok(told)
    })
    .await
}

/// In Prometheus as well. It keeps the namespace of the controller's own pod in the label
/// `namespace`.
async fn until_counted(room: &Room<'_>, pods: &[Pod]) -> Result<()> {
    let query = format!(r#"prunella_blocked_targets{{exported_namespace="{}", reason="Storm"}}"#, room.name());
    eventually(PATIENCE, "the metric", async || {
        let series = room.ground.ask(&query).await?;
        let values: Vec<_> = series.iter().map(|one| format!("{}", one.value)).collect();
        ensure!(values == [pods.len().to_string()], "{series:?}");
        Ok(())
    })
    .await
}
