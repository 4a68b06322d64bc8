//! A workload is changed once, even if the controller is killed meanwhile, and a change by
//! somebody else is never overwritten.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, Place, Room, alone, eventually, in_its_place};
use serde_json::{Value, json};
use testbed::proxy::{Fate, On, Rule};
use testbed::{Proxy, ProxyOptions};

use crate::workload::{DEPLOYMENT, POLICY, STATEFUL_SET, Workload, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn killed_when_a_restart_was_written_and_before_it_was_recorded_it_is_written_once() -> Result<()> {
    alone("restart-killed", async |room| {
        let resource = DEPLOYMENT.resource.to_owned();
        in_its_place(room, async |place| {
            Box::pin(killed(room, place, DEPLOYMENT, &json!({"rolloutRestart": {}}), resource)).await
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn killed_when_a_scaling_was_written_and_before_it_was_recorded_it_is_written_once() -> Result<()> {
    alone("scale-killed", async |room| {
        let action = json!({"scale": {"by": 1, "max": 9}});
        let resource = format!("{}/scale", STATEFUL_SET.resource);
        in_its_place(room, async |place| Box::pin(killed(room, place, STATEFUL_SET, &action, resource)).await).await
    })
    .await
}

/// Kills the controller after the change has taken effect, before it receives the response.
async fn killed(
    room: &Room<'_>,
    place: &Place<'_>,
    workload: Workload,
    action: &Value,
    resource: String,
) -> Result<()> {
    let proxy = proxy(room).await?;
    let unhealthy = workload.deploy(room, 1).await?.swap_remove(0);
    let first = place.start(&proxy).await?;
    let written = On { method: Some("PATCH".into()), resource: Some(resource.clone()), ..On::default() };
    let kill = proxy.arm(Rule::new(written, Fate::ApplyThenDrop).killing(first.process.0));
    room.apply(&workload.policy(room, action)).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&unhealthy, "gauge?value=9").await?;
    first.process.until_dead().await;
    // The proxy counts the hit a moment after the controller is dead.
    tokio::time::timeout(PATIENCE, proxy.until_hit(kill)).await.context("it died for another reason")?;
    ensure!(proxy.hits(kill) == 1, "it wrote again");
    let record = room.actions(POLICY).await?.pop().context("there is no action")?;
    ensure!(prunella_e2e::state(&record) == "Running", "the state is already {}", prunella_e2e::state(&record));

    place.start(&proxy).await?;
    verifying(room).await?;
    // If the unhealthy pod still exists, its load is shared now.
    let _ = room.simulate(&unhealthy, "gauge?value=1").await;
    room.until_outcome(POLICY, 1, "Succeeded").await?;
    let write = one_write(room)?;
    ensure!(what(&write) == format!("patch {resource} {}", workload.name), "{}", what(&write));
    ensure!(room.actions(POLICY).await?.len() == 1, "a second action was reserved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_number_that_somebody_else_has_changed_meanwhile_stays() -> Result<()> {
    alone("scale-other", async |room| {
        in_its_place(room, async |place| {
            let proxy = proxy(room).await?;
            let unhealthy = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
            place.start(&proxy).await?;
            let on = On { method: Some("PATCH".into()), resource: Some("deployments/scale".into()), ..On::default() };
            let held = proxy.arm(Rule::new(on, Fate::Stall { millis: None }));
            room.apply(&DEPLOYMENT.policy(room, &json!({"scale": {"by": 1, "max": 9}}))).await?;
            room.until_evaluated(POLICY).await?;
            room.simulate(&unhealthy, "gauge?value=9").await?;
            proxy.until_hit(held).await;
            room.kubectl(&["scale", "deployment", DEPLOYMENT.name, "--replicas=3"]).await?;
            proxy.release();
            let action = room.until_outcome(POLICY, 1, "Inconclusive").await?;
            let reason = action.status.and_then(|status| status.outcome_reason);
            ensure!(reason.as_deref() == Some("ChangedByOthers"), "{reason:?}");
            let write = one_write(room)?;
            ensure!(write.response_status.code == 422, "the response is {:?}", write.response_status);
            DEPLOYMENT.ready_pods(room, 3).await.map(drop)
        })
        .await
    })
    .await
}

async fn proxy(room: &Room<'_>) -> Result<Proxy> {
    let uncounted = ["leases", "events"].map(String::from).into();
    room.ground.testbed.proxy(ProxyOptions { uncounted, ..ProxyOptions::default() }).await
}

async fn verifying(room: &Room<'_>) -> Result<()> {
    eventually(PATIENCE, "the action to be verified", async || {
        let state = room.actions(POLICY).await?.first().map(prunella_e2e::state).unwrap_or_default();
        ensure!(["Verifying", "Succeeded"].contains(&state.as_str()), "it is {state:?}");
        Ok(())
    })
    .await
}
