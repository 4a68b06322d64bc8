//! The API server of `crates/world` answers as the real one: the same random sequences of requests go
//! to both, and the answers are compared field by field.
//!
//! The real one is an API server and its etcd, without nodes and controllers, so that objects change
//! by requests only. `SEED=7` runs one sequence and prints its requests.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod difference;
mod kinds;
mod sequence;
mod side;
mod step;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prunella_e2e::repository;
use prunella_world::api_server::ApiServer;
use prunella_world::{Chance, WorldClock};
use serde_json::{Value, json};
use testbed::{Options, Part, State, Testbed};

use crate::difference::{differences, explained};
use crate::kinds::Defaults;
use crate::side::Side;
use crate::step::Step;

const SEEDS: u64 = 40;
/// How many sequences run at once.
const AT_ONCE: usize = 4;
const CONTROLLER: &str = "system:serviceaccount:prunella-system:prunella";

/// What one sequence found.
#[derive(Debug, Default)]
struct Report {
    requests: usize,
    /// How often each explanation applied.
    explained: BTreeMap<&'static str, usize>,
    divergences: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_api_server_in_process_answers_as_the_real_one() -> Result<()> {
    let began = Instant::now();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = format!("{}-api", std::env::var("TESTBED_NAME").unwrap_or_else(|_| "e2e".into()));
    let was_up = State::load(&name)?.is_some();
    let without = vec![Part::Prometheus, Part::KubeStateMetrics, Part::Coredns, Part::Controllers];
    let testbed = Testbed::up(&name, Options { nodes: 0, without, ..Options::default() }).await?;
    let outcome = compare_all(&testbed, began).await;
    if !was_up {
        testbed.down().await?;
    }
    outcome
}

async fn compare_all(testbed: &Testbed, began: Instant) -> Result<()> {
    let client = install(testbed).await?;
    let defaults = Defaults::of(&client).await?;
    let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>()).transpose().context("SEED is no number")?;
    let seeds = only.map_or(1..=SEEDS, |seed| seed..=seed);
    let runs = seeds.map(|seed| run(seed, &client, &defaults, only.is_some()));
    let reports: Vec<Report> = stream::iter(runs).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect::<Result<_>>()?;
    let mut total = Report::default();
    let sequences = reports.len();
    for report in reports {
        total.requests += report.requests;
        total.divergences.extend(report.divergences);
        for (why, count) in report.explained {
            *total.explained.entry(why).or_default() += count;
        }
    }
    println!("{sequences} sequences, {} requests to each server, {:.0} s", total.requests, began.elapsed().as_secs_f64());
    for (why, count) in &total.explained {
        println!("{count:>6} explained: {why}");
    }
    ensure!(total.divergences.is_empty(), "{} divergences:\n{}", total.divergences.len(), total.divergences.join("\n"));
    Ok(())
}

/// Installs the custom resources, the rights and the admission policy, as a user does. The
/// controller itself does not run, for there is no node.
async fn install(testbed: &Testbed) -> Result<Client> {
    for folder in ["crds", "deploy/kustomize/base"] {
        let folder = repository(folder).display().to_string();
        testbed.kubectl(&["apply", "--server-side", "-k", &folder]).await?;
    }
    // Which rights it has is checked elsewhere.
    let all_rights = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "compared"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "prunella-system", "name": "prunella"}],
    });
    testbed.apply(&all_rights.to_string()).await?;
    // Its controller does not run here, and pods are refused without it.
    testbed.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}).to_string()).await?;
    let kubeconfig = Kubeconfig::read_from(testbed.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn run(seed: u64, client: &Client, defaults: &Defaults, verbose: bool) -> Result<Report> {
    let namespace = format!("seed-{seed}-{}", std::process::id());
    let definitions = prunella_api::crds().into_iter().map(|(_, definition)| definition);
    let server = ApiServer::new(definitions, WorldClock::starting_at(Timestamp::now()), Chance::new(seed));
    let mut in_process = Side::new(server.client(), None);
    let mut real = Side::new(client.clone(), Some(CONTROLLER));
    let new = Step::post("/api/v1/namespaces", json!({"metadata": {"name": namespace}}));
    in_process.ask(&new).await?;
    real.ask(&new).await?;
    // Its controller does not run here, and pods are refused without it.
    let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    Side::new(client.clone(), None).ask(&Step::post(account, json!({"metadata": {"name": "default"}}))).await?;
    let mut report = Report::default();
    for (number, step) in sequence::sequence(seed, &namespace, defaults).into_iter().enumerate() {
        let (ours, theirs) = tokio::join!(in_process.ask(&step), real.ask(&step));
        let (ours, theirs) = (ours.context("in process")?, theirs.with_context(|| format!("seed {seed}: {step}"))?);
        report.requests += 1;
        if verbose {
            println!("{number:>4}  {} {}  {step}", ours.code, theirs.code);
        }
        for found in differences(&ours, &theirs) {
            match explained(&found) {
                Some(why) => *report.explained.entry(why).or_default() += 1,
                None => report.divergences.push(format!(
                    "SEED={seed} request {number}: {step}\n    {}: in process {}, real {}",
                    found.field,
                    short(&found.in_process),
                    short(&found.real)
                )),
            }
        }
        // What follows may differ only because of it.
        if !report.divergences.is_empty() && std::env::var_os("ALL").is_none() {
            break;
        }
    }
    Ok(report)
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}
