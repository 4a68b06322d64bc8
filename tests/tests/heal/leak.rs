//! The main job: of three pods one leaks memory; it is evicted, and its replacement
//! is seen to be well.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_e2e::{CONTROLLER, PATIENCE, Room, Story, Table, eventually, in_room, instant, name_of, restarts, uid_of};
use serde_json::json;

const POLICY: &str = "memory";
const INTERVAL: SignedDuration = SignedDuration::from_secs(2);
const FOR: SignedDuration = SignedDuration::from_secs(4);
const BOUND: f64 = 100.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_leaking_pod_of_three_is_evicted_and_the_others_are_left_alone() -> Result<()> {
    in_room("leak", async |room| {
        room.apply(&room.example("sample-app/pdb.yaml")?).await?;
        let pods = room.deploy(3).await?;
        let [leaking, others @ ..] = pods.as_slice() else { unreachable!("three are ready") };
        let query = format!(r#"process_resident_memory_bytes{{namespace="{}"}} > {BOUND}"#, room.name());
        let mut policy = room.policy(POLICY, &query);
        policy["spec"]["interval"] = json!("2s");
        policy["spec"]["condition"]["for"] = json!("4s");
        let story = Story::of(room);
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;

        let (not_visible, shown, ()) = tokio::try_join!(
            last_unseen(room, &query),
            shown_until_over(room),
            room.simulate(leaking, "memory-leak?rate=100Mi&ceiling=150Mi"),
        )?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;

        begun_in_time(room, not_visible)?;
        one_write(room, leaking)?;
        others_untouched(&room.ready_pods(3).await?, others, leaking)?;
        record_tells(&action, leaking, &query)?;
        stages_in_order(&story, &action)?;
        kubectl_showed(&shown)?;
        told_in_order(room, &uid_of(leaking)).await?;
        let policy = room.policy_now(POLICY).await?;
        told_in_order(room, policy.metadata.uid.as_deref().unwrap_or_default()).await
    })
    .await
}

/// The last instant at which Prometheus did not show the breach yet: earlier than
/// the first at which it did, so that no delay is hidden.
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

fn begun_in_time(room: &Room<'_>, not_visible: Timestamp) -> Result<()> {
    let writes = room.healing_writes()?;
    let took = instant(writes.first().context("nothing was evicted")?)?.duration_since(not_visible);
    let bound = FOR + INTERVAL * 2 + SignedDuration::from_secs(1);
    println!("evicted {took:#.3} after the breach became visible: for {FOR:#}, interval {INTERVAL:#}, bound {bound:#}");
    ensure!(took <= bound, "evicted {took:#} after the breach became visible, later than {bound:#}");
    ensure!(took >= FOR, "evicted {took:#} after the breach became visible, which did not hold for {FOR:#}");
    Ok(())
}

/// HP-14, seen by the API server: one request, by the controller, for that very pod.
fn one_write(room: &Room<'_>, leaking: &Pod) -> Result<()> {
    let writes = room.healing_writes()?;
    let [eviction] = writes.as_slice() else { anyhow::bail!("the controller asked for {writes:#?}") };
    let object = &eviction.object_ref;
    ensure!(eviction.verb == "create" && eviction.succeeded(), "{eviction:#?}");
    ensure!((object.resource.as_str(), object.subresource.as_str()) == ("pods", "eviction"), "{eviction:#?}");
    ensure!(object.name == name_of(leaking), "{} was evicted", object.name);
    let uid = eviction.request_object.pointer("/deleteOptions/preconditions/uid");
    ensure!(uid == Some(&json!(uid_of(leaking))), "evicted without the uid as precondition: {eviction:#?}");

    // Nobody else helped.
    let removals = room.requests()?.into_iter().filter(|request| {
        let pod = request.object_ref.resource == "pods" && request.object_ref.name == name_of(leaking);
        let removes = request.verb == "delete" || request.object_ref.subresource == "eviction";
        // The kubelet takes a pod out when its containers have ended.
        pod && removes && !request.user.groups.iter().any(|group| group == "system:nodes")
    });
    let by: Vec<_> = removals.map(|request| request.user.username).collect();
    ensure!(by == [CONTROLLER], "{by:?} took it away");
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

fn record_tells(action: &HealingAction, leaking: &Pod, query: &str) -> Result<()> {
    let spec = &action.spec;
    let status = action.status.as_ref().context("the action has no status")?;
    ensure!(spec.target.name == name_of(leaking) && spec.target.uid == uid_of(leaking), "{:?}", spec.target);
    ensure!(spec.subject.kind == "Deployment" && spec.subject.name == "sample-app", "{:?}", spec.subject);
    ensure!(spec.action_name == "DeletePod" && spec.rung == 1 && spec.attempt == 1, "{spec:#?}");
    ensure!(spec.evidence.query == query, "{}", spec.evidence.query);
    ensure!(spec.evidence.labels.get("pod") == Some(&name_of(leaking)), "{:?}", spec.evidence.labels);
    ensure!(spec.evidence.value.parse::<f64>()? > BOUND, "{}", spec.evidence.value);
    ensure!(status.outcome_reason.as_deref() == Some("Cleared"), "{status:#?}");
    let writes: Vec<_> = status.writes.iter().map(|write| (write.request.as_str(), write.object.clone())).collect();
    ensure!(writes == [("create pods/eviction", format!("Pod/{}", name_of(leaking)))], "{writes:?}");

    // Times are kept in whole seconds.
    let held = spec.evidence.observed_at.0.duration_since(spec.evidence.since.0);
    ensure!(held >= FOR - SignedDuration::from_secs(1), "the evidence held for {held:#}");
    let times: [(&str, Option<&Time>); 8] = [
        ("since", Some(&spec.evidence.since)),
        ("observedAt", Some(&spec.evidence.observed_at)),
        ("created", action.metadata.creation_timestamp.as_ref()),
        ("startedAt", status.started_at.as_ref()),
        ("executedAt", status.executed_at.as_ref()),
        ("settledAt", status.settled_at.as_ref()),
        ("finishedAt", status.finished_at.as_ref()),
        ("verifyBy", status.verify_by.as_ref()),
    ];
    ensure!(times.iter().all(|(_, time)| time.is_some()), "a time is missing: {times:?}");
    ensure!(times.is_sorted_by_key(|(_, time)| time.map(|time| time.0)), "times out of order: {times:?}");
    Ok(())
}

/// Every stage of the action and of its target was there to see, and none twice.
fn stages_in_order(story: &Story, action: &HealingAction) -> Result<()> {
    let name = action.metadata.name.as_deref().unwrap_or_default();
    let states = story.action_states(name);
    ensure!(states == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{states:?}");
    let targets = story.policy(POLICY, |policy| {
        let sick = policy.status.as_ref().map(|status| status.sick.as_slice()).unwrap_or_default();
        sick.iter().map(|target| target.state.as_str()).collect::<Vec<_>>().join(",")
    });
    ensure!(targets == ["", "Pending", "Firing", "Acting", "Settling", "Verifying", ""], "{targets:?}");
    let mut healthy = story.policy(POLICY, |policy| word_of(policy, "Healthy"));
    // The first look may come before anything was scraped: nobody can say then.
    if healthy.get(1).is_some_and(|word| word == "Unknown NotObserved") {
        healthy.remove(1);
    }
    let expected = ["", "True NoTargetSick", "True TargetsPending", "False TargetsSick", "Unknown Verifying"];
    ensure!(
        healthy[..expected.len()] == expected && healthy.last() == expected.get(1).map(|w| (*w).to_owned()).as_ref(),
        "{healthy:?}"
    );
    Ok(())
}

fn word_of(policy: &HealingPolicy, kind: &str) -> String {
    prunella_e2e::condition(policy, kind).map(|one| format!("{} {}", one.status, one.reason)).unwrap_or_default()
}

/// What kubectl printed at one instant.
struct Shown {
    row: BTreeMap<String, String>,
    description: String,
}

/// Looks at the policy as people do, until its action is over.
async fn shown_until_over(room: &Room<'_>) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    eventually(PATIENCE, "kubectl to show the end", async || {
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
    // Firing lasts no longer than it takes to evict: the watch has seen it, kubectl need not.
    let healthy: Vec<_> = shown.iter().map(|one| cell(one, "HEALTHY")).collect();
    ensure!(healthy.iter().any(|word| word == "Unknown"), "never shown as being verified: {healthy:?}");
    let last = shown.last().context("nothing was shown")?;
    for (column, value) in [
        ("MODE", "Enforce"),
        ("READY", "True"),
        ("SELECTED", "3"),
        ("LAST-ACTION", "DeletePod"),
        ("OUTCOME", "Succeeded"),
    ] {
        ensure!(cell(last, column) == value, "{column} is {:?}", cell(last, column));
    }
    Ok(())
}

/// One Event for each transition, in their order.
async fn told_in_order(room: &Room<'_>, uid: &str) -> Result<()> {
    let expected = ["Pending", "Firing", "Reserved", "Running", "Settling", "Verifying", "Succeeded"];
    eventually(PATIENCE, "the Events", async || {
        let told = room.told(uid).await?;
        let reasons: Vec<_> = told.iter().map(|one| one.reason.as_str()).collect();
        ensure!(reasons == expected, "{reasons:?}");
        ensure!(told.iter().all(|one| one.times == 1), "an Event came more than once: {told:?}");
        Ok(())
    })
    .await
}
