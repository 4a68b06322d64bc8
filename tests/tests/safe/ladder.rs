//! An action that did not help for long is tried again, then the next step, and then nothing.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_api::HealingAction;
use prunella_e2e::{Room, STEP, in_room, name_of, uid_of};
use serde_json::{Value, json};

use crate::newcomer::newcomer;
use crate::source::Source;

const POLICY: &str = "gauge";
/// For this many evaluations nothing more must be done.
const EVALUATIONS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_is_unhealthy_again_and_again_is_tried_twice_and_then_exhausted() -> Result<()> {
    in_room("exhausted", async |room| {
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["steps"][0]["attempts"] = json!(2);
        let source = Source::new(room, "counting").await?;
        source.ask_by(&mut policy);
        let (mut pods, second, first) = unhealthy_twice(room, &policy).await?;
        ensure!(
            place(&first) == (STEP, 1, 1) && place(&second) == (STEP, 1, 2),
            "{:?}, {:?}",
            place(&first),
            place(&second)
        );

        let again = newcomer(room, 2, &pods).await?;
        pods.push(again.clone());
        room.simulate(&again, "gauge?value=9").await?;
        room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        let status = room.policy_now(POLICY).await?.status.context("no status")?;
        ensure!(status.targets.is_some_and(|targets| targets.exhausted == 1), "{:?}", status.targets);
        let blocked: Vec<_> = status.blocked.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        ensure!(blocked == [("Exhausted", 1)], "{blocked:?}");
        let unhealthy: Vec<_> = status
            .unhealthy
            .iter()
            .map(|one| (one.uid.clone(), one.state.as_str(), one.blocked_by.as_deref()))
            .collect();
        ensure!(unhealthy == [(uid_of(&again), "Exhausted", Some("Exhausted"))], "{unhealthy:?}");

        source.asked_again(&room.gauge_over(5), EVALUATIONS).await?;
        ensure!(room.actions(POLICY).await?.len() == 2, "another action was reserved");
        ensure!(room.pods().await?.iter().any(|pod| uid_of(pod) == uid_of(&again)), "the pod is gone");
        evicted(room, &[&pods[0], &pods[2]])?;
        for uid in [uid_of(&again), first.spec.policy.uid] {
            let events = room.events_on(&uid).await?;
            let events: Vec<_> = events.iter().filter(|one| one.reason == "Exhausted").collect();
            ensure!(matches!(events.as_slice(), [one] if one.warning && one.times == 1), "{events:#?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn when_eviction_did_not_help_for_long_the_next_step_deletes() -> Result<()> {
    in_room("climbing", async |room| {
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        let mut second = policy["spec"]["steps"][0].clone();
        second["name"] = json!("delete-pod");
        second["action"] = json!({"deletePod": {"disruption": "Delete"}});
        policy["spec"]["steps"].as_array_mut().context("no steps")?.push(second);
        let (pods, second, first) = unhealthy_twice(room, &policy).await?;
        ensure!(
            place(&first) == (STEP, 1, 1) && place(&second) == ("delete-pod", 2, 1),
            "{:?}, {:?}",
            place(&first),
            place(&second)
        );

        let writes = room.healing_writes()?;
        let [eviction, deletion] = writes.as_slice() else { anyhow::bail!("the controller sent {writes:#?}") };
        let object = &eviction.object_ref;
        ensure!((eviction.verb.as_str(), object.subresource.as_str()) == ("create", "eviction"), "{eviction:#?}");
        ensure!(object.name == name_of(&pods[0]) && eviction.succeeded(), "{eviction:#?}");
        let object = &deletion.object_ref;
        let what = (deletion.verb.as_str(), object.resource.as_str(), object.subresource.as_str());
        ensure!(what == ("delete", "pods", "") && deletion.succeeded(), "{deletion:#?}");
        ensure!(object.name == name_of(&pods[2]), "{deletion:#?}");
        let uid = deletion.request_object.pointer("/preconditions/uid");
        ensure!(uid == Some(&json!(uid_of(&pods[2]))), "deleted without the uid as precondition: {deletion:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn two_old_pods_that_become_unhealthy_are_two_first_attempts() -> Result<()> {
    in_room("two-old", async |room| {
        let pods = room.deploy(4).await?;
        let [first, second, ..] = pods.as_slice() else { unreachable!("four pods are ready") };
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["steps"][0]["attempts"] = json!(2);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        // One after the other, so that the second pod's workload already has a history.
        room.simulate(first, "gauge?value=9").await?;
        let one = room.until_outcome(POLICY, 1, "Succeeded").await?;
        room.ready_pods(4).await?;
        room.simulate(second, "gauge?value=9").await?;
        let other = room.until_outcome(POLICY, 2, "Succeeded").await?;
        ensure!(one.spec.target.uid == uid_of(first) && other.spec.target.uid == uid_of(second));
        ensure!(one.spec.subject == other.spec.subject, "{:?}, {:?}", one.spec.subject, other.spec.subject);
        ensure!(place(&one) == (STEP, 1, 1) && place(&other) == (STEP, 1, 1), "{:?}, {:?}", place(&one), place(&other));
        evicted(room, &[first, second])
    })
    .await
}

/// Makes one of two pods unhealthy, and then its replacement. Returns the three pods in order, then
/// the second and the first action.
async fn unhealthy_twice(room: &Room<'_>, policy: &Value) -> Result<(Vec<Pod>, HealingAction, HealingAction)> {
    let mut pods = room.deploy(2).await?;
    room.apply(policy).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&pods[0], "gauge?value=9").await?;
    let first = room.until_outcome(POLICY, 1, "Succeeded").await?;
    ensure!(first.spec.target.uid == uid_of(&pods[0]));
    let again = newcomer(room, 2, &pods).await?;
    room.simulate(&again, "gauge?value=9").await?;
    let second = room.until_outcome(POLICY, 2, "Succeeded").await?;
    ensure!(second.spec.target.uid == uid_of(&again));
    pods.push(again);
    Ok((pods, second, first))
}

/// Step, its number, and attempt.
fn place(action: &HealingAction) -> (&str, i32, i32) {
    (&action.spec.step, action.spec.step_number, action.spec.attempt)
}

/// Checks that the only writes were evictions of these pods.
fn evicted(room: &Room<'_>, pods: &[&Pod]) -> Result<()> {
    let writes = room.healing_writes()?;
    ensure!(writes.iter().all(|write| write.object_ref.subresource == "eviction"), "{writes:#?}");
    let asked: Vec<_> = writes.into_iter().map(|write| write.object_ref.name).collect();
    ensure!(asked == pods.iter().map(|pod| name_of(pod)).collect::<Vec<_>>(), "{asked:?}");
    Ok(())
}
