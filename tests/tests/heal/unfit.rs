//! Policies that cannot work, and policies that have nothing to do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, condition, eventually, in_room, restarts, steadily, uid_of};
use serde_json::{Value, json};

/// A policy that cannot work.
struct Bad {
    name: &'static str,
    /// The change of a good spec that makes it bad.
    wrong: Value,
    /// The reason of `Ready`, and a part of its message.
    reason: &'static str,
    message: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn bad_policies_say_what_is_wrong_hurt_only_themselves_and_work_when_fixed() -> Result<()> {
    in_room("unfit", async |room| {
        let pods = room.deploy(1).await?;
        let controller = controller(room).await?;
        room.apply(&room.policy("good", &room.gauge_over(5))).await?;
        let all = bad(room.name());
        // A fixed policy has another query than "good", which must act alone.
        let sound = |one: &Bad| room.policy(one.name, &format!("sample_app_gauge{{namespace={:?}}} < -5", room.name()));
        for one in &all {
            let mut policy = sound(one);
            merge(&mut policy["spec"], &one.wrong);
            room.apply(&policy).await?;
        }
        for one in &all {
            let ready = room.until_condition(one.name, "Ready", "False", one.reason).await?;
            ensure!(ready.message.contains(&one.message), "the message of {} is {}", one.name, ready.message);
            println!("{}: {}: {}", one.name, one.reason, ready.message);
            if one.reason != "SourceNotReady" {
                stalled(room, one.name, one.reason, &one.message).await?;
            }
        }

        let visible = Timestamp::now();
        room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
        let action = room.until_outcome("good", 1, "Succeeded").await?;
        let started = action.metadata.creation_timestamp.context("no time")?.0.duration_since(visible);
        // Up to 5 s until the scrape, 2 s for `for`, two intervals of 1 s, and 1 s of rounding.
        println!("with {} bad policies, the good one acted after {started:#}", all.len());
        ensure!(started <= SignedDuration::from_secs(5 + 2 + 2 + 1), "{started:#}");

        for one in &all {
            room.apply(&sound(one)).await?;
            room.until_condition(one.name, "Ready", "True", "Evaluating").await?;
            room.until_condition(one.name, "Stalled", "False", "Compiled").await?;
            room.until_condition(one.name, "Observed", "True", "Answered").await?;
            ensure!(room.actions(one.name).await?.is_empty(), "{} has acted", one.name);
        }
        let replacement = room.ready_pods(1).await?.pop().context("no pod")?;
        room.simulate(&replacement, "gauge?value=-10").await?;
        eventually(PATIENCE, "a fixed policy to act", async || {
            for one in &all {
                if !room.actions(one.name).await?.is_empty() {
                    return Ok(());
                }
            }
            bail!("none of them acted")
        })
        .await?;
        ensure!(self::controller(room).await? == controller, "the controller was restarted");
        Ok(())
    })
    .await
}

fn bad(namespace: &str) -> Vec<Bad> {
    let gauge = format!("sample_app_gauge{{namespace={namespace:?}}}");
    let query = |text: String| json!({"condition": {"promql": {"query": text}}});
    let row = |name, wrong, reason, message: &str| Bad { name, wrong, reason, message: message.to_owned() };
    vec![
        row("bare", query(gauge.clone()), "NoComparison", "compare the value"),
        row("bool", query(format!("{gauge} > bool 5")), "NoComparison", "without `bool`"),
        row("torn", query(format!("{gauge} >")), "BadQuery", "does not parse"),
        row("scalar", query("1 > bool 2".to_owned()), "BadQuery", "not an instant vector"),
        row(
            "astray",
            query("sample_app_gauge{namespace=\"elsewhere\"} > 5".to_owned()),
            "NotAllowed",
            &format!("asks for namespace=\"elsewhere\", but the policy may read only its own namespace {namespace:?}"),
        ),
        row(
            "lost",
            json!({"condition": {"promql": {"query": "vector(6) > 5", "evidence": gauge}}}),
            "NamespaceNotPinned",
            "or keep the label namespace",
        ),
        row(
            "short",
            // clearFor 2s + interval 1s + range 1m.
            json!({"condition": {"promql": {"query": format!("max_over_time({gauge}[1m]) > 5")}},
                   "steps": [{"name": "evict-pod", "action": {"deletePod": {}}, "verify": {"within": "30s"}}]}),
            "VerifyTooShort",
            "verification needs 1m 3s",
        ),
        row(
            "witness",
            json!({"condition": {"promql": {"evidence": "1"}}}),
            "BadEvidence",
            "condition.promql.evidence: ",
        ),
        row(
            "nowhere",
            json!({"condition": {"promql": {"source": {"name": "nowhere"}}}}),
            "SourceNotReady",
            "there is no ClusterPrometheusSource named nowhere",
        ),
        row(
            "unselective",
            json!({"target": {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}}),
            "InvalidSpec",
            "target.selector",
        ),
    ]
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            change.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, change) => *into = change.clone(),
    }
}

