//! The main case: one of three pods leaks memory. It is evicted, and its replacement is
//! healthy.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prunella_api::{HealingAction, HealingPolicy, PolicyKind};
use prunella_e2e::{
    CONTROLLER, PATIENCE, Room, STEP, Story, Table, eventually, in_room, instant, name_of, restarts, uid_of,
};
use serde_json::json;

const POLICY: &str = "memory";
const INTERVAL: SignedDuration = SignedDuration::from_secs(2);
const FOR: SignedDuration = SignedDuration::from_secs(4);
const LIMIT: f64 = 100.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_leaking_pod_of_three_is_evicted_and_the_others_are_not_touched() -> Result<()> {
    in_room("leak", async |room| {
        room.apply(&room.example("sample-app/pdb.yaml")?).await?;
        let pods = room.deploy(3).await?;
        let [leaking, others @ ..] = pods.as_slice() else { unreachable!("three pods are ready") };
        let query = format!(r#"process_resident_memory_bytes{{namespace="{}"}} > {LIMIT}"#, room.name());
        let mut policy = room.policy(POLICY, &query);
        policy["spec"]["interval"] = json!("2s");
        policy["spec"]["condition"]["for"] = json!("4s");
        let story = Story::of(room);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;

        let (not_visible, shown, ()) = tokio::try_join!(
            last_unseen(room, &query),
            shown_until_over(room),
            room.simulate(leaking, "memory-leak?rate=100Mi&ceiling=150Mi"),
        )?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;

        started_in_time(room, not_visible)?;
        one_write(room, leaking)?;
        others_untouched(&room.ready_pods(3).await?, others, leaking)?;
        record_is_complete(room, &action, leaking, &query)?;
        stages_in_order(&story, &action)?;
        kubectl_showed(&shown)?;
        columns(room).await?;
        events_in_order(room, &uid_of(leaking)).await?;
        let policy = room.policy_now(POLICY).await?;
        events_in_order(room, policy.metadata.uid.as_deref().unwrap_or_default()).await
    })
    .await
}

/// The last time at which Prometheus did not show the breach yet. It is earlier than the first
/// time at which it did, so that no delay is hidden.
async fn last_unseen(room: &Room<'_>, query: &str) -> Result<Timestamp> {
    let mut unseen = Timestamp::now();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let asked = Timestamp::now();
        if !room.ground.ask(query).await?.is_empty() {
            return Ok(unseen);
        }
        ensure!(tokio::time::Instant::now() < deadline, "Prometheus never showed the leak");
        unseen = asked;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn started_in_time(room: &Room<'_>, not_visible: Timestamp) -> Result<()> {
    let writes = room.healing_writes()?;
    let took = instant(writes.first().context("nothing was evicted")?)?.duration_since(not_visible);
    let limit = FOR + INTERVAL * 2 + SignedDuration::from_secs(1);
    println!("evicted {took:#.3} after the breach became visible: for {FOR:#}, interval {INTERVAL:#}, limit {limit:#}");
    ensure!(took <= limit, "evicted {took:#} after the breach became visible, later than {limit:#}");
    ensure!(took >= FOR, "evicted {took:#} after the breach became visible, earlier than {FOR:#}");
    Ok(())
}

/// HP-14, from the API server's log: one request, by the controller, for exactly this pod.
fn one_write(room: &Room<'_>, leaking: &Pod) -> Result<()> {
    let writes = room.healing_writes()?;
    let [eviction] = writes.as_slice() else { anyhow::bail!("the controller sent {writes:#?}") };
    let object = &eviction.object_ref;
    ensure!(eviction.verb == "create" && eviction.succeeded(), "{eviction:#?}");
    ensure!((object.resource.as_str(), object.subresource.as_str()) == ("pods", "eviction"), "{eviction:#?}");
    ensure!(object.name == name_of(leaking), "{} was evicted", object.name);
    let uid = eviction.request_object.pointer("/deleteOptions/preconditions/uid");
    ensure!(uid == Some(&json!(uid_of(leaking))), "evicted without the uid as precondition: {eviction:#?}");

    // No other user removed the pod.
    let removals = room.requests()?.into_iter().filter(|request| {
        let pod = request.object_ref.resource == "pods" && request.object_ref.name == name_of(leaking);
        let removes = request.verb == "delete" || request.object_ref.subresource == "eviction";
        // The kubelet deletes a pod when its containers have ended.
        pod && removes && !request.user.groups.iter().any(|group| group == "system:nodes")
    });
    let by: Vec<_> = removals.map(|request| request.user.username).collect();
    ensure!(by == [CONTROLLER], "removed by {by:?}");
    Ok(())
}

fn others_untouched(after: &[Pod], others: &[Pod], leaking: &Pod) -> Result<()> {
    let uids: Vec<_> = after.iter().map(uid_of).collect();
    ensure!(!uids.contains(&uid_of(leaking)), "the leaking pod is still there");
    for other in others {
        ensure!(uids.contains(&uid_of(other)), "{} was replaced too", name_of(other));
    }
    ensure!(after.iter().all(|pod| restarts(pod) == 0), "a container was restarted");
    Ok(())
}

fn record_is_complete(room: &Room<'_>, action: &HealingAction, leaking: &Pod, query: &str) -> Result<()> {
    let spec = &action.spec;
    let status = action.status.as_ref().context("the action has no status")?;
    let (policy, target, subject) = (&spec.policy, &spec.target, &spec.subject);
    ensure!((policy.kind, policy.name.as_str()) == (PolicyKind::HealingPolicy, POLICY), "{policy:?}");
    ensure!(!policy.digest.is_empty() && policy.generation == 1, "{policy:?}");
    ensure!((&*target.api_version, &*target.kind) == ("v1", "Pod"), "{target:?}");
    ensure!(target.name == name_of(leaking) && target.uid == uid_of(leaking), "{target:?}");
    ensure!((&*subject.api_version, &*subject.kind) == ("apps/v1", "Deployment"), "{subject:?}");
    ensure!(subject.name == "sample-app", "{subject:?}");
    for object in [target, subject] {
        ensure!(object.namespace.as_deref() == Some(room.name()), "{object:?}");
    }
    ensure!((&*spec.step, spec.step_number, spec.attempt) == (STEP, 1, 1), "{spec:#?}");
    ensure!(spec.action_name == "DeletePod", "{spec:#?}");
    let evidence = spec.evidence.promql.as_ref().context("no evidence")?;
    ensure!(evidence.query == query, "{}", evidence.query);
    ensure!(evidence.labels.get("pod") == Some(&name_of(leaking)), "{:?}", evidence.labels);
    ensure!(evidence.value.parse::<f64>()? > LIMIT, "{}", evidence.value);
    for (label, value) in [("prunella.dev/policy", POLICY), ("prunella.dev/policy-kind", "HealingPolicy")] {
        let labels = action.metadata.labels.as_ref();
        ensure!(labels.and_then(|all| all.get(label)).is_some_and(|one| one == value), "{labels:?}");
    }
    ensure!(status.outcome_reason.as_deref() == Some("Cleared"), "{status:#?}");
    let writes: Vec<_> = status.writes.iter().map(|write| (write.request.as_str(), write.object.clone())).collect();
    ensure!(writes == [("create pods/eviction", format!("Pod/{}", name_of(leaking)))], "{writes:?}");

    // Times are kept in whole seconds.
    let held = spec.evidence.observed_at.0.duration_since(spec.evidence.since.0);
    ensure!(held >= FOR - SignedDuration::from_secs(1), "the evidence held for {held:#}");
    let times: [(&str, Option<&Time>); 9] = [
        ("since", Some(&spec.evidence.since)),
        ("observedAt", Some(&spec.evidence.observed_at)),
        ("created", action.metadata.creation_timestamp.as_ref()),
        ("startedAt", status.started_at.as_ref()),
        ("executedAfter", status.executed_after.as_ref()),
        ("executedAt", status.executed_at.as_ref()),
        ("settledAt", status.settled_at.as_ref()),
        ("finishedAt", status.finished_at.as_ref()),
        ("verifyBy", status.verify_by.as_ref()),
    ];
    ensure!(times.iter().all(|(_, time)| time.is_some()), "a time is missing: {times:?}");
    ensure!(times.is_sorted_by_key(|(_, time)| time.map(|time| time.0)), "times out of order: {times:?}");
    Ok(())
}

/// Every state of the action and of its target was visible, each once.
fn stages_in_order(story: &Story, action: &HealingAction) -> Result<()> {
    let name = action.metadata.name.as_deref().unwrap_or_default();
    let states = story.action_states(name);
    ensure!(states == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{states:?}");
    let targets = story.policy(POLICY, |policy| {
        let unhealthy = policy.status.as_ref().map(|status| status.unhealthy.as_slice()).unwrap_or_default();
        unhealthy.iter().map(|target| target.state.as_str()).collect::<Vec<_>>().join(",")
    });
    ensure!(targets == ["", "Pending", "Firing", "Acting", "Settling", "Verifying", ""], "{targets:?}");
    let steps = story.policy(POLICY, |policy| {
        let unhealthy = policy.status.as_ref().map(|status| status.unhealthy.as_slice()).unwrap_or_default();
        unhealthy.iter().filter_map(|target| target.step.clone()).collect::<Vec<_>>().join(",")
    });
    ensure!(steps == ["", STEP, ""], "{steps:?}");
    let mut healthy = story.policy(POLICY, |policy| word_of(policy, "Healthy"));
    // The first evaluation may come before the first scrape: then nothing is known.
    if healthy.get(1).is_some_and(|word| word == "Unknown NotObserved") {
        healthy.remove(1);
    }
    let expected = ["", "True AllTargetsHealthy", "True TargetsPending", "False TargetsUnhealthy", "Unknown Verifying"];
    ensure!(
        healthy[..expected.len()] == expected && healthy.last() == expected.get(1).map(|w| (*w).to_owned()).as_ref(),
        "{healthy:?}"
    );
    Ok(())
}

fn word_of(policy: &HealingPolicy, kind: &str) -> String {
    prunella_e2e::condition(policy, kind).map(|one| format!("{} {}", one.status, one.reason)).unwrap_or_default()
}

/// The output of kubectl at one time.
struct Shown {
    row: BTreeMap<String, String>,
    description: String,
}

/// Reads the policy with kubectl until its action has ended.
async fn shown_until_over(room: &Room<'_>) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    eventually(PATIENCE, "kubectl to show the outcome", async || {
        let description = room.kubectl(&["describe", "healingpolicies", POLICY]).await?;
        let table = Table::parse(&room.kubectl(&["get", "healingpolicies"]).await?);
        let row = table.rows.first().context("no policy")?.clone();
        let outcome = row.get("OUTCOME").cloned().unwrap_or_default();
        shown.push(Shown { row, description });
        ensure!(outcome == "Succeeded", "the outcome is {outcome:?}");
        Ok(())
    })
    .await?;
    let description = room.kubectl(&["describe", "healingpolicies", POLICY]).await?;
    if let Some(last) = shown.last_mut() {
        last.description = description;
    }
    Ok(shown)
}

fn kubectl_showed(shown: &[Shown]) -> Result<()> {
    for state in ["Pending", "Settling", "Verifying"] {
        let line = |line: &str| line.split_whitespace().eq(["State:", state]);
        let seen = shown.iter().any(|one| one.description.lines().any(line));
        ensure!(seen, "kubectl describe never showed a target that is {state}");
    }
    let cell = |one: &Shown, column: &str| one.row.get(column).cloned().unwrap_or_default();
    // Firing ends with the eviction: the watch has seen it, but kubectl may be too slow.
    let healthy: Vec<_> = shown.iter().map(|one| cell(one, "HEALTHY")).collect();
    ensure!(healthy.iter().any(|word| word == "Unknown"), "kubectl never showed the verification: {healthy:?}");
    let last = shown.last().context("nothing was shown")?;
    for (column, value) in [
        ("MODE", "Enforce"),
        ("READY", "True"),
        ("SELECTED", "3"),
        ("PENDING", "0"),
        ("FIRING", "0"),
        ("LAST-ACTION", "DeletePod"),
        ("OUTCOME", "Succeeded"),
    ] {
        ensure!(cell(last, column) == value, "{column} is {:?}", cell(last, column));
    }
    Ok(())
}

/// The columns of both kinds, and the row of the action.
async fn columns(room: &Room<'_>) -> Result<()> {
    let policies = Table::parse(&room.kubectl(&["get", "healingpolicies"]).await?);
    let expected = "NAME MODE READY HEALTHY SELECTED PENDING FIRING BLOCKED LAST-ACTION OUTCOME LAST AGE".split(' ');
    ensure!(policies.columns.iter().map(String::as_str).eq(expected), "{:?}", policies.columns);
    let actions = Table::parse(&room.kubectl(&["get", "healingactions"]).await?);
    ensure!(actions.columns == ["NAME", "POLICY", "TARGET", "ACTION", "STEP", "STATE", "AGE"], "{:?}", actions.columns);
    let row = actions.rows.first().context("no action")?;
    for (column, value) in [("POLICY", POLICY), ("ACTION", "DeletePod"), ("STEP", STEP), ("STATE", "Succeeded")] {
        ensure!(row.get(column).is_some_and(|cell| cell == value), "{column}: {row:?}");
    }
    Ok(())
}

/// One Event for each transition, in order, with numbers for people.
async fn events_in_order(room: &Room<'_>, uid: &str) -> Result<()> {
    let expected = ["Firing", "Reserved", "Running", "Settling", "Verifying", "Succeeded"];
    eventually(PATIENCE, "the Events", async || {
        let events = room.events_on(uid).await?;
        let reasons: Vec<_> = events.iter().map(|one| one.reason.as_str()).collect();
        ensure!(reasons == expected, "{reasons:?}");
        ensure!(events.iter().all(|one| one.times == 1), "an Event was written more than once: {events:?}");
        let firing = events.first().context("no Event")?;
        ensure!(firing.note.contains("is unhealthy") && firing.note.contains(" MB)"), "{firing:?}");
        Ok(())
    })
    .await
}
