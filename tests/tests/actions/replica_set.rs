//! A pod of a `ReplicaSet` without a Deployment: it is replaced, and the `ReplicaSet` is the
//! subject.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{in_room, name_of, uid_of};
use serde_json::json;

use crate::workload::{POLICY, REPLICA_SET, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_unhealthy_pod_of_a_replica_set_without_an_owner_is_replaced() -> Result<()> {
    in_room("replica-set", async |room| {
        let before = REPLICA_SET.deploy(room, 2).await?;
        let unhealthy = before.first().context("no pod")?;
        room.apply(&REPLICA_SET.policy(room, &json!({"deletePod": {}}))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let subject = &action.spec.subject;
        ensure!((&*subject.kind, &*subject.name) == (REPLICA_SET.kind, REPLICA_SET.name), "{subject:?}");
        let write = one_write(room)?;
        ensure!(what(&write) == format!("create pods/eviction {}", name_of(unhealthy)), "{}", what(&write));
        let after = REPLICA_SET.ready_pods(room, 2).await?;
        ensure!(after.iter().all(|pod| uid_of(pod) != uid_of(unhealthy)), "it was not replaced");
        Ok(())
    })
    .await
}
