//! Each guardrail has one word everywhere: in the policy's condition and status, in the target's
//! entry of the status, in the Events on both, in the metric and in the log. And the reported end
//! of a guardrail is correct.

use anyhow::{Context as _, Result, bail, ensure};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{DEPLOYMENT, NAMESPACE, PATIENCE, Room, condition, eventually, in_room, name_of};
use serde_json::{Value, json};

use crate::source::{Lie, Source};

const POLICY: &str = "gauge";
/// How many guardrails are tested at the same time.
const AT_ONCE: usize = 5;

/// The end that a guardrail must report.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// None.
    Open,
    /// This time.
    At(Timestamp),
    /// This long after the policy's first action.
    AfterTheFirst(SignedDuration),
    /// This long after the policy's newest action.
    AfterTheNewest(SignedDuration),
}

/// A guardrail that holds back a target.
struct Held {
    target: String,
    until: Until,
    /// Kept as long as the guardrail is tested.
    _source: Option<Source>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn each_guardrail_has_one_word_everywhere_and_reports_its_end_correctly() -> Result<()> {
    let rows = [
        "Suspended",
        "Held",
        "ObservationUnknown",
        "NoData",
        "OptedOut",
        "NotHealable",
        "TargetBusy",
        "Exhausted",
        "Cooldown",
        "SubjectCap",
        "MaxActions",
        "MaxConcurrent",
        "Storm",
        "Stale",
    ];
    // Boxed: otherwise the futures are larger than the stack of a test.
    let row = |word: &'static str| async move {
        in_room(&format!("word-{}", word.to_lowercase()), async |room| {
            let held = provoke(room, word).boxed_local().await.with_context(|| format!("cannot provoke {word}"))?;
            reported(room, word, &held).boxed_local().await.with_context(|| format!("the guardrail is {word}"))
        })
        .await
    };
    stream::iter(rows.map(|word| row(word).boxed_local())).buffer_unordered(AT_ONCE).try_collect().await
}

/// The policy for a guardrail, with the fields that cause it.
async fn policy_of(room: &Room<'_>, word: &str) -> Result<Value> {
    let mut policy = room.policy(POLICY, &room.gauge_over(5));
    let spec = &mut policy["spec"];
    match word {
        // The target must be firing first. Until then the policy is suspended.
        "Suspended" | "NoData" | "ObservationUnknown" => spec["suspend"] = json!(true),
        "Held" => drop(room.kubectl(&["annotate", "namespace", room.name(), "prunella.dev/hold=migration"]).await?),
        // A function over a range still returns a value without new samples.
        "Stale" => {
            let query = format!("max_over_time(sample_app_gauge{{namespace={:?}}}[1m]) > 5", room.name());
            spec["condition"]["promql"]["query"] = json!(query);
        }
        "MaxConcurrent" => spec["condition"]["clearFor"] = json!("60s"),
        "Storm" => {
            spec["limits"]["maxUnhealthy"] = json!("50%");
            spec["limits"]["onStorm"] = json!("Hold");
        }
        _ if is_always_unhealthy(word) => {
            // Every pod is always breached, so that no action helps.
            spec["condition"]["promql"]["query"] = json!(room.gauge_over(-1));
            spec["steps"][0]["attempts"] = json!(if word == "Exhausted" { 1 } else { 10 });
            spec["steps"][0]["verify"]["within"] = json!("4s");
            spec["limits"]["maxActions"]["count"] = json!(if word == "MaxActions" { 1 } else { 100 });
            spec["limits"]["cooldown"] = json!(if word == "Cooldown" { "10m" } else { "0s" });
        }
        _ => {}
    }
    Ok(policy)
}

fn is_always_unhealthy(word: &str) -> bool {
    matches!(word, "Exhausted" | "Cooldown" | "SubjectCap" | "MaxActions")
}

