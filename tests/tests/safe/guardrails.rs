//! Guardrails that people set: each is reported, applies as long as it is set, and ends by itself
//! when it is removed.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Pod;
use prunella_api::UnhealthyTarget;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, alone, eventually, in_room, instant, name_of, uid_of};
use serde_json::{Value, json};
use testbed::audit::Event;

use crate::source::Source;

const POLICY: &str = "gauge";
/// For this many evaluations nothing must be done.
const EVALUATIONS: usize = 4;
const HEAL: &str = "prunella.dev/heal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_suspended_policy_is_still_evaluated_and_starts_nothing() -> Result<()> {
    in_room("suspended", async |room| {
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["suspend"] = json!(true);
        let held_back = HeldBack::new(room, policy).await?;
        held_back.refuses("Suspended").await?;
        room.until_condition(POLICY, "Ready", "True", "Suspended").await?;
        let patch = json!({"spec": {"suspend": false}}).to_string();
        room.kubectl(&["patch", "healingpolicy", POLICY, "--type=merge", "--patch", &patch]).await?;
        held_back.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_hold_on_a_namespace_holds_there() -> Result<()> {
    in_room("hold", async |room| {
        let on = ["namespace", room.name()];
        annotate(room, &on, "prunella.dev/hold=migration").await?;
        let held_back = HeldBack::new(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        held_back.refuses("Held").await?;
        annotate(room, &on, "prunella.dev/hold-").await?;
        held_back.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_hold_on_the_controllers_namespace_holds_everywhere() -> Result<()> {
    alone("hold-all", async |room| {
        let on = ["namespace", NAMESPACE];
        annotate(room, &on, "prunella.dev/hold=incident").await?;
        let held: Result<HeldBack<'_, '_>> = async {
            let held_back = HeldBack::new(room, room.policy(POLICY, &room.gauge_over(5))).await?;
            held_back.refuses("Held").await?;
            Ok(held_back)
        }
        .await;
        let freed = annotate(room, &on, "prunella.dev/hold-").await;
        freed?;
        let held_back = held?;
        held_back.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pods_own_opt_out_is_kept() -> Result<()> {
    in_room("opt-out-pod", async |room| {
        let held_back = HeldBack::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        let pod = name_of(&held_back.unhealthy);
        annotate(room, &["pod", &pod], &format!("{HEAL}=disabled")).await?;
        held_back.released().await?;
        held_back.refuses("OptedOut").await?;
        annotate(room, &["pod", &pod], &format!("{HEAL}-")).await?;
        held_back.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployments_opt_out_is_kept_for_its_pods() -> Result<()> {
    in_room("opt-out-deployment", async |room| {
        let on = ["deployment", "sample-app"];
        let held_back = HeldBack::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        annotate(room, &on, &format!("{HEAL}=disabled")).await?;
        held_back.released().await?;
        held_back.refuses("OptedOut").await?;
        annotate(room, &on, &format!("{HEAL}-")).await?;
        held_back.heals().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_namespaces_opt_out_ends_at_its_time() -> Result<()> {
    in_room("opt-out-until", async |room| {
        let held_back = HeldBack::held(room, room.policy(POLICY, &room.gauge_over(5))).await?;
        // Long enough for the evaluations below.
        let until = Timestamp::from_second(Timestamp::now().as_second())? + 25.seconds();
        annotate(room, &["namespace", room.name()], &format!("{HEAL}={until}")).await?;
        held_back.released().await?;
        let unhealthy = held_back.refuses("OptedOut").await?;
        ensure!(unhealthy.blocked_until.as_ref().map(|time| time.0) == Some(until), "not until {until}: {unhealthy:?}");
        held_back.heals().await?;
        let writes = room.healing_writes()?;
        let late = instant(writes.first().context("nothing was evicted")?)?.duration_since(until);
        println!("evicted {late:#.3} after the opt-out ended");
        // All clocks are of the same machine. Times in annotations are whole seconds.
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
        let unhealthy = pods.first().context("no pod")?;
        let mut budget = room.example("sample-app/pdb.yaml")?;
        budget["spec"]["maxUnavailable"] = json!(0);
        room.apply(&budget).await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["steps"][0]["verify"]["within"] = json!("10s");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(unhealthy, "gauge?value=9").await?;

        // One try every five seconds: these take longer than verification may last.
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
        let events = room.events_on(&uid_of(unhealthy)).await?;
        let blocked: Vec<_> = events.iter().filter(|one| one.reason == "Blocked").collect();
        ensure!(matches!(blocked.as_slice(), [one] if one.warning && one.times == 1), "{events:#?}");

        budget["spec"]["maxUnavailable"] = json!(1);
        room.apply(&budget).await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let status = action.status.context("no status")?;
        let (started, settled, by) = (status.started_at, status.settled_at, status.verify_by);
        let (started, settled, by) = (started.context("not started")?, settled.context("not settled")?, by);
        let by = by.context("never verified")?;
        let waited = settled.0.duration_since(started.0);
        println!("settled {waited:#} after the start, verified within {WITHIN:#}");
        ensure!(waited > WITHIN, "it waited only {waited:#}");
        let left = by.0.duration_since(settled.0);
        ensure!((left - WITHIN).abs() <= SignedDuration::from_secs(1), "{left:#} to verify");
        ensure!(status.blocked_by.is_none(), "still delayed: {:?}", status.blocked_by);
        let done = room.healing_writes()?.into_iter().filter(Event::succeeded).count();
        ensure!(done == 1, "{done} evictions");
        Ok(())
    })
    .await
}

/// A policy with one unhealthy pod, and a guardrail that holds it back.
struct HeldBack<'a, 'g> {
    room: &'a Room<'g>,
    source: Source,
    unhealthy: Pod,
}

impl<'a, 'g> HeldBack<'a, 'g> {
    /// With the guardrail already set.
    async fn new(room: &'a Room<'g>, mut policy: Value) -> Result<Self> {
        let source = Source::new(room, "counting").await?;
        source.ask_by(&mut policy);
        let unhealthy = room.deploy(2).await?.swap_remove(0);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;
        Ok(Self { room, source, unhealthy })
    }

    /// With the guardrail to be set later. Until [`HeldBack::released`] the policy is suspended.
    async fn held(room: &'a Room<'g>, mut policy: Value) -> Result<Self> {
        policy["spec"]["suspend"] = json!(true);
        let held_back = Self::new(room, policy).await?;
        room.until_condition(POLICY, "Blocked", "True", "Suspended").await?;
        Ok(held_back)
    }

    async fn released(&self) -> Result<()> {
        let patch = json!({"spec": {"suspend": false}}).to_string();
        self.room.kubectl(&["patch", "healingpolicy", POLICY, "--type=merge", "--patch", &patch]).await.map(drop)
    }

    /// Checks that the guardrail is reported, and that for several evaluations nothing is done.
    /// Returns the unhealthy pod from the status.
    async fn refuses(&self, word: &str) -> Result<UnhealthyTarget> {
        let room = self.room;
        room.until_condition(POLICY, "Blocked", "True", word).await?;
        self.source.asked_again(&room.gauge_over(5), EVALUATIONS).await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", word).await?;
        println!("{word}: {}", blocked.message);
        let status = room.policy_now(POLICY).await?.status.context("no status")?;
        let counts: Vec<_> = status.blocked.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        ensure!(counts == [(word, 1)], "{counts:?}");
        let [unhealthy] = status.unhealthy.as_slice() else { anyhow::bail!("unhealthy: {:?}", status.unhealthy) };
        ensure!(unhealthy.uid == uid_of(&self.unhealthy) && unhealthy.state == "Firing", "{unhealthy:?}");
        ensure!(unhealthy.blocked_by.as_deref() == Some(word), "{unhealthy:?}");
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
        let writes = room.healing_writes()?;
        ensure!(writes.is_empty(), "{writes:#?}");
        Ok(unhealthy.clone())
    }

    /// Checks that the pod is healed after the guardrail ends.
    async fn heals(&self) -> Result<()> {
        let action = self.room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(&self.unhealthy), "{:?}", action.spec.target);
        Ok(())
    }
}

async fn annotate(room: &Room<'_>, object: &[&str; 2], annotation: &str) -> Result<()> {
    room.kubectl(&["annotate", "--overwrite", object[0], object[1], annotation]).await.map(drop)
}
