//! The testbed and the sample app: what the other tests rely on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, eventually, in_room, name_of, repository};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_app_runs_on_both_nodes_and_is_reached_by_its_service_name() -> Result<()> {
    in_room("smoke", async |room| {
        let app = repository("examples/sample-app").display().to_string();
        room.kubectl(&["apply", "--kustomize", &app]).await?;
        let pods = room.ready_pods(3).await?;
        let nodes: BTreeSet<_> = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
        ensure!(nodes.len() == 2, "all on {nodes:?}");
        // The load runs in another pod and uses http://sample-app/ only.
        for pod in &pods {
            served(room, pod).await?;
        }
        memory_is_in_prometheus(room, &pods).await?;

        let load = "deployment/sample-app-load";
        eventually(PATIENCE, "the load to report", async || {
            let log = room.kubectl(&["logs", load]).await?;
            ensure!(log.contains("code.200="), "its log is {log:?}");
            Ok(())
        })
        .await?;
        let command =
            ["exec", load, "--", "/sample-app", "load", "--url=http://sample-app/", "--rps=20", "--duration=1s"];
        let said = room.kubectl(&command).await?;
        ensure!(said.lines().any(|line| line.starts_with("total") && line.contains("code.200=")), "{said}");
        Ok(())
    })
    .await
}

async fn served(room: &Room<'_>, pod: &Pod) -> Result<()> {
    let counter = r#"http_requests_total{code="200",method="GET",path="/"} "#;
    eventually(PATIENCE, &format!("{} to serve the load", name_of(pod)), async || {
        let metrics = room.metrics(pod).await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(counter));
        let count: f64 = count.context("it has no request counter")?.parse()?;
        ensure!(count > 0.0, "it has served {count} requests");
        Ok(())
    })
    .await
}

async fn memory_is_in_prometheus(room: &Room<'_>, pods: &[Pod]) -> Result<()> {
    let query = format!(r#"container_memory_working_set_bytes{{namespace="{}", container="sample-app"}}"#, room.name());
    eventually(PATIENCE, "each pod's memory in Prometheus", async || {
        let series = room.ground.ask(&query).await?;
        for pod in pods {
            let memory = series.iter().find(|one| one.label("pod") == name_of(pod)).map(|one| one.value);
            let plausible = memory.is_some_and(|bytes| (1e6..256e6).contains(&bytes));
            ensure!(plausible, "{} has {memory:?} of {} series", name_of(pod), series.len());
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_leak_beyond_the_limit_shows_as_oom_kill_and_restart() -> Result<()> {
    in_room("oom", async |room| {
        let pods = room.deploy(1).await?;
        let pod = pods.first().context("no pod")?;
        let seen = |metric: &str, more: &str| {
            format!(
                r#"{metric}{{namespace="{}", pod="{}", container="sample-app"{more}}} >= 1"#,
                room.name(),
                name_of(pod)
            )
        };
        let restarted = seen("kube_pod_container_status_restarts_total", "");
        let killed = seen("kube_pod_container_status_last_terminated_reason", r#", reason="OOMKilled""#);
        ensure!(room.ground.ask(&restarted).await?.is_empty(), "restarted before it leaked");

        room.simulate(pod, "memory-leak?rate=200Mi&ceiling=1Gi").await?;
        for query in [restarted, killed] {
            eventually(PATIENCE, &query, async || {
                ensure!(!room.ground.ask(&query).await?.is_empty(), "no series");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_request_log_shows_every_request_with_its_user() -> Result<()> {
    in_room("audit", async |room| {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "marked"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "marked"}},
                "template": {
                    "metadata": {"labels": {"app": "marked"}},
                    "spec": {"containers": [{"name": "none", "image": "localhost/none:1"}]},
                },
            },
        });
        room.apply(&object).await?;
        room.kubectl(&["delete", "deployment", "marked"]).await?;
        // A request is logged after its response.
        eventually(Duration::from_secs(10), "both requests in the log", async || {
            let mut requests = room.requests()?;
            requests
                .retain(|request| request.object_ref.name == "marked" && !request.user.username.starts_with("system:"));
            let asked: Vec<_> = requests.iter().filter(|one| one.is_write()).collect();
            let verbs: Vec<_> = asked.iter().map(|one| (one.verb.as_str(), one.succeeded())).collect();
            ensure!(verbs == [("patch", true), ("delete", true)], "{verbs:?}");
            let body = asked.first().and_then(|one| one.request_object.pointer("/spec/replicas"));
            ensure!(body == Some(&json!(0)), "the body of the first is {body:?}");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn every_example_passes_strict_validation() -> Result<()> {
    in_room("examples", async |room| {
        let files = manifests(&repository("examples"))?;
        ensure!(files.len() >= 8, "only {files:?}");
        for file in files {
            let how = if file.ends_with("kustomization.yaml") { "--kustomize" } else { "--filename" };
            let what = if how == "--kustomize" { file.parent().context("a file has a folder")? } else { &file };
            let what = what.display().to_string();
            room.kubectl(&["apply", "--dry-run=server", "--validate=strict", how, &what]).await?;
        }
        Ok(())
    })
    .await
}

/// The table lists queries that are derived from public alerts. Some of them join metrics that
/// this Prometheus has, so that a match that is not unique is found as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_server_accepts_everything_that_is_derived_from_public_alerts() -> Result<()> {
    in_room("alerts", async |room| {
        let mut sent = 0;
        for table in ["alerts.txt", "field.txt"] {
            let table = std::fs::read_to_string(repository("crates/signals/tests/query").join(table))?;
            let accepted = table.split("\n\n").filter(|block| block.contains("\nevidence "));
            let lines = accepted.flat_map(str::lines).filter_map(|line| line.split_once(' '));
            for (_, query) in lines.filter(|(word, _)| ["query", "evidence", "fresh", "operands"].contains(word)) {
                room.ground.ask(query.trim()).await?;
                sent += 1;
            }
        }
        ensure!(sent > 300, "only {sent} queries");
        Ok(())
    })
    .await
}

fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(manifests(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    Ok(found)
}
