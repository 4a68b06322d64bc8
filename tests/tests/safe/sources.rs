//! Bringing one's own Prometheus: whatever is wrong with it is said in the first minute,
//! in one line of the log and in the source's status, with the mend; and a server that
//! asks for TLS and a token is given them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use prunella_api::ClusterPrometheusSource;
use prunella_e2e::{DEPLOYMENT, NAMESPACE, Room, alone, eventually, in_room, repository};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::source::{Lie, Source};

/// What is promised.
const FIRST_MINUTE: Duration = Duration::from_mins(1);
const POLICY: &str = "gauge";
/// The Secret that the controller may read.
const SECRET: &str = "prunella-prometheus";
const TOKEN: &str = "s3cret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn how_a_source_stands_is_told_in_the_first_minute() -> Result<()> {
    in_room("sources", async |room| {
        let testbed = room.ground.testbed;
        // Free for a moment, and nobody else listens on this address.
        let closed = TcpListener::bind((testbed.layout().host_ip(), 0)).await?.local_addr()?;
        let page = Source::new(room, "page").await?;
        page.tell(Lie::Html);
        let given = [
            ("lost", "http://nobody.nowhere.svc:9090".to_owned()),
            ("closed", format!("http://{closed}")),
            ("right", testbed.prometheus_url()),
        ];
        let names = given.each_ref().map(|(name, _)| format!("{}-{name}", room.name()));
        for (name, (_, url)) in names.iter().zip(&given) {
            testbed.apply(&source(name, &json!({"url": url})).to_string()).await?;
        }
        let told = try_join_all([
            told(room, &names[0], "False", "Unreachable", &[&given[0].1, "does not resolve", "SERVICE.NAMESPACE"]),
            told(room, &names[1], "False", "Unreachable", &[&given[1].1, "refused", "check the source's url"]),
            told(room, &names[2], "True", "Answered", &[&given[2].1, "answers"]),
            told(room, page.name(), "False", "Malformed", &["login page", "check the source's url"]),
        ])
        .await;
        for name in &names {
            testbed.kubectl(&["delete", "clusterprometheussource", name, "--wait=false"]).await?;
        }
        told.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn that_there_is_no_source_is_told_with_what_to_do() -> Result<()> {
    alone("no-source", async |room| {
        let testbed = room.ground.testbed;
        testbed.kubectl(&["delete", "clusterprometheussources", "--all"]).await?;
        let restarted = async {
            testbed.kubectl(&["rollout", "restart", DEPLOYMENT, "--namespace", NAMESPACE]).await?;
            testbed.kubectl(&["rollout", "status", DEPLOYMENT, "--namespace", NAMESPACE, "--timeout=2m"]).await?;
            eventually(FIRST_MINUTE, "a word of it", async || {
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
async fn a_server_behind_tls_is_asked_with_the_token_of_the_one_secret_that_may_be_read() -> Result<()> {
    in_room("guarded", async |room| {
        let testbed = room.ground.testbed;
        for (spec, mend) in [
            (json!({"url": "https://prometheus:9090"}), "needs caBundle"),
            (json!({"url": "http://prometheus:9090", "bearerTokenSecret": {"name": SECRET}}), "needs an https url"),
        ] {
            let refusal = testbed.apply(&source("refused", &spec).to_string()).await;
            let words = format!("{:#}", refusal.err().context("it was accepted")?);
            ensure!(words.contains(mend), "{words}");
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
    let stands =
        async |status: &str, reason: &str, words: &[&str]| told(room, source.name(), status, reason, words).await;
    stands("False", "NoToken", &["may not read Secret", "deploy/kustomize/prometheus-token"]).await?;
    testbed.kubectl(&["apply", "--kustomize", rights]).await?;
    stands("False", "NoToken", &["there is no Secret prunella-system/prunella-prometheus"]).await?;
    testbed.apply(&secret("another").to_string()).await?;
    stands("False", "Unauthorized", &["401"]).await?;
    testbed.apply(&secret(TOKEN).to_string()).await?;
    stands("True", "Answered", &["https://", "answers"]).await?;
    ensure!(!log(room).await?.contains(TOKEN), "the log shows the token");

    let pods = room.deploy(1).await?;
    let mut policy = room.policy(POLICY, &room.gauge_over(5));
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_judged(POLICY).await?;
    room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
    room.until_outcome(POLICY, 1, "Succeeded").await.map(drop)
}

/// Waits until status and log say so, the log in one line.
async fn told(room: &Room<'_>, name: &str, status: &str, reason: &str, words: &[&str]) -> Result<()> {
    let sources: Api<ClusterPrometheusSource> = Api::all(room.ground.client.clone());
    eventually(FIRST_MINUTE, &format!("{name} to be Ready={status} {reason}"), async || {
        let conditions = sources.get(name).await?.status.unwrap_or_default().conditions;
        let ready = conditions.iter().find(|one| one.type_ == "Ready").context("no condition Ready")?;
        ensure!((&*ready.status, &*ready.reason) == (status, reason), "{ready:?}");
        for word in words {
            ensure!(ready.message.contains(word), "it does not say {word}: {}", ready.message);
        }
        let log = log(room).await?;
        let said = format!("Ready={status} {reason}: {}", ready.message);
        let lines: Vec<_> = log.lines().filter(|line| line.contains(name) && line.contains(&said)).collect();
        ensure!(lines.len() == 1, "the log says it {} times: {said}", lines.len());
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
