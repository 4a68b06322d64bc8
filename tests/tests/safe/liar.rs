//! A source with wrong answers or without answers: the reason is reported, nothing is done, and no
//! target becomes healthy. When the source answers correctly again, healing continues by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use prunella_api::UnhealthyTarget;
use prunella_e2e::{PATIENCE, Room, condition, eventually, in_room, steadily, uid_of};
use serde_json::json;

use crate::source::{Lie, Source};

/// The name, the wrong answer, and the reason of `Observed`.
const LIES: [(&str, Lie, &str); 11] = [
    ("hanging", Lie::Hang, "Timeout"),
    ("paused", Lie::Paused, "Timeout"),
    ("cut", Lie::Cut, "Unreachable"),
    ("html", Lie::Html, "Malformed"),
    ("huge", Lie::Huge, "TooLarge"),
    ("scalar", Lie::Scalar, "WrongType"),
    ("matrix", Lie::Matrix, "WrongType"),
    ("warning", Lie::Warning, "PartialAnswer"),
    ("unavailable", Lie::Status(503), "Unreachable"),
    ("unauthorized", Lie::Status(401), "Unauthorized"),
    // A complete answer without evidence.
    ("nan", Lie::NotANumber, "Answered"),
];
const POLICY: &str = "gauge";
const INTERVAL: Duration = Duration::from_secs(2);
/// For this many evaluations nothing must be done.
const EVALUATIONS: u8 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn no_wrong_answer_is_acted_on_or_taken_for_health() -> Result<()> {
    in_room("liar", async |room| {
        try_join_all(LIES.iter().map(async |&(name, lie, observed)| {
            nothing_is_done(room, name, lie, observed).await.with_context(|| format!("the wrong answer is {lie:?}"))
        }))
        .await?;
        let healed = room.healing_writes()?;
        ensure!(healed.len() == LIES.len(), "{} evictions for {} wrong answers", healed.len(), LIES.len());
        Ok(())
    })
    .await
}

/// Checks one wrong answer, with its own workload, policy and source of this name.
async fn nothing_is_done(room: &Room<'_>, name: &str, lie: Lie, observed: &str) -> Result<()> {
    let source = Source::new(room, name).await?;
    let unhealthy = workload(room, name).await?;
    let query = format!(r#"sample_app_gauge{{namespace="{}",pod=~"{name}-.*"}} > 5"#, room.name());
    let mut policy = room.policy(name, &query);
    policy["spec"]["interval"] = json!("2s");
    // Long enough to see the first evaluation before the answers become wrong.
    policy["spec"]["condition"]["for"] = json!("16s");
    policy["spec"]["target"]["selector"]["matchLabels"]["app"] = json!(name);
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_evaluated(name).await?;
    room.simulate(&unhealthy, "gauge?value=9").await?;
    let pending = until_unhealthy(room, name, |unhealthy| unhealthy.state == "Pending").await?;

    source.answer_with(lie);
    let complete = observed == "Answered";
    if !complete {
        room.until_condition(name, "Observed", "False", observed).await?;
    }
    if lie == Lie::Paused {
        // The paused source reads no requests, so it cannot count them.
        steadily(INTERVAL * EVALUATIONS.into(), "the pause", async || no_actions(room, name).await).await?;
    } else {
        source.asked_again(&query, EVALUATIONS.into()).await?;
    }
    no_actions(room, name).await?;
    ensure!(!room.ground.ask(&query).await?.is_empty(), "the pod is not breached at all");
    let now = room.policy_now(name).await?;
    // A source that cannot be used until somebody changes it. Otherwise the problem is not the policy's.
    let ready = match observed {
        "Unauthorized" | "Malformed" => format!("False {observed}"),
        _ => "True Evaluating".to_owned(),
    };
    let status_of =
        |kind| condition(&now, kind).map(|one| format!("{} {}", one.status, one.reason)).unwrap_or_default();
    ensure!(status_of("Ready") == ready, "Ready={}, expected {ready}", status_of("Ready"));
    ensure!(complete || status_of("Observed") == format!("False {observed}"), "Observed={}", status_of("Observed"));
    ensure!(complete || status_of("Healthy") == "Unknown NotObserved", "Healthy={}", status_of("Healthy"));
    // The target is only pending: no Event says that it is unhealthy, or healthy again.
    let events = room.events_on(&uid_of(&unhealthy)).await?;
    ensure!(events.is_empty(), "{events:#?}");
    let status = now.status.unwrap_or_default();
    let [still] = status.unhealthy.as_slice() else { bail!("unhealthy: {:?}", status.unhealthy) };
    ensure!(still.uid == pending.uid && still.state == "Pending" && still.blocked_by.is_none(), "{still:?}");

    source.answer_with(Lie::Honest);
    room.until_condition(name, "Observed", "True", "Answered").await?;
    let action = room.until_outcome(name, 1, "Succeeded").await?;
    ensure!(action.spec.target.uid == uid_of(&unhealthy));
    println!("{name}: Observed {observed}, healed after correct answers");
    Ok(())
}

/// One pod of the app with another name.
async fn workload(room: &Room<'_>, name: &str) -> Result<Pod> {
    let mut deployment = room.example("sample-app/deployment.yaml")?;
    deployment["metadata"]["name"] = json!(name);
    deployment["spec"]["replicas"] = json!(1);
    deployment["spec"]["selector"]["matchLabels"]["app"] = json!(name);
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = json!(name);
    room.apply(&deployment).await?;
    room.kubectl(&["rollout", "status", "deployment", name, "--timeout=2m"]).await?;
    let pods = room.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?;
    pods.items.into_iter().next().context("no pod")
}

async fn until_unhealthy(
    room: &Room<'_>,
    policy: &str,
    wanted: impl Fn(&UnhealthyTarget) -> bool,
) -> Result<UnhealthyTarget> {
    eventually(PATIENCE, "the expected state of the unhealthy pod", async || {
        let status = room.policy_now(policy).await?.status.unwrap_or_default();
        let unhealthy = status.unhealthy.into_iter().next().context("nothing is unhealthy")?;
        ensure!(wanted(&unhealthy), "{unhealthy:?}");
        Ok(unhealthy)
    })
    .await
}

async fn no_actions(room: &Room<'_>, policy: &str) -> Result<()> {
    ensure!(room.actions(policy).await?.is_empty(), "an action was reserved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_slow_source_does_not_keep_many_unhealthy_pods_from_being_healed() -> Result<()> {
    in_room("slow-source", async |room| {
        let source = Source::new(room, "slow").await?;
        let pods = room.deploy(8).await?;
        // Four selectors: before an action each must have a sample of the target.
        let query = [5, 4, 3, 2].map(|limit| room.gauge_over(limit)).join(" and ");
        let mut policy = room.policy(POLICY, &query);
        policy["spec"]["interval"] = json!("5s");
        source.ask_by(&mut policy);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        source.answer_with(Lie::Slow);
        try_join_all(pods.iter().map(|pod| room.simulate(pod, "gauge?value=10"))).await?;
        room.until_outcome(POLICY, 1, "Succeeded").await.map(drop)
    })
    .await
}
