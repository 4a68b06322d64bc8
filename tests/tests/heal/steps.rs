//! `spec.steps` is a list of named steps: one step can be patched without the others, and the
//! API server refuses names that are missing or not unique.

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use prunella_api::HealingPolicy;
use prunella_e2e::{Room, STEP, in_room};
use serde_json::{Value, json};

const POLICY: &str = "steps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn one_step_is_patched_by_its_name_and_the_others_stay() -> Result<()> {
    in_room("steps-patch", async |room| {
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        let restart = json!({"name": "restart", "action": {"rolloutRestart": {}}});
        policy["spec"]["steps"].as_array_mut().context("no steps")?.push(restart);
        room.apply(&policy).await?;
        let before = room.policy_now(POLICY).await?.spec.steps;

        let patch = json!({
            "apiVersion": policy["apiVersion"], "kind": policy["kind"], "metadata": {"name": POLICY},
            "spec": {"steps": [{"name": "restart", "attempts": 2}]},
        });
        let policies = room.api::<HealingPolicy>();
        policies.patch(POLICY, &PatchParams::apply("another-manager"), &Patch::Apply(&patch)).await?;

        let after = room.policy_now(POLICY).await?.spec.steps;
        let [first, second] = after.as_slice() else { anyhow::bail!("there are {} steps: {after:#?}", after.len()) };
        let [first_before, second_before] = before.as_slice() else { anyhow::bail!("{before:#?}") };
        ensure!(first.name == STEP && first == first_before, "the first step was {first_before:?}, now {first:?}");
        ensure!((second.name.as_str(), second.attempts) == ("restart", 2), "{second:?}");
        ensure!(second.action == second_before.action && second_before.attempts == 1, "{second_before:?}, {second:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn steps_without_a_name_or_with_the_same_name_are_refused() -> Result<()> {
    in_room("steps-names", async |room| {
        let action = json!({"deletePod": {}});
        let twice = json!([{"name": STEP, "action": action}, {"name": STEP, "action": action}]);
        let unnamed = json!([{"action": action}]);
        let quoted = format!("{STEP:?}");
        for (steps, created, applied) in [
            (
                &twice,
                ["spec.steps[1]: Duplicate value", quoted.as_str()],
                ["duplicate entries for key", quoted.as_str()],
            ),
            (&unnamed, ["spec.steps[0].name", "Required value"], [".spec.steps", r#"omits all key fields ["name"]"#]),
        ] {
            let mut policy = room.policy(POLICY, &room.gauge_over(5));
            policy["spec"]["steps"] = steps.clone();
            for (message, expected) in
                [(refused_create(room, &policy).await?, created), (refused_apply(room, &policy).await?, applied)]
            {
                println!("{message}");
                ensure!(expected.iter().all(|part| message.contains(part)), "expected {expected:?}: {message}");
            }
        }
        Ok(())
    })
    .await
}

/// The API server's message about a policy that it refuses to create.
async fn refused_create(room: &Room<'_>, policy: &Value) -> Result<String> {
    let policies = untyped(room);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let created = policies.create(&params, &serde_json::from_value(policy.clone())?).await;
    Ok(created.err().context("the policy was created")?.to_string())
}

/// The same for a server-side apply.
async fn refused_apply(room: &Room<'_>, policy: &Value) -> Result<String> {
    let applied = untyped(room).patch(POLICY, &PatchParams::apply("e2e"), &Patch::Apply(policy)).await;
    Ok(applied.err().context("the policy was applied")?.to_string())
}

/// Policies without the Rust types, which refuse a step without a name themselves.
fn untyped(room: &Room<'_>) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<HealingPolicy>(&());
    Api::namespaced_with(room.ground.client.clone(), room.name(), &resource)
}
