//! Many policies that are evaluated at the same instant: each uses the answer to its own query,
//! and a query that fails affects only its own policy.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{condition, in_room, name_of};
use serde_json::json;

use crate::app::{self, APP, deploy, done, status};

/// The number of policies. Each has its own limit.
const LIMITS: i32 = 24;
/// The gauge of one pod. It is above half of the limits.
const GAUGE: i32 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn policies_evaluated_at_the_same_instant_use_their_own_answers() -> Result<()> {
    in_room("same-instant", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let name = |limit: i32| format!("over-{limit}");
        for limit in 0..LIMITS {
            let mut policy = app::policy(room, &name(limit), &room.gauge_over(limit));
            policy["spec"]["mode"] = json!("DryRun");
            room.apply(&policy).await?;
        }
        // With two pods each side of the match has two series. Only the server can see that this
        // query fails.
        let gauge = format!(r#"sample_app_gauge{{namespace="{}"}}"#, room.name());
        room.apply(&app::policy(room, "many", &format!("{gauge} * on (namespace) {gauge} > 0"))).await?;

        for limit in 0..LIMITS {
            room.until_condition(&name(limit), "Healthy", "True", "AllTargetsHealthy").await?;
        }
        room.until_condition("many", "Observed", "False", "BadQuery").await?;
        room.simulate(&pods[0], &format!("gauge?value={GAUGE}")).await?;
        for limit in 0..GAUGE {
            room.until_condition(&name(limit), "Healthy", "False", "TargetsUnhealthy").await?;
            let unhealthy = status(room, &name(limit)).await?.unhealthy;
            let names: Vec<_> = unhealthy.iter().map(|one| one.name.as_str()).collect();
            ensure!(names == [name_of(&pods[0])], "{limit}: {unhealthy:?}");
        }
        for limit in GAUGE..LIMITS {
            let policy = room.policy_now(&name(limit)).await?;
            for (kind, reason) in [("Healthy", "AllTargetsHealthy"), ("Observed", "Answered")] {
                let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
                ensure!(found.reason == reason, "{limit}: {found:?}");
            }
        }
        ensure!(done(room)?.is_empty(), "{:#?}", done(room)?);
        Ok(())
    })
    .await
}
