//! Policies that look at the same instant are asked in one request: each is judged by its
//! own answer, and one that has none hurts only itself.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{condition, in_room, name_of};
use serde_json::json;

use crate::app::{self, APP, deploy, done, status};

/// So many policies, each with a bound of its own.
const BOUNDS: i32 = 24;
/// The gauge of one pod: above half of the bounds.
const GAUGE: i32 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn each_is_judged_by_its_own_answer_and_one_that_has_none_hurts_only_itself() -> Result<()> {
    in_room("together", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let name = |bound: i32| format!("over-{bound}");
        for bound in 0..BOUNDS {
            let mut policy = app::policy(room, &name(bound), &room.gauge_over(bound));
            policy["spec"]["mode"] = json!("DryRun");
            room.apply(&policy).await?;
        }
        // With two pods each side has two series to match: nothing that a parser could see.
        let gauge = format!(r#"sample_app_gauge{{namespace="{}"}}"#, room.name());
        room.apply(&app::policy(room, "many", &format!("{gauge} * on (namespace) {gauge} > 0"))).await?;

        for bound in 0..BOUNDS {
            room.until_condition(&name(bound), "Healthy", "True", "NoTargetSick").await?;
        }
        room.until_condition("many", "Observed", "False", "BadQuery").await?;
        room.simulate(&pods[0], &format!("gauge?value={GAUGE}")).await?;
        for bound in 0..GAUGE {
            room.until_condition(&name(bound), "Healthy", "False", "TargetsSick").await?;
            let sick = status(room, &name(bound)).await?.sick;
            let names: Vec<_> = sick.iter().map(|one| one.name.as_str()).collect();
            ensure!(names == [name_of(&pods[0])], "{bound}: {sick:?}");
        }
        for bound in GAUGE..BOUNDS {
            let policy = room.policy_now(&name(bound)).await?;
            for (kind, reason) in [("Healthy", "NoTargetSick"), ("Observed", "Answered")] {
                let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
                ensure!(found.reason == reason, "{bound}: {found:?}");
            }
        }
        ensure!(done(room)?.is_empty(), "{:#?}", done(room)?);
        Ok(())
    })
    .await
}