/// Sets up one guardrail and an unhealthy pod.
async fn provoke(room: &Room<'_>, word: &str) -> Result<Held> {
    let mut policy = policy_of(room, word).await?;
    if word == "NotHealable" {
        return without_controller(room, &policy).await;
    }
    let source = match word {
        "ObservationUnknown" | "Stale" => Some(Source::new(room, "lying").await?),
        _ => None,
    };
    if let Some(source) = &source {
        source.ask_by(&mut policy);
    }
    let pods = room.deploy(if matches!(word, "MaxConcurrent" | "Storm" | "NoData") { 2 } else { 1 }).await?;
    let until = surround(room, word, &pods, &mut policy).await?;
    room.apply(&policy).await?;
    room.until_evaluated(POLICY).await?;
    if let (Some(source), "Stale") = (&source, word) {
        source.answer_with(Lie::NoInstant);
    }
    let unhealthy = match word {
        _ if is_always_unhealthy(word) || word == "TargetBusy" => &pods[..0],
        "NoData" => &pods[..1],
        _ => &pods[..],
    };
    for pod in unhealthy {
        room.simulate(pod, "gauge?value=9").await?;
    }
    if matches!(word, "ObservationUnknown" | "NoData") {
        room.until_condition(POLICY, "Blocked", "True", "Suspended").await?;
        match &source {
            Some(source) => source.answer_with(Lie::Status(500)),
            None => until_clear(room, &pods[0]).await?,
        }
        let patch = json!({"spec": {"suspend": false}}).to_string();
        room.kubectl(&["patch", "healingpolicy", POLICY, "--type=merge", "--patch", &patch]).await?;
    }
    Ok(Held { target: held_back(room, word).await?, until, _source: source })
}

/// Sets up the objects that cause the guardrail. Returns its end.
async fn surround(room: &Room<'_>, word: &str, pods: &[Pod], policy: &mut Value) -> Result<Until> {
    let pod = pods.first().context("no pod")?;
    Ok(match word {
        "OptedOut" => {
            let end = Timestamp::from_second(Timestamp::now().as_second())? + 3.minutes();
            room.kubectl(&["annotate", "pod", &name_of(pod), &format!("prunella.dev/heal={end}")]).await?;
            Until::At(end)
        }
        // There is evidence of the other pod only.
        "NoData" => {
            let other = name_of(pods.last().context("no other pod")?);
            let evidence = format!("sample_app_gauge{{namespace={:?}, pod={other:?}}}", room.name());
            policy["spec"]["condition"]["promql"]["evidence"] = json!(evidence);
            Until::Open
        }
        // A delayed eviction of another policy keeps the pod busy.
        "TargetBusy" => {
            let mut budget = room.example("sample-app/pdb.yaml")?;
            budget["spec"]["maxUnavailable"] = json!(0);
            room.apply(&budget).await?;
            room.simulate(pod, "gauge?value=9").await?;
            room.apply(&room.policy("first", &room.gauge_over(5))).await?;
            eventually(PATIENCE, "the other policy's action", async || {
                ensure!(!room.actions("first").await?.is_empty(), "there is none");
                Ok(())
            })
            .await?;
            Until::Open
        }
        "Cooldown" => Until::AfterTheNewest(SignedDuration::from_mins(10)),
        "SubjectCap" | "MaxActions" => Until::AfterTheFirst(SignedDuration::from_hours(1)),
        _ => Until::Open,
    })
}

/// Waits until the pod is not breached any more, so that it is not acted on later.
async fn until_clear(room: &Room<'_>, unhealthy: &Pod) -> Result<()> {
    room.simulate(unhealthy, "gauge?value=0").await?;
    eventually(PATIENCE, "the unhealthy pod's series to be clear", async || {
        let breached = room.ground.ask(&room.gauge_over(5)).await?;
        ensure!(breached.is_empty(), "{breached:?}");
        Ok(())
    })
    .await
}

/// A pod without a controller.
async fn without_controller(room: &Room<'_>, policy: &Value) -> Result<Held> {
    let deployment = room.example("sample-app/deployment.yaml")?;
    let template = &deployment["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});
    pod["metadata"] = json!({"name": "alone", "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"]});
    room.apply(&pod).await?;
    let pods: Vec<Pod> = room.ready_pods(1).await?;
    room.apply(policy).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&pods[0], "gauge?value=9").await?;
    Ok(Held { target: held_back(room, "NotHealable").await?, until: Until::Open, _source: None })
}

