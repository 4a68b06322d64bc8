//! The API server of `crates/world` answers as the real one: the same random sequences of requests go
//! to both, and the answers are compared field by field.
//!
//! The real one is an API server and its etcd, without nodes and controllers, so that objects change
//! by requests only. `SEED=7` runs one sequence and prints its requests, `SEEDS=100` runs more, and
//! `ALL=1` goes on after a divergence.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod difference;
mod kinds;
mod more;
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
use prunella_e2e::{PATIENCE, eventually, repository};
use prunella_world::api_server::ApiServer;
use prunella_world::{Chance, WorldClock};
use serde_json::{Value, json};
use testbed::{Options, Part, State, Testbed};

use crate::difference::{differences, explained};
use crate::kinds::{Defaults, KINDS};
use crate::side::{Answer, Side};
use crate::step::Step;

/// How many sequences there are, unless `SEEDS` says so: as many as run in less than a minute.
const SEEDS: u64 = 16;
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

impl Report {
    /// Compares two answers.
    fn add(&mut self, what: &str, in_process: &Answer, real: &Answer) {
        self.requests += 1;
        for found in differences(in_process, real) {
            match explained(&found) {
                Some(why) => *self.explained.entry(why).or_default() += 1,
                None => self.divergences.push(format!(
                    "{what}\n    {}: in process {}, real {}",
                    found.field,
                    short(&found.in_process),
                    short(&found.real)
                )),
            }
        }
    }
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
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.map(|text| text.parse::<u64>()).transpose().with_context(|| format!("{name} is not a number"))
    };
    let only = number("SEED")?;
    let all = number("SEEDS")?.unwrap_or(SEEDS);
    let seeds = only.map_or(1..=all, |seed| seed..=seed);
    let runs = seeds.map(|seed| run(seed, &client, &defaults, only.is_some()));
    let reports: Vec<Report> =
        stream::iter(runs).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect::<Result<_>>()?;
    let mut total = Report::default();
    let sequences = reports.len();
    for report in reports {
        total.requests += report.requests;
        total.divergences.extend(report.divergences);
        for (why, count) in report.explained {
            *total.explained.entry(why).or_default() += count;
        }
    }
    println!(
        "{sequences} sequences, {} requests to each server, {:.0} s",
        total.requests,
        began.elapsed().as_secs_f64()
    );
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
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A refusal is an answer to compare, not one to ask for again.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    // For a moment after its definition, a custom resource is answered with 429.
    for kind in KINDS.into_iter().filter(|kind| kind.is_ours()) {
        let list = Step::get(kind.collection("default"));
        eventually(PATIENCE, &format!("{} can be listed", kind.plural), async || {
            let answer = Side::new(client.clone(), None).ask(&list).await?;
            ensure!(answer.code == 200, "{}", answer.body);
            Ok(())
        })
        .await?;
    }
    Ok(client)
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
    let mut steps = sequence::sequence(seed, &namespace, defaults);
    let watches = steps.split_off(steps.iter().position(Step::is_watch).unwrap_or(steps.len()));
    for (number, step) in steps.iter().enumerate() {
        if verbose {
            println!("{number:>4}           {step}");
        }
        let (ours, theirs) = tokio::join!(in_process.ask(step), real.ask(step));
        let (ours, theirs) = (ours.context("in process")?, theirs.with_context(|| format!("seed {seed}: {step}"))?);
        if verbose {
            println!("{number:>4}  {} {}", ours.code, theirs.code);
        }
        report.add(&format!("SEED={seed} request {number}: {step}"), &ours, &theirs);
        // What follows may differ only because of it.
        if !report.divergences.is_empty() && std::env::var_os("ALL").is_none() {
            return Ok(report);
        }
    }
    let (ours, theirs) = tokio::join!(in_process.watch(&watches), real.watch(&watches));
    for ((step, ours), theirs) in watches.iter().zip(ours.context("in process")?).zip(theirs?) {
        if verbose {
            println!("      {} {}  {step}", ours.code, theirs.code);
        }
        report.add(&format!("SEED={seed} watch: {step}"), &ours, &theirs);
    }
    Ok(report)
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}
