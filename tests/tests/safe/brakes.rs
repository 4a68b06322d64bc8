//! What people hold healing back with: each brake is named where they look, holds for
//! as long as it is there, and lets go by itself when it is taken back.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Pod;
use prunella_api::SickTarget;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, alone, eventually, in_room, instant, name_of, uid_of};
use serde_json::{Value, json};
use testbed::audit::Event;

use crate::source::Source;

const POLICY: &str = "gauge";
/// Over so many looks nothing is done.
const LOOKS: usize = 4;
const HEAL: &str = "prunella.dev/heal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_suspended_policy_goes_on_judging_and_begins_nothing() -> Result<()> {
    in_room("suspended", async |room| {
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["suspend"] = json!(true);
        let braked = Braked::new(room, policy).await?;
        braked.refuses("Suspended").await?;
        room.until_condition(POLICY, "Ready", "True", "Suspended").await?;
        let patch = json!({"spec": {"suspend": false}}).to_string();
        room.kubectl(&["patch", "healingpolicy", POLICY, "--type=merge", "--patch", &patch]).await?;
        braked.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_hold_on_a_namespace_holds_there() -> Result<()> {
    in_room("hold", async |room| {
        let on = ["namespace", room.name()];
        annotate(room, &on, "prunella.dev/hold=migration").await?;
        let braked = Braked::new(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        braked.refuses("Held").await?;
        annotate(room, &on, "prunella.dev/hold-").await?;
        braked.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_hold_on_the_controllers_namespace_holds_everywhere() -> Result<()> {
    alone("hold-all", async |room| {
        let on = ["namespace", NAMESPACE];
        annotate(room, &on, "prunella.dev/hold=incident").await?;
        let held: Result<Braked<'_, '_>> = async {
            let braked = Braked::new(room, room.policy(POLICY, &room.gauge_over(5))).await?;
            braked.refuses("Held").await?;
            Ok(braked)
        }
        .await;
        let freed = annotate(room, &on, "prunella.dev/hold-").await;
        freed?;
        let braked = held?;
        braked.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pods_own_opt_out_is_kept() -> Result<()> {
    in_room("opt-out-pod", async |room| {
        let braked = Braked::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        let pod = name_of(&braked.sick);
        annotate(room, &["pod", &pod], &format!("{HEAL}=disabled")).await?;
        braked.released().await?;
        braked.refuses("OptedOut").await?;
        annotate(room, &["pod", &pod], &format!("{HEAL}-")).await?;
        braked.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployments_opt_out_is_kept_for_its_pods() -> Result<()> {
    in_room("opt-out-deployment", async |room| {
        let on = ["deployment", "sample-app"];
        let braked = Braked::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        annotate(room, &on, &format!("{HEAL}=disabled")).await?;
        braked.released().await?;
        braked.refuses("OptedOut").await?;
        annotate(room, &on, &format!("{HEAL}-")).await?;
        braked.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_namespaces_opt_out_ends_at_its_time() -> Result<()> {
    in_room("opt-out-until", async |room| {
        let braked = Braked::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        // Long enough for the looks below.
        let until = Timestamp::from_second(Timestamp::now().as_second())? + 25.seconds();
        annotate(room, &["namespace", room.name()], &format!("{HEAL}={until}")).await?;
        braked.released().await?;
        let sick = braked.refuses("OptedOut").await?;
        ensure!(sick.blocked_until.as_ref().map(|time| time.0) == Some(until), "not until {until}: {sick:?}");
        braked.heals().await?;
        let writes = room.healing_writes()?;
        let late = instant(writes.first().context("nothing was evicted")?)?.duration_since(until);
        println!("evicted {late:#.3} after the opt-out ended");
        // The clocks are the same machine's, and times are told in whole seconds.
        ensure!(late >= -SignedDuration::from_millis(200), "evicted {late:#} after the opt-out ended");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn waiting_for_a_disruption_budget_costs_no_time_to_verify() -> Result<()> {
    const WITHIN: SignedDuration = SignedDuration::from_secs(10);
    in_room("budget", async |room| {
        let pods = room.deploy(2).await?;
        let sick = pods.first().context("no pod")?;
        let mut budget = room.example("sample-app/pdb.yaml")?;
        budget["spec"]["maxUnavailable"] = json!(0);
        room.apply(&budget).await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["steps"][0]["verify"]["within"] = json!("10s");
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(sick, "gauge?value=9").await?;

        // More tries than verification may last, by the clock: one every five seconds.
        let tries = eventually(PATIENCE, "four refused evictions", async || {
            let tries = room.healing_writes()?;
            ensure!(tries.len() >= 4, "there were {}", tries.len());
            Ok(tries)
        })
        .await?;
        ensure!(tries.iter().all(|one| one.response_status.code == 429), "{tries:#?}");
        let times = tries.iter().map(instant).collect::<Result<Vec<_>>>()?;
        let pauses: Vec<_> = times.windows(2).map(|two| two[1].duration_since(two[0])).collect();
        println!("tried again after {pauses:.1?}");
        let steady = SignedDuration::from_secs(4)..SignedDuration::from_secs(10);
        ensure!(pauses.iter().all(|pause| steady.contains(pause)), "tried again after {pauses:?}");
        let action = room.actions(POLICY).await?.pop().context("no action")?;
        let status = action.status.context("no status")?;
        ensure!(status.blocked_by.as_deref() == Some("DisruptionBudget"), "{status:#?}");
        ensure!(status.verify_by.is_none() && status.settle_by.is_none(), "a clock is running: {status:#?}");
        let told = room.told(&uid_of(sick)).await?;
        let blocked: Vec<_> = told.iter().filter(|one| one.reason == "Blocked").collect();
        ensure!(matches!(blocked.as_slice(), [one] if one.warning && one.times == 1), "{told:#?}");

        budget["spec"]["maxUnavailable"] = json!(1);
        room.apply(&budget).await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let status = action.status.context("no status")?;
        let (started, settled, by) = (status.started_at, status.settled_at, status.verify_by);
        let (started, settled, by) = (started.context("not started")?, settled.context("not settled")?, by);
        let by = by.context("never verified")?;
        let waited = settled.0.duration_since(started.0);
        println!("begun, then settled {waited:#} later, then verified within {WITHIN:#}");
        ensure!(waited > WITHIN, "it waited for {waited:#} only");
        let left = by.0.duration_since(settled.0);
        ensure!((left - WITHIN).abs() <= SignedDuration::from_secs(1), "{left:#} to verify");
        ensure!(status.blocked_by.is_none(), "still held up: {:?}", status.blocked_by);
        let done = room.healing_writes()?.into_iter().filter(Event::succeeded).count();
        ensure!(done == 1, "{done} evictions");
        Ok(())
    })
    .await
}

/// A policy with one sick pod, and something that keeps it from acting.
struct Braked<'a, 'g> {
    room: &'a Room<'g>,
    source: Source,
    sick: Pod,
}

impl<'a, 'g> Braked<'a, 'g> {
    /// With the brake in place already.
    async fn new(room: &'a Room<'g>, mut policy: Value) -> Result<Self> {
        let source = Source::new(room, "counting").await?;
        source.ask_by(&mut policy);
        let sick = room.deploy(2).await?.swap_remove(0);
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(&sick, "gauge?value=9").await?;
        Ok(Self { room, source, sick })
    }

    /// With the brake still to come: until [`Braked::released`] the policy is suspended.
    async fn held(room: &'a Room<'g>, mut policy: Value) -> Result<Self> {
        policy["spec"]["suspend"] = json!(true);
        let braked = Self::new(room, policy).await?;
        room.until_condition(POLICY, "Blocked", "True", "Suspended").await?;
        Ok(braked)
    }

    async fn released(&self) -> Result<()> {
        let patch = json!({"spec": {"suspend": false}}).to_string();
        self.room.kubectl(&["patch", "healingpolicy", POLICY, "--type=merge", "--patch", &patch]).await.map(drop)
    }

    /// The brake is named, and over several looks nothing is done. How the status tells
    /// it of the sick pod.
    async fn refuses(&self, word: &str) -> Result<SickTarget> {
        let room = self.room;
        room.until_condition(POLICY, "Blocked", "True", word).await?;
        self.source.asked_again(&room.gauge_over(5), LOOKS).await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", word).await?;
        println!("{word}: {}", blocked.message);
        let status = room.policy_now(POLICY).await?.status.context("no status")?;
        let counts: Vec<_> = status.blocked.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        ensure!(counts == [(word, 1)], "{counts:?}");
        let [sick] = status.sick.as_slice() else { anyhow::bail!("these are sick: {:?}", status.sick) };
        ensure!(sick.uid == uid_of(&self.sick) && sick.state == "Firing", "{sick:?}");
        ensure!(sick.blocked_by.as_deref() == Some(word), "{sick:?}");
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
        let writes = room.healing_writes()?;
        ensure!(writes.is_empty(), "{writes:#?}");
        Ok(sick.clone())
    }

    /// It goes on where it was, and nobody is asked again.
    async fn heals(&self) -> Result<()> {
        let action = self.room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(&self.sick), "{:?}", action.spec.target);
        Ok(())
    }
}

async fn annotate(room: &Room<'_>, object: &[&str; 2], mark: &str) -> Result<()> {
    room.kubectl(&["annotate", "--overwrite", object[0], object[1], mark]).await.map(drop)
}