/// The uid of the first pod that the guardrail holds back.
async fn held_back(room: &Room<'_>, word: &str) -> Result<String> {
    eventually(PATIENCE, &format!("a pod held back by {word}"), async || {
        let status = room.policy_now(POLICY).await?.status.unwrap_or_default();
        let held =
            status.unhealthy.iter().find(|one| one.blocked_by.as_deref() == Some(word) && one.state != "Pending");
        held.map(|one| one.uid.clone()).with_context(|| format!("{:?}", status.unhealthy))
    })
    .await
}

async fn reported(room: &Room<'_>, word: &str, held: &Held) -> Result<()> {
    let policy = room.policy_now(POLICY).await?;
    let blocked = condition(&policy, "Blocked").context("no condition Blocked")?;
    ensure!((blocked.status.as_str(), blocked.reason.as_str()) == ("True", word), "{blocked:?}");
    let status = policy.status.clone().context("no status")?;
    ensure!(status.blocked.iter().any(|one| one.reason == word && one.count >= 1), "{:?}", status.blocked);
    let unhealthy =
        status.unhealthy.iter().find(|one| one.uid == held.target).context("it is not in status.unhealthy")?;
    let until = unhealthy.blocked_until.as_ref().map(|until| until.0);
    is_correct(room, held.until, until).await?;
    if let Some(until) = until {
        ensure!(blocked.message.contains(&format!("not before {until:.0}")), "{}", blocked.message);
    }
    let policy_uid = policy.metadata.uid.clone().unwrap_or_default();
    for uid in [&held.target, &policy_uid] {
        eventually(PATIENCE, &format!("the Event {word} on {uid}"), async || {
            let events = room.events_on(uid).await?;
            ensure!(events.iter().any(|one| one.reason == word), "{events:#?}");
            Ok(())
        })
        .await?;
    }
    let query = format!(
        "prunella_blocked_targets{{namespace={:?}, policy={POLICY:?}, reason={word:?}}} or prunella_blocked_targets{{exported_namespace={:?}, policy={POLICY:?}, reason={word:?}}}",
        room.name(),
        room.name()
    );
    eventually(PATIENCE, &format!("the metric of {word}"), async || {
        let series = room.ground.ask(&query).await?;
        ensure!(series.iter().any(|one| one.value >= 1.0), "{series:?}");
        Ok(())
    })
    .await?;
    let key = format!("policy={}/{POLICY}", room.name());
    let log = room.ground.testbed.kubectl(&["logs", "--namespace", NAMESPACE, DEPLOYMENT, "--tail=5000"]).await?;
    let line = log.lines().find(|line| line.contains(&key) && line.contains(&format!("{word}: ")));
    println!("{}", line.with_context(|| format!("the log has no line of {word} for {key}"))?);
    Ok(())
}

/// Checks the reported end of the guardrail.
async fn is_correct(room: &Room<'_>, expected: Until, reported: Option<Timestamp>) -> Result<()> {
    let mut actions = room.actions(POLICY).await?;
    // Actions without effect do not count.
    actions.retain(|one| {
        let outcome = one.status.as_ref().and_then(|status| status.outcome.as_deref());
        !matches!(outcome, Some("Cancelled" | "Superseded" | "Expired"))
    });
    let mut created: Vec<_> =
        actions.iter().filter_map(|one| Some(one.metadata.creation_timestamp.as_ref()?.0)).collect();
    created.sort_unstable();
    let after = |action: Option<&Timestamp>, time: SignedDuration| anyhow::Ok(*action.context("no action")? + time);
    let expected = match expected {
        Until::Open => None,
        Until::At(at) => Some(at),
        Until::AfterTheFirst(time) => Some(after(created.first(), time)?),
        Until::AfterTheNewest(time) => Some(after(created.last(), time)?),
    };
    if expected != reported {
        bail!("the reported end is {reported:?}, expected {expected:?}");
    }
    Ok(())
}
