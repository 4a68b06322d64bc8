//! A workload is scaled up to the maximum, and no further.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use prunella_api::{HealingAction, SkippedStep};
use prunella_e2e::{PATIENCE, Room, eventually, in_room, uid_of};
use serde_json::{Value, json};
use testbed::audit::Event;

use crate::workload::{DEPLOYMENT, POLICY, STATEFUL_SET, STEP, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn scaled_by_one_up_to_the_maximum_then_the_step_is_skipped_with_its_reason() -> Result<()> {
    in_room("scale-up", async |room| {
        let unhealthy = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
        let mut policy = DEPLOYMENT.policy(room, &json!({"scale": {"by": 1, "max": 3}}));
        let spec = &mut policy["spec"];
        spec["limits"]["maxActions"]["count"] = json!(5);
        spec["steps"][0]["attempts"] = json!(5);
        // More replicas do not help this pod. Verification is short, so that it fails soon.
        spec["steps"][0]["verify"]["within"] = json!("6s");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;

        for (sequence, from, to) in [(1, 1, 2), (2, 2, 3)] {
            let action = room.until_outcome(POLICY, sequence, "Failed").await?;
            ensure!(recorded(&action)? == (from, to), "{:?}", action.spec.action);
            ensure!((&*action.spec.step, action.spec.step_number) == (STEP, 1), "{:?}", action.spec);
            ensure!(usize::try_from(action.spec.attempt)? == sequence, "{:?}", action.spec);
            ensure!(action.spec.target.uid == uid_of(&unhealthy), "{:?}", action.spec.target);
        }
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        let skipped = format!("skipped because they do not apply: step {STEP} (Scale): AtMaximum");
        ensure!(blocked.message.contains(&skipped), "{}", blocked.message);
        eventually(PATIENCE, "the Event", async || {
            let events = room.events_on(&uid_of(&unhealthy)).await?;
            let exhausted = events.iter().find(|one| one.reason == "Exhausted").context("there is none")?;
            ensure!(exhausted.note.contains(&skipped), "{exhausted:?}");
            Ok(())
        })
        .await?;

        // With a second step, that one is next. Its record says what was skipped.
        policy["spec"]["steps"] = json!([
            {"name": STEP, "action": {"scale": {"by": 1, "max": 3}}},
            {"name": "evict-pod", "action": {"deletePod": {}}, "verify": {"within": "2m"}},
        ]);
        room.apply(&policy).await?;
        let action = room.until_outcome(POLICY, 3, "Succeeded").await?;
        let spec = &action.spec;
        ensure!((&*spec.action_name, &*spec.step, spec.step_number) == ("DeletePod", "evict-pod", 2), "{spec:?}");
        let skipped = |one: &SkippedStep| (one.step.clone(), one.step_number, one.reason.clone());
        let skipped: Vec<_> = spec.skipped.iter().map(skipped).collect();
        ensure!(skipped == [(STEP.to_owned(), 1, "AtMaximum".to_owned())], "{skipped:?}");

        let writes = room.healing_writes()?;
        let [first, second, eviction] = writes.as_slice() else { anyhow::bail!("{writes:#?}") };
        sets(first, 1, 2)?;
        sets(second, 2, 3)?;
        ensure!(eviction.object_ref.subresource == "eviction", "{eviction:#?}");
        ensure!(replicas(room).await? == 3);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_stateful_set_is_scaled_to_a_number_and_verified_by_all_its_pods() -> Result<()> {
    in_room("scale-stateful", async |room| {
        let before = STATEFUL_SET.deploy(room, 1).await?;
        room.apply(&STATEFUL_SET.policy(room, &json!({"scale": {"to": 2, "max": 2}}))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&before[0], "gauge?value=9").await?;
        let after = STATEFUL_SET.ready_pods(room, 2).await?;
        ensure!(after.iter().any(|pod| uid_of(pod) == uid_of(&before[0])), "the unhealthy pod was replaced");
        eventually(PATIENCE, "the action to be verified", async || {
            let actions = room.actions(POLICY).await?;
            let state = actions.first().map(prunella_e2e::state).unwrap_or_default();
            ensure!(state == "Verifying", "it is {state:?}");
            Ok(())
        })
        .await?;
        // The load is shared now.
        room.simulate(&before[0], "gauge?value=1").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(recorded(&action)? == (1, 2), "{:?}", action.spec.action);
        let write = one_write(room)?;
        ensure!(what(&write) == "patch statefulsets/scale sample-app-stateful", "{}", what(&write));
        Ok(())
    })
    .await
}

/// The recorded numbers: before and after.
fn recorded(action: &HealingAction) -> Result<(i32, i32)> {
    let scale = action.spec.action.scale.as_ref().with_context(|| format!("{:?}", action.spec.action))?;
    Ok((scale.from, scale.to))
}

/// Checks that the request changes `from` to `to`, and only if the number is still `from`.
fn sets(write: &Event, from: i32, to: i32) -> Result<()> {
    ensure!(what(write) == "patch deployments/scale sample-app" && write.succeeded(), "{write:#?}");
    let operations = write.request_object.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_replicas = operations.iter().filter(|one| one["path"] == "/spec/replicas");
    let asked: Vec<_> = of_replicas.map(|one| (one["op"].clone(), one["value"].clone())).collect();
    let expected: [(Value, Value); 2] = [(json!("test"), json!(from)), (json!("replace"), json!(to))];
    ensure!(asked == expected, "{asked:?}");
    Ok(())
}

async fn replicas(room: &Room<'_>) -> Result<i32> {
    let spec = room.api::<Deployment>().get(DEPLOYMENT.name).await?.spec.context("no spec")?;
    spec.replicas.context("no replicas")
}
