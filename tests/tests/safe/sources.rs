//! The user's own Prometheus: every problem is reported within the first minute, in one line of the
//! log and in the status of the source, with the fix. TLS and tokens work.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use prunella_api::ClusterPrometheusSource;
use prunella_e2e::{DEPLOYMENT, NAMESPACE, Room, alone, eventually, in_room, repository};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::source::{Lie, Source};

/// The time within which a source is reported.
const FIRST_MINUTE: Duration = Duration::from_mins(1);
const POLICY: &str = "gauge";
/// The Secret that the controller may read.
const SECRET: &str = "prunella-prometheus";
const TOKEN: &str = "s3cret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_state_of_a_source_is_reported_within_a_minute() -> Result<()> {
    in_room("sources", async |room| {
        let testbed = room.ground.testbed;
        // A port that is free now. Nothing else listens on this address.
        let closed = TcpListener::bind((testbed.layout().host_ip(), 0)).await?.local_addr()?;
        let page = Source::new(room, "page").await?;
        page.answer_with(Lie::Html);
        let given = [
            ("lost", "http://nobody.nowhere.svc:9090".to_owned()),
            ("closed", format!("http://{closed}")),
            ("right", testbed.prometheus_url()),
        ];
        let names = given.each_ref().map(|(name, _)| format!("{}-{name}", room.name()));
        for (name, (_, url)) in names.iter().zip(&given) {
            testbed.apply(&source(name, &json!({"url": url})).to_string()).await?;
        }
        let reported = try_join_all([
            reported(room, &names[0], "False", "Unreachable", &[&given[0].1, "does not resolve", "SERVICE.NAMESPACE"]),
            reported(room, &names[1], "False", "Unreachable", &[&given[1].1, "refused", "check the source's url"]),
            reported(room, &names[2], "True", "Answered", &[&given[2].1, "answers"]),
            reported(room, page.name(), "False", "Malformed", &["login page", "check the source's url"]),
        ])
        .await;
        for name in &names {
            testbed.kubectl(&["delete", "clusterprometheussource", name, "--wait=false"]).await?;
        }
        reported.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_missing_source_is_reported_with_the_fix() -> Result<()> {
    alone("no-source", async |room| {
        let testbed = room.ground.testbed;
        testbed.kubectl(&["delete", "clusterprometheussources", "--all"]).await?;
        let restarted = async {
            testbed.kubectl(&["rollout", "restart", DEPLOYMENT, "--namespace", NAMESPACE]).await?;
            testbed.kubectl(&["rollout", "status", DEPLOYMENT, "--namespace", NAMESPACE, "--timeout=2m"]).await?;
            eventually(FIRST_MINUTE, "the log line", async || {
                let log = log(room).await?;
                let lines = log.lines().filter(|line| line.contains("there is no ClusterPrometheusSource, so"));
                let lines: Vec<_> = lines.collect();
                ensure!(lines.len() == 1 && lines[0].contains("examples/source.yaml"), "{lines:#?} in {log}");
                Ok(())
            })
            .await
        }
        .await;
        room.ground.install().await?;
        restarted
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_server_with_tls_is_queried_with_the_token_of_the_only_secret_that_may_be_read() -> Result<()> {
    in_room("guarded", async |room| {
        let testbed = room.ground.testbed;
        for (spec, fix) in [
            (json!({"url": "https://prometheus:9090"}), "needs caBundle"),
            (json!({"url": "http://prometheus:9090", "bearerTokenSecret": {"name": SECRET}}), "needs an https url"),
        ] {
            let refusal = testbed.apply(&source("refused", &spec).to_string()).await;
            let words = format!("{:#}", refusal.err().context("it was accepted")?);
            ensure!(words.contains(fix), "{words}");
        }
        let rights = repository("deploy/kustomize/prometheus-token").display().to_string();
        let outcome = guarded(room, &rights).await;
        testbed.kubectl(&["delete", "--kustomize", &rights, "--ignore-not-found"]).await?;
        testbed.kubectl(&["delete", "secret", SECRET, "--namespace", NAMESPACE, "--ignore-not-found"]).await?;
        outcome
    })
    .await
}

async fn guarded(room: &Room<'_>, rights: &str) -> Result<()> {
    let testbed = room.ground.testbed;
    let source = Source::guarded(room, "guarded", TOKEN, SECRET).await?;
    let state =
        async |status: &str, reason: &str, words: &[&str]| reported(room, source.name(), status, reason, words).await;
    state("False", "NoToken", &["may not read Secret", "deploy/kustomize/prometheus-token"]).await?;
    testbed.kubectl(&["apply", "--kustomize", rights]).await?;
    state("False", "NoToken", &["there is no Secret prunella-system/prunella-prometheus"]).await?;
    testbed.apply(&secret("another").to_string()).await?;
    state("False", "Unauthorized", &["401"]).await?;
    testbed.apply(&secret(TOKEN).to_string()).await?;
    state("True", "Answered", &["https://", "answers"]).await?;
    ensure!(!log(room).await?.contains(TOKEN), "the log shows the token");

    let pods = room.deploy(1).await?;
    let mut policy = room.policy(POLICY, &room.gauge_over(5));
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
    room.until_outcome(POLICY, 1, "Succeeded").await.map(drop)
}

/// Waits until the status says this, and the log in exactly one line.
async fn reported(room: &Room<'_>, name: &str, status: &str, reason: &str, words: &[&str]) -> Result<()> {
    let sources: Api<ClusterPrometheusSource> = Api::all(room.ground.client.clone());
    eventually(FIRST_MINUTE, &format!("{name} to be Ready={status} {reason}"), async || {
        let conditions = sources.get(name).await?.status.unwrap_or_default().conditions;
        let ready = conditions.iter().find(|one| one.type_ == "Ready").context("no condition Ready")?;
        ensure!((&*ready.status, &*ready.reason) == (status, reason), "{ready:?}");
        for word in words {
            ensure!(ready.message.contains(word), "{word} is missing: {}", ready.message);
        }
        let log = log(room).await?;
        let said = format!("Ready={status} {reason}: {}", ready.message);
        let lines: Vec<_> = log.lines().filter(|line| line.contains(name) && line.contains(&said)).collect();
        ensure!(lines.len() == 1, "the log has {} lines with: {said}", lines.len());
        println!("{}", lines[0]);
        Ok(())
    })
    .await
}

async fn log(room: &Room<'_>) -> Result<String> {
    let log = ["logs", "--namespace", NAMESPACE, DEPLOYMENT, "--tail=-1"];
    room.ground.testbed.kubectl(&log).await
}

fn source(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn secret(token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE}, "stringData": {"token": token},
    })
}
