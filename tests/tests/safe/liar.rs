//! A source that lies, or that cannot speak: what it says is called by its name, nothing
//! is done by it and nobody is declared well by it; and when it tells the truth again
//! healing goes on by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use prunella_api::SickTarget;
use prunella_e2e::{PATIENCE, Room, condition, eventually, in_room, steadily, uid_of};
use serde_json::json;

use crate::source::{Lie, Source};

/// What is said, the word that `Observed` has for it, and the word of what holds the sick
/// pod back.
const LIES: [(&str, Lie, &str, &str); 11] = [
    ("hanging", Lie::Hang, "Timeout", "ObservationUnknown"),
    ("paused", Lie::Paused, "Timeout", "ObservationUnknown"),
    ("cut", Lie::Cut, "Unreachable", "ObservationUnknown"),
    ("html", Lie::Html, "Malformed", "ObservationUnknown"),
    ("huge", Lie::Huge, "TooLarge", "ObservationUnknown"),
    ("scalar", Lie::Scalar, "WrongType", "ObservationUnknown"),
    ("matrix", Lie::Matrix, "WrongType", "ObservationUnknown"),
    ("warning", Lie::Warning, "PartialAnswer", "ObservationUnknown"),
    ("unavailable", Lie::Status(503), "Unreachable", "ObservationUnknown"),
    ("unauthorized", Lie::Status(401), "Unauthorized", "ObservationUnknown"),
    // A whole answer, in which there is no evidence of anything.
    ("nan", Lie::NotANumber, "Answered", "NoData"),
];
const INTERVAL: Duration = Duration::from_secs(2);
/// Over so many looks nothing is done.
const LOOKS: u8 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn no_lie_is_acted_on_or_taken_for_health() -> Result<()> {
    in_room("liar", async |room| {
        try_join_all(LIES.iter().map(async |&(name, lie, observed, blocked)| {
            believed_nothing(room, name, lie, observed, blocked).await.with_context(|| format!("the lie is {lie:?}"))
        }))
        .await?;
        let healed = room.healing_writes()?;
        ensure!(healed.len() == LIES.len(), "{} evictions for {} lies", healed.len(), LIES.len());
        Ok(())
    })
    .await
}

/// One workload, one policy and one source for each lie, all called by its name.
async fn believed_nothing(room: &Room<'_>, name: &str, lie: Lie, observed: &str, blocked: &str) -> Result<()> {
    let source = Source::new(room, name).await?;
    let sick = workload(room, name).await?;
    let query = format!(r#"sample_app_gauge{{namespace="{}", pod=~"{name}-.*"}} > 5"#, room.name());
    let mut policy = room.policy(name, &query);
    policy["spec"]["interval"] = json!("2s");
    // Longer than it takes to see the first look and to begin to lie.
    policy["spec"]["condition"]["for"] = json!("16s");
    policy["spec"]["target"]["selector"]["matchLabels"]["app"] = json!(name);
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_judged(name).await?;
    room.simulate(&sick, "gauge?value=9").await?;
    let pending = until_sick(room, name, |sick| sick.state == "Pending").await?;

    source.tell(lie);
    let truthful = observed == "Answered";
    if !truthful {
        room.until_condition(name, "Observed", "False", observed).await?;
    }
    until_sick(room, name, |sick| sick.blocked_by.as_deref() == Some(blocked)).await?;
    if lie == Lie::Paused {
        // Nobody reads what is asked, so nobody counts it.
        steadily(INTERVAL * LOOKS.into(), "the pause", async || no_actions(room, name).await).await?;
    } else {
        source.asked_again(&query, LOOKS.into()).await?;
    }
    no_actions(room, name).await?;
    ensure!(!room.ground.ask(&query).await?.is_empty(), "the pod is not breached at all");
    let now = room.policy_now(name).await?;
    let word = |kind| condition(&now, kind).map(|one| format!("{} {}", one.status, one.reason)).unwrap_or_default();
    ensure!(word("Ready") == "True Judging", "the policy is blamed for it: Ready={}", word("Ready"));
    ensure!(truthful || word("Observed") == format!("False {observed}"), "Observed={}", word("Observed"));
    ensure!(truthful || word("Healthy") == "Unknown NotObserved", "Healthy={}", word("Healthy"));
    let told = room.told(&uid_of(&sick)).await?;
    ensure!(told.iter().map(|one| one.reason.as_str()).eq(["Pending"]), "{told:#?}");
    let status = now.status.unwrap_or_default();
    ensure!(status.sick.iter().map(|one| &one.uid).eq([&pending.uid]), "{:?}", status.sick);

    source.tell(Lie::Honest);
    room.until_condition(name, "Observed", "True", "Answered").await?;
    let action = room.until_outcome(name, 1, "Succeeded").await?;
    ensure!(action.spec.target.uid == uid_of(&sick));
    println!("{name}: Observed {observed}, held back by {blocked}, healed when told the truth");
    Ok(())
}

/// One copy of the app under another name.
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

async fn until_sick(room: &Room<'_>, policy: &str, wanted: impl Fn(&SickTarget) -> bool) -> Result<SickTarget> {
    eventually(PATIENCE, "the sick pod to be told of as it is", async || {
        let status = room.policy_now(policy).await?.status.unwrap_or_default();
        let sick = status.sick.into_iter().next().context("nothing is sick")?;
        ensure!(wanted(&sick), "{sick:?}");
        Ok(sick)
    })
    .await
}

async fn no_actions(room: &Room<'_>, policy: &str) -> Result<()> {
    ensure!(room.actions(policy).await?.is_empty(), "an action was reserved");
    Ok(())
}
