//! A watch that the API server does not answer any more, while everything else works.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{Place, Room, condition, eventually, steadily};
use testbed::proxy::{Fate, On, Rule};

use crate::drill::proxy;

const POLICY: &str = "gauge";
/// An opened watch lasts 50 seconds, and counts as silent two minutes after that.
const SILENT_WITHIN: Duration = Duration::from_mins(5);

/// No action starts while pods are not watched, and one does when they are again.
pub(crate) async fn silent_watch(room: &Room<'_>, place: &Place<'_>) -> Result<()> {
    let proxy = proxy(room).await?;
    let pods = room.deploy(1).await?;
    room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
    place.start(&proxy).await?;
    room.until_evaluated(POLICY).await?;

    let watch = On { method: Some("GET".into()), path: Some("/api/v1/pods?".into()), ..On::default() };
    proxy.arm(Rule { times: u32::MAX - 1, ..Rule::new(watch, Fate::Answer(500)) });
    let held = eventually(SILENT_WITHIN, "the policy to be held", async || {
        let ready = condition(&room.policy_now(POLICY).await?, "Ready").context("no condition Ready")?;
        ensure!(ready.reason == "Held", "{}: {}", ready.reason, ready.message);
        Ok(ready.message)
    })
    .await?;
    println!("{held}");
    ensure!(held.contains("the watch of pods"), "{held}");
    room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
    room.until_condition(POLICY, "Blocked", "True", "Held").await?;
    steadily(Duration::from_secs(5), "the hold", async || {
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
        Ok(())
    })
    .await?;

    proxy.disarm();
    room.until_outcome(POLICY, 1, "Succeeded").await.map(drop)
}
