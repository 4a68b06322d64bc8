//! One fault, from breaking the app to the outcome of the only action.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_api::HealingAction;
use prunella_e2e::{Room, eventually, in_room, name_of, restarts, state, uid_of, what};

use crate::app::{Folder, governed};
use crate::rules::{Broken, Remedy, Rule};

/// How long one rule may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the fault to the outcome.
    pub(crate) in_all: Duration,
    /// From the change to the outcome.
    pub(crate) verified: Duration,
}

/// Breaks the app and checks that this rule, and no other, fixes it.
pub(crate) async fn healed(rule: Rule, folder: Folder, patience: Patience) -> Result<()> {
    in_room(rule.name, async |room| {
        let before = governed(room, folder).await?;
        let others = load(room).await?;
        let unhealthy = before.first().context("there are no pods")?;
        for pod in before.iter().take(if rule.broken == Broken::All { before.len() } else { 1 }) {
            room.simulate(pod, rule.fault).await?;
        }
        let action = until_succeeded(room, rule, patience.in_all).await?;
        in_time(rule, &action, patience.verified)?;

        written(room, &rule.remedy.request(unhealthy))?;
        touched(rule.remedy, unhealthy, &before, &room.pods().await?)?;
        ensure!(load(room).await? == others, "the pods of the load have changed");
        Ok(())
    })
    .await
}

/// Waits until the rule's action has succeeded, and no other rule acts. An action that a busy
/// machine did not start before its evidence was too old had no effect and is decided again.
async fn until_succeeded(room: &Room<'_>, rule: Rule, within: Duration) -> Result<HealingAction> {
    let found = eventually(within, &format!("{} to succeed", rule.name), async || {
        let mut actions = room.api::<HealingAction>().list(&ListParams::default()).await?.items;
        actions.retain(|action| action.spec.policy.name != rule.name || outcome(action) != Some("Expired"));
        let action = actions.pop().context("there is no action")?;
        let wrong = !actions.is_empty() || action.spec.policy.name != rule.name;
        ensure!(outcome(&action).is_some() || wrong, "{} is {}", action.name_any(), state(&action));
        actions.push(action);
        Ok(actions)
    })
    .await?;
    let [action] = found.as_slice() else { anyhow::bail!("more than one action: {found:#?}") };
    ensure!(action.spec.policy.name == rule.name, "{} acted instead", action.spec.policy.name);
    ensure!(state(action) == "Succeeded", "{:#?}", action.status);
    Ok(action.clone())
}

fn outcome(action: &HealingAction) -> Option<&str> {
    action.status.as_ref()?.outcome.as_deref()
}

/// Prints how long it took, and checks it.
fn in_time(rule: Rule, action: &HealingAction, within: Duration) -> Result<()> {
    let status = action.status.as_ref().context("no status")?;
    let seconds = |from: &Option<Time>, to: &Option<Time>| {
        let (from, to) = (from.as_ref().context("no start")?, to.as_ref().context("no end")?);
        anyhow::Ok(to.0.duration_since(from.0).as_secs())
    };
    let settled = seconds(&status.executed_at, &status.settled_at)?;
    let verified = seconds(&status.executed_at, &status.finished_at)?;
    println!("{}: {} settled after {settled} s, verified after {verified} s", rule.name, action.spec.action_name);
    ensure!(u64::try_from(verified)? <= within.as_secs(), "verified {verified} s after the change");
    Ok(())
}

/// Checks that only this was sent, and that it succeeded once: a write that a busy API server
/// did not finish in time had no effect and is repeated.
fn written(room: &Room<'_>, expected: &str) -> Result<()> {
    let sent = room.healing_writes()?;
    let granted = sent.iter().filter(|write| write.succeeded()).count();
    let sent: Vec<_> = sent.iter().map(|write| (what(write), write.response_status.code)).collect();
    let only = sent.iter().all(|(what, _)| what == expected);
    ensure!(granted == 1 && only, "the controller sent {sent:?}, expected {expected} once");
    Ok(())
}

/// Checks that exactly the pods were replaced that had to be.
fn touched(remedy: Remedy, unhealthy: &Pod, before: &[Pod], after: &[Pod]) -> Result<()> {
    let now = seen(after);
    for pod in before {
        let replaced = match remedy {
            Remedy::Evict => uid_of(pod) == uid_of(unhealthy),
            Remedy::Restart => true,
            Remedy::Scale => false,
        };
        match now.get(&uid_of(pod)) {
            Some(_) if replaced => anyhow::bail!("{} was not replaced", name_of(pod)),
            Some(restarted) if *restarted != restarts(pod) => anyhow::bail!("{} was restarted", name_of(pod)),
            None if !replaced => anyhow::bail!("{} is gone", name_of(pod)),
            _ => {}
        }
    }
    let wanted = before.len() + usize::from(remedy == Remedy::Scale);
    ensure!(after.len() == wanted, "there are {} pods, expected {wanted}", after.len());
    Ok(())
}

/// The pods that send the load. No policy selects them.
async fn load(room: &Room<'_>) -> Result<BTreeMap<String, i32>> {
    Ok(seen(&room.api::<Pod>().list(&ListParams::default().labels("app=sample-app-load")).await?.items))
}

/// Restarts by uid.
fn seen(pods: &[Pod]) -> BTreeMap<String, i32> {
    pods.iter().map(|pod| (uid_of(pod), restarts(pod))).collect()
}
