//! Storms: so many targets are breached that the query is as suspect as the targets. One target
//! is healed as a probe, and the next only after that has helped; or none at all.

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, ReportedEvent, Room, eventually, in_room, name_of, uid_of};
use serde_json::{Value, json};

use crate::app::{self, APP, blocked, deploy, done, ended_at, nothing_more, ready_pods, reserved_at, status};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn in_a_storm_one_is_probed_and_the_next_only_after_it_has_helped() -> Result<()> {
    in_room("storm-probe", async |room| {
        let pods = deploy(room, APP, 5).await?;
        let mut policy = stormy(room, &room.gauge_over(5));
        // Long enough to see all three before the first is due, and to verify the probe while
        // the storm lasts.
        policy["spec"]["condition"]["for"] = json!("8s");
        policy["spec"]["limits"]["stormCooldown"] = json!("25s");
        room.apply(&policy).await?;
        let uid = uid(room).await?;
        for pod in pods.iter().take(3) {
            room.simulate(pod, "gauge?value=9").await?;
        }

        let probe = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let storm = status(room, POLICY).await?.storm.context("the storm is already over")?;
        ensure!(storm.probe.is_some(), "{storm:?} has no probe");
        let second = room.until_outcome(POLICY, 2, "Succeeded").await?;
        let third = room.until_outcome(POLICY, 3, "Succeeded").await?;
        println!("probe {} to {}, the next {}", reserved_at(&probe), ended_at(&probe), reserved_at(&second));
        ensure!(reserved_at(&second) >= ended_at(&probe), "the probe was not waited for");
        let unhealthy: Vec<_> = pods.iter().take(3).map(uid_of).collect();
        for action in [&probe, &second, &third] {
            ensure!(unhealthy.contains(&action.spec.target.uid), "{:?} was not unhealthy", action.spec.target);
        }

        let events = until_event(room, &uid, "StormEnded").await?;
        let started: Vec<_> = events.iter().filter(|one| one.reason == "StormStarted").collect();
        let [started] = started.as_slice() else { bail!("expected one storm: {events:#?}") };
        let expected = "3 targets are breached, and limits.maxUnhealthy allows 2; ";
        ensure!(started.warning && started.note.starts_with(expected), "{started:?}");
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
async fn when_no_pod_is_ready_the_probe_ends_when_its_own_replacement_is_healthy() -> Result<()> {
    in_room("storm-unready", async |room| {
        let pods = deploy(room, APP, 3).await?;
        let mut policy = stormy(room, &room.gauge_over(5));
        policy["spec"]["condition"]["for"] = json!("8s");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        for pod in &pods {
            room.simulate(pod, "not-ready").await?;
            room.simulate(pod, "gauge?value=9").await?;
        }

        let mut ended = None;
        for number in 1..=3 {
            let action = room.until_outcome(POLICY, number, "Succeeded").await?;
            ensure!(ended.is_none_or(|ended| ended <= reserved_at(&action)), "two actions at the same time");
            ended = Some(ended_at(&action));
        }
        let now = ready_pods(room, APP, 3).await?;
        ensure!(pods.iter().all(|old| now.iter().all(|new| uid_of(old) != uid_of(new))), "an old pod is still there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn while_the_probe_is_being_verified_the_other_targets_wait() -> Result<()> {
    in_room("storm-waits", async |room| {
        let pods = deploy(room, APP, 5).await?;
        // The probe's replacement must be clear for half a minute, so the probe lasts that long.
        let mut policy = stormy(room, &room.gauge_over(5));
        policy["spec"]["condition"]["for"] = json!("8s");
        policy["spec"]["condition"]["clearFor"] = json!("30s");
        room.apply(&policy).await?;
        let uid = uid(room).await?;
        for pod in pods.iter().take(4) {
            room.simulate(pod, "gauge?value=9").await?;
        }
        until_event(room, &uid, "StormStarted").await?;
        eventually(PATIENCE, "the probe, and the other targets waiting for it", async || {
            let status = status(room, POLICY).await?;
            let probe = status.storm.as_ref().and_then(|storm| storm.probe.clone()).context("no probe")?;
            let last = status.last_action.as_ref().context("no action")?;
            ensure!(last.name == probe && last.outcome.is_none(), "{last:?}");
            ensure!(blocked(&status) == [("Storm", 3)], "{:?}", blocked(&status));
            let verifying = status.targets.context("no counts")?.verifying;
            ensure!(verifying == 1, "{verifying} are being verified");
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
async fn a_bad_configuration_of_both_replicas_climbs_the_ladder_with_the_probe() -> Result<()> {
    in_room("storm-climb", async |room| {
        let pods = deploy(room, APP, 2).await?;
        // Every pod of the Deployment's first generation is unhealthy, replacements too.
        let query = format!(
            r#"sample_app_gauge{{namespace="{0}"}} < 1 and on (namespace) kube_deployment_status_observed_generation{{namespace="{0}", deployment="{APP}"}} == 1"#,
            room.name()
        );
        let mut policy = stormy(room, &query);
        policy["spec"]["steps"] = json!([
            {"name": "evict-pod", "action": {"deletePod": {}}, "verify": {"within": "20s"}},
            {"name": "restart", "action": {"rolloutRestart": {}}, "verify": {"within": "2m"}},
        ]);
        room.apply(&policy).await?;

        let probe = room.until_outcome(POLICY, 1, "Failed").await?;
        let climbed = room.until_outcome(POLICY, 2, "Succeeded").await?;
        let probed = name_of(pods.iter().find(|pod| uid_of(pod) == probe.spec.target.uid).context("the probe is none of the pods")?);
        let spec = &climbed.spec;
        ensure!((&*spec.step, spec.step_number, spec.attempt) == ("restart", 2, 1), "{spec:?}");
        ensure!(!pods.iter().any(|pod| uid_of(pod) == climbed.spec.target.uid), "its target is not the probe's replacement");
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
        let mut policy = stormy(room, &breached_by_all(room));
        policy["spec"]["steps"][0]["attempts"] = json!(3);
        policy["spec"]["steps"][0]["verify"]["within"] = json!("20s");
        room.apply(&policy).await?;
        let probe = room.until_outcome(POLICY, 1, "Failed").await?;
        eventually(PATIENCE, "all targets to be held back, the replacement too", async || {
            let status = status(room, POLICY).await?;
            ensure!(blocked(&status) == [("Storm", 3)], "{:?}", status.unhealthy);
            Ok(())
        })
        .await?;
        nothing_more(room, 1).await?;
        ensure!(room.actions(POLICY).await?.len() == 1, "another action was reserved");
        let left = ready_pods(room, APP, 3).await?;
        let spared = pods.iter().filter(|pod| left.iter().any(|one| uid_of(one) == uid_of(pod))).count();
        ensure!(spared == 2, "{spared} of three pods are left");
        ensure!(done(room)? == [format!("create pods/eviction {}", probe.spec.target.name)]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn with_on_storm_hold_nothing_is_done_and_every_target_is_reported() -> Result<()> {
    in_room("storm-hold", async |room| {
        let pods = deploy(room, APP, 3).await?;
        let mut policy = stormy(room, &breached_by_all(room));
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
        ensure!(status.storm.is_some_and(|storm| storm.probe.is_none()), "there is a probe");
        ensure!(
            status.unhealthy.iter().all(|unhealthy| unhealthy.blocked_by.as_deref() == Some("Storm")),
            "{:?}",
            status.unhealthy
        );
        let uid = uid(room).await?;
        until_event(room, &uid, "StormStarted").await?;
        for pod in &pods {
            until_event(room, &uid_of(pod), "Storm").await?;
        }
        until_counted(room, &pods).await?;
        nothing_more(room, 0).await?;
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
        Ok(())
    })
    .await
}

/// A policy that only a storm holds back.
fn stormy(room: &Room<'_>, query: &str) -> Value {
    let mut policy = app::policy(room, POLICY, query);
    let limits = &mut policy["spec"]["limits"];
    limits["maxUnhealthy"] = json!("50%");
    limits["maxConcurrent"] = json!(5);
    limits["maxActions"]["count"] = json!(10);
    policy
}

/// A query that every pod breaches.
fn breached_by_all(room: &Room<'_>) -> String {
    format!(r#"sample_app_gauge{{namespace="{}"}} < 1"#, room.name())
}

async fn uid(room: &Room<'_>) -> Result<String> {
    room.until_evaluated(POLICY).await?.metadata.uid.context("no uid")
}

/// Waits for an Event with this reason. Returns all Events on the object until then.
async fn until_event(room: &Room<'_>, uid: &str, reason: &str) -> Result<Vec<ReportedEvent>> {
    eventually(PATIENCE, &format!("the Event {reason}"), async || {
        let events = room.events_on(uid).await?;
        ensure!(events.iter().any(|one| one.reason == reason), "{events:?}");
        Ok(events)
    })
    .await
}

/// Waits until the metric counts them. In Prometheus, the label `namespace` is that of the
/// controller's pod, so the policy's is `exported_namespace`.
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