/// The controller's pods, with how often each was restarted.
async fn controller(room: &Room<'_>) -> Result<Vec<(String, i32)>> {
    let pods: Api<Pod> = Api::namespaced(room.ground.client.clone(), NAMESPACE);
    let pods = pods.list(&ListParams::default().labels("app.kubernetes.io/component=controller")).await?;
    Ok(pods.iter().map(|pod| (uid_of(pod), restarts(pod))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_only_the_server_can_read_heals_and_what_it_cannot_read_either_is_a_bad_query() -> Result<()> {
    in_room("unread", async |room| {
        let testbed = room.ground.testbed;
        // The namespace cannot be added to such a query.
        let open = format!("{}-open", room.name());
        let source = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource", "metadata": {"name": open},
            "spec": {"url": testbed.prometheus_url(), "isolation": "None", "allowedNamespaces": [room.name()]},
        });
        testbed.apply(&source.to_string()).await?;
        let outcome = only_the_server_reads(room, &open).await;
        testbed.kubectl(&["delete", "clusterprometheussource", &open]).await?;
        outcome
    })
    .await
}

async fn only_the_server_reads(room: &Room<'_>, open: &str) -> Result<()> {
    let pods = room.deploy(1).await?;
    let evidence = format!("sample_app_gauge{{namespace={:?}}}", room.name());
    let unread = |name: &str, query: &str| {
        let mut policy = room.policy(name, query);
        policy["spec"]["condition"]["promql"]["evidence"] = json!(evidence);
        policy["spec"]["condition"]["promql"]["source"] = json!({"name": open});
        policy
    };
    // The server accepts \xff as a byte. This parser wants a character and refuses it.
    let bytes = format!(r#"sample_app_gauge{{namespace="{}", pod!="\xff"}} > 5"#, room.name());
    let neither = format!(r#"sample_app_gauge{{namespace="{}"}} >> 5"#, room.name());
    let mut restricted = unread("bytes", &bytes);
    restricted["spec"]["condition"]["promql"]["source"] = json!({"name": "default"});
    restricted["spec"]["condition"]["promql"]["signalWindow"] = json!("0s");
    room.apply(&restricted).await?;
    stalled(room, "bytes", "BadQuery", "needs a source with `isolation: None`").await?;
    room.apply(&unread("bytes", &bytes)).await?;
    stalled(room, "bytes", "BadQuery", "set `evidence` and `signalWindow`").await?;

    let mut given = unread("bytes", &bytes);
    given["spec"]["condition"]["promql"]["signalWindow"] = json!("0s");
    room.apply(&given).await?;
    let mut bad = unread("neither", &neither);
    bad["spec"]["condition"]["promql"]["signalWindow"] = json!("1m");
    room.apply(&bad).await?;
    room.until_condition("bytes", "Observed", "True", "Answered").await?;
    room.until_condition("neither", "Stalled", "False", "Compiled").await?;
    let observed = room.until_condition("neither", "Observed", "False", "BadQuery").await?;
    ensure!(observed.message.contains("refuses the query"), "{}", observed.message);

    room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
    room.until_outcome("bytes", 1, "Succeeded").await?;
    ensure!(room.actions("neither").await?.is_empty(), "a policy acted on a query that the server refuses");
    Ok(())
}

async fn stalled(room: &Room<'_>, policy: &str, reason: &str, fix: &str) -> Result<()> {
    room.until_condition(policy, "Ready", "False", reason).await?;
    let stalled = room.until_condition(policy, "Stalled", "True", reason).await?;
    ensure!(stalled.message.contains(fix), "the message of {policy} is {}", stalled.message);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_quiet_policy_asks_and_writes_nothing() -> Result<()> {
    in_room("quiet", async |room| {
        room.deploy(2).await?;
        let mut dry = room.policy("dry", &room.gauge_over(5));
        dry["spec"]["mode"] = json!("DryRun");
        room.apply(&room.policy("enforcing", &room.gauge_over(5))).await?;
        room.apply(&dry).await?;
        room.apply(&room.policy("stalled", "up")).await?;
        for policy in ["enforcing", "dry"] {
            eventually(PATIENCE, "both pods to be selected", async || {
                let policy = room.until_evaluated(policy).await?;
                let healthy = condition(&policy, "Healthy").map(|one| one.reason);
                let selected = policy.status.and_then(|status| status.targets).map(|targets| targets.selected);
                ensure!(
                    selected == Some(2) && healthy.as_deref() == Some("AllTargetsHealthy"),
                    "{selected:?} {healthy:?}"
                );
                Ok(())
            })
            .await?;
        }
        room.until_condition("stalled", "Stalled", "True", "NoComparison").await?;

        let evaluations = evaluations(room).await?;
        let before = room.controller_writes()?.len();
        steadily(Duration::from_secs(20), "the quiet", async || {
            let writes = room.controller_writes()?;
            ensure!(writes.len() == before, "the controller wrote: {:#?}", writes.last());
            Ok(())
        })
        .await?;
        eventually(PATIENCE, "the controller to have evaluated all the time", async || {
            let since = self::evaluations(room).await? - evaluations;
            // Two policies, once a second each.
            ensure!(since >= 30.0, "it evaluated {since} times");
            Ok(())
        })
        .await
    })
    .await
}

/// How often the controller has evaluated, by its own metric.
async fn evaluations(room: &Room<'_>) -> Result<f64> {
    let series = room.ground.ask(r#"sum(prunella_evaluations_total{result="Answered"})"#).await?;
    Ok(series.first().context("Prometheus has no metrics of the controller")?.value)
}
