//! A pod whose controller is a `ReplicaSet` of nobody's: it is healed, and the set is what
//! must be whole again.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{in_room, name_of, uid_of};
use serde_json::json;

use crate::workload::{POLICY, REPLICA_SET, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_sick_pod_of_a_replica_set_that_nobody_owns_is_replaced() -> Result<()> {
    in_room("replica-set", async |room| {
        let before = REPLICA_SET.deploy(room, 2).await?;
        let sick = before.first().context("no pod")?;
        room.apply(&REPLICA_SET.policy(room, &json!({"deletePod": {}}))).await?;
        room.until_judged(POLICY).await?;
        room.simulate(sick, "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let subject = &action.spec.subject;
        ensure!((&*subject.kind, &*subject.name) == (REPLICA_SET.kind, REPLICA_SET.name), "{subject:?}");
        let write = one_write(room)?;
        ensure!(what(&write) == format!("create pods/eviction {}", name_of(sick)), "{}", what(&write));
        let after = REPLICA_SET.ready_pods(room, 2).await?;
        ensure!(after.iter().all(|pod| uid_of(pod) != uid_of(sick)), "it was not replaced");
        Ok(())
    })
    .await
}
