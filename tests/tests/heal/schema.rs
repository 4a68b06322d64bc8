//! Specs that the API server refuses, and its messages.

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams, ValidationDirective};
use prunella_api::{ClusterPrometheusSource, HealingPolicy};
use prunella_e2e::{Room, in_room};
use serde_json::{Value, json};

const USE_A_DURATION: &str = "use a duration such as 90s, 5m or 1h30m";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn bad_specs_are_refused_with_the_fix() -> Result<()> {
    in_room("schema", async |room| {
        let good = room.policy("policy", &room.gauge_over(5));
        dry_run(&room.api::<HealingPolicy>(), &good).await.context("the good spec was refused")?;
        for (path, value, expected) in cases() {
            let mut bad = good.clone();
            set(&mut bad, path, value.clone())?;
            let refusal = dry_run(&room.api::<HealingPolicy>(), &bad).await.err().map(|error| error.to_string());
            let refusal = refusal.with_context(|| format!("{path} = {value} was accepted"))?;
            ensure!(refusal.contains(expected), "{path} = {value}: {refusal:?} does not say {expected:?}");
            let is_clean =
                expected != USE_A_DURATION || !(refusal.contains("[0-9]") || refusal.contains("evaluating rule"));
            ensure!(is_clean, "{path} = {value} is answered with an expression: {refusal}");
        }
        sources(room).await
    })
    .await
}

fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let step = |number: usize| json!({"name": format!("step-{number}"), "action": {"deletePod": {}}});
    vec![
        ("/metadata/name", json!("n".repeat(41)), "at most 40 characters"),
        ("/spec/frobnicate", json!(true), "frobnicate"),
        ("/spec/mode", json!("Force"), "Unsupported value"),
        ("/spec/interval", json!("500ms"), "interval must be between 1s and 1h"),
        ("/spec/interval", json!("2h"), "interval must be between 1s and 1h"),
        ("/spec/interval", json!("soon"), USE_A_DURATION),
        ("/spec/interval", json!(""), USE_A_DURATION),
        ("/spec/interval", json!(30), "spec.interval"),
        ("/spec/condition", json!({}), "give exactly one kind of condition: promql"),
        ("/spec/condition/promql/query", json!(""), "at least 1 chars long"),
        ("/spec/condition/promql/query", json!("x".repeat(4097)), "may not be more than 4096"),
        ("/spec/condition/promql/signalWindow", json!("25h"), "signalWindow must be at most 24h"),
        ("/spec/condition/promql/signalWindow", json!("1d"), USE_A_DURATION),
        ("/spec/condition/for", json!("25h"), "for must be at most 24h"),
        ("/spec/condition/clearFor", json!("25h"), "clearFor must be at most 24h"),
        ("/spec/target/kind", json!("Node"), "Unsupported value"),
        ("/spec/target/selector", json!({}), "selector must not be empty"),
        ("/spec/target/selector", json!({"matchLabels": {}}), "selector must not be empty"),
        ("/spec/target/match", json!({"label": "not a label"}), "spec.target.match.label"),
        ("/spec/target/match", json!({"label": "pod", "global": {}}), "match takes label or global, not both"),
        ("/spec/target/match", json!({"global": {}}), "match.global works for workloads only"),
        ("/spec/target/namespaceLabel", json!("not a label"), "spec.target.namespaceLabel"),
        ("/spec/target/minAge", json!("25h"), "minAge must be at most 24h"),
        ("/spec/target/kind", json!("Deployment"), "deletePod works on pods only"),
        ("/spec/steps", json!([]), "at least 1 items"),
        ("/spec/steps", json!((0..11).map(step).collect::<Vec<_>>()), "Too many"),
        ("/spec/steps/0/name", json!("Evict"), "spec.steps[0].name"),
        ("/spec/steps/0/name", json!("e".repeat(33)), "may not be more than 32"),
        ("/spec/steps/0/action", json!({}), "give exactly one kind of action"),
        ("/spec/steps/0/action/deletePod/gracePeriodSeconds", json!(-1), "greater than or equal to 1"),
        ("/spec/steps/0/action/rolloutRestart", json!({}), "give exactly one kind of action"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1}}), "scale.max"),
        ("/spec/steps/0/action", json!({"scale": {"max": 3}}), "give exactly one of by and to"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1, "to": 2, "max": 3}}), "give exactly one of by and to"),
        ("/spec/steps/0/action", json!({"scale": {"by": 0, "max": 3}}), "by must not be 0"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1001, "max": 3}}), "less than or equal to 1000"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1, "min": 4, "max": 3}}), "min must not be greater than max"),
        ("/spec/steps/0/action", json!({"scale": {"to": 4, "max": 3}}), "to must be between min and max"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1, "min": 0, "max": 3}}), "greater than or equal to 1"),
        ("/spec/steps/0/verify/within", json!("2s"), "verify.within must be at least clearFor + interval"),
        ("/spec/limits/cooldown", json!("25h"), "cooldown must be at most 24h"),
        ("/spec/limits/maxActions/count", json!(0), "greater than or equal to 1"),
        ("/spec/limits/maxActions/per", json!("30s"), "maxActions.per must be between 1m and 24h"),
        ("/spec/limits/maxConcurrent", json!(0), "greater than or equal to 1"),
        ("/spec/limits/maxUnhealthy", json!(0), "maxUnhealthy must be a number from 1 to 10000 or a percentage"),
        ("/spec/limits/maxUnhealthy", json!("101%"), "or a percentage from 1% to 100%"),
        ("/spec/limits/maxUnhealthy", json!("half"), "or a percentage from 1% to 100%"),
        ("/spec/limits/onStorm", json!("Panic"), "Unsupported value"),
        ("/spec/limits/stormCooldown", json!("25h"), "stormCooldown must be at most 24h"),
    ]
}

/// Sets the value at a path. Its last part may be new.
fn set(object: &mut Value, path: &str, value: Value) -> Result<()> {
    let (parent, last) = path.rsplit_once('/').context("a path starts with /")?;
    object.pointer_mut(parent).with_context(|| format!("there is no {parent}"))?[last] = value;
    Ok(())
}

async fn dry_run<K>(api: &Api<K>, object: &Value) -> kube::Result<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut params = PatchParams::apply("e2e");
    params.dry_run = true;
    params.field_validation = Some(ValidationDirective::Strict);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(name, &params, &Patch::Apply(object)).await
}

async fn sources(room: &Room<'_>) -> Result<()> {
    let api: Api<ClusterPrometheusSource> = Api::all(room.ground.client.clone());
    let good = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource",
        "metadata": {"name": room.name()}, "spec": {"url": "http://prometheus:9090", "scrapeInterval": "15s"},
    });
    dry_run(&api, &good).await.context("the good source was refused")?;
    for (path, value, expected) in [
        ("/spec/url", json!("ftp://prometheus"), "spec.url"),
        ("/spec/url", json!("http://user:secret@prometheus"), "spec.url"),
        ("/spec/scrapeInterval", json!("100ms"), "scrapeInterval must be between 1s and 1h"),
        ("/spec/scrapeInterval", json!("2h"), "scrapeInterval must be between 1s and 1h"),
    ] {
        let mut bad = good.clone();
        set(&mut bad, path, value.clone())?;
        let refusal = dry_run(&api, &bad).await.err().map(|error| error.to_string());
        let refusal = refusal.with_context(|| format!("{path} = {value} was accepted"))?;
        ensure!(refusal.contains(expected), "{path} = {value}: {refusal:?} does not say {expected:?}");
    }
    Ok(())
}
