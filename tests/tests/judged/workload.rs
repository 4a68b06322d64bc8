//! A whole workload as the target: a series names it by its own label or by one of its pods, or
//! names nothing with `match.global`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_e2e::{Room, in_room};
use serde_json::{Value, json};

use crate::app::{self, deploy, done};

/// It is 1 for a Deployment that was not restarted yet.
const UNTOUCHED: &str = "kube_deployment_status_observed_generation";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployment_is_restarted_whatever_the_series_names_it_by() -> Result<()> {
    in_room("whole", async |room| {
        let own = |name: &str| format!(r#"{UNTOUCHED}{{namespace="{}", deployment="{name}"}} == 1"#, room.name());
        let gauge = |name: &str| format!(r#"sample_app_gauge{{namespace="{}", pod=~"{name}-.*"}}"#, room.name());
        let cases = [
            ("own-label", own("own-label"), json!({})),
            ("one-pod", format!("{} > 5", gauge("one-pod")), json!({})),
            ("all-of-them", format!("max by (namespace) ({}) > 5", gauge("all-of-them")), json!({"global": {}})),
        ];
        try_join_all(cases.iter().map(async |(name, query, series)| {
            restarted(room, name, query, series).await.with_context(|| format!("named by {name}"))
        }))
        .await?;
        ensure!(done(room)?.len() == cases.len(), "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

/// Checks one Deployment with an unhealthy pod, and one policy. Both have this name.
async fn restarted(room: &Room<'_>, name: &str, query: &str, series: &Value) -> Result<()> {
    let pods = deploy(room, name, 2).await?;
    let mut policy = policy(room, name, query);
    policy["spec"]["target"]["match"] = series.clone();
    room.apply(&policy).await?;
    room.until_condition(name, "Ready", "True", "Evaluating").await?;
    room.simulate(&pods[0], "gauge?value=9").await?;

    let action = room.until_outcome(name, 1, "Succeeded").await?;
    let uid = uid(room, name).await?;
    let (target, subject) = (&action.spec.target, &action.spec.subject);
    ensure!((&*target.api_version, &*target.kind, &*target.name) == ("apps/v1", "Deployment", name), "{target:?}");
    ensure!(target.uid == uid && subject.uid == uid, "{target:?}, {subject:?}");
    ensure!(done(room)?.contains(&format!("patch deployments {name}")), "{:#?}", done(room)?);
    let reasons: Vec<_> = room.events_on(&uid).await?.into_iter().map(|one| one.reason).collect();
    ensure!(reasons.contains(&"Firing".to_owned()) && reasons.contains(&"Succeeded".to_owned()), "{reasons:?}");
    events_have_the_api_version(room, &uid).await
}

/// Checks that every Event on the Deployment has its API version.
async fn events_have_the_api_version(room: &Room<'_>, uid: &str) -> Result<()> {
    let events = room.api::<Event>().list(&ListParams::default()).await?.items;
    let named = events.into_iter().filter_map(|event| event.regarding);
    let ours = named.filter(|object| object.uid.as_deref() == Some(uid));
    let versions: BTreeSet<_> = ours.filter_map(|object| object.api_version).collect();
    ensure!(versions == ["apps/v1".to_owned()].into(), "{versions:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_series_with_the_uid_of_another_object_names_no_target() -> Result<()> {
    const NAME: &str = "by-uid";
    in_room("whole-uid", async |room| {
        deploy(room, NAME, 1).await?;
        let with_uid = |uid: &str| {
            let untouched = format!(r#"{UNTOUCHED}{{namespace="{}", deployment="{NAME}"}} == 1"#, room.name());
            policy(room, NAME, &format!(r#"label_replace({untouched}, "uid", "{uid}", "", "")"#))
        };
        room.apply(&with_uid("00000000-0000-0000-0000-000000000000")).await?;
        let observed = room.until_condition(NAME, "Observed", "False", "NoSeriesMatchesTargets").await?;
        let problem = format!("no selected object is named {NAME} with the uid 00000000-");
        ensure!(observed.message.contains(&problem), "{}", observed.message);
        room.until_condition(NAME, "Healthy", "Unknown", "NotObserved").await?;
        ensure!(room.actions(NAME).await?.is_empty(), "an action was reserved");

        // With its own uid it is certain, however young the Deployment is.
        room.apply(&with_uid(&uid(room, NAME).await?)).await?;
        room.until_outcome(NAME, 1, "Succeeded").await?;
        ensure!(done(room)? == [format!("patch deployments {NAME}")], "{:#?}", done(room)?);
        Ok(())
    })
    .await
}

fn policy(room: &Room<'_>, name: &str, query: &str) -> Value {
    let mut policy = app::policy(room, name, query);
    let spec = &mut policy["spec"];
    spec["target"]["kind"] = json!("Deployment");
    spec["target"]["selector"]["matchLabels"] = json!({"app": name});
    spec["steps"] = json!([{"name": "restart", "action": {"rolloutRestart": {}}, "verify": {"within": "2m"}}]);
    policy
}

async fn uid(room: &Room<'_>, name: &str) -> Result<String> {
    room.api::<Deployment>().get(name).await?.uid().context("no uid")
}
