//! Two hundred policies that have nothing to do are evaluated and write nothing. Policies with the
//! same query share its requests. The one policy that then has something to do does it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use prunella_api::HealingPolicy;
use prunella_e2e::{CONTROLLER, PATIENCE, Room, condition, eventually, in_room, uid_of};
use serde_json::json;
use testbed::audit::Event;

use crate::source::Source;

/// Policies with different queries.
const POLICIES: usize = 200;
/// More policies, which all have the same query.
const SHARING: usize = 10;
const INTERVAL: usize = 5;
/// For how many seconds they are watched. `PRUNELLA_QUIET_SECONDS` changes it.
const SECONDS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn two_hundred_quiet_policies_are_all_evaluated_and_nothing_is_written() -> Result<()> {
    let seconds = std::env::var("PRUNELLA_QUIET_SECONDS").ok().and_then(|given| given.parse().ok()).unwrap_or(SECONDS);
    in_room("two-hundred", async |room| {
        let pods = room.deploy(2).await?;
        let source = Source::new(room, "counting").await?;
        // Each has its own query, so that the source can count its evaluations.
        let queries: Vec<_> = (0..POLICIES).map(|number| query(room, number)).collect();
        let shared = query(room, POLICIES);
        let each = queries.iter().enumerate().map(|(number, query)| (name(number), query));
        let sharing = (0..SHARING).map(|number| (format!("sharing-{number}"), &shared));
        let policies = each.chain(sharing).map(|(name, query)| {
            let mut policy = room.policy(&name, query);
            policy["metadata"]["namespace"] = json!(room.name());
            policy["spec"]["interval"] = json!(format!("{INTERVAL}s"));
            source.ask_by(&mut policy);
            policy
        });
        let all = json!({"apiVersion": "v1", "kind": "List", "items": policies.collect::<Vec<_>>()});
        room.ground.testbed.apply(&all.to_string()).await?;
        until_quiet(room).await?;

        let (written, served, requests) = (writes(room, &source)?.len(), served(room).await?, source.requests());
        let asked: Vec<_> = queries.iter().map(|query| source.asked(query)).collect();
        let asked_shared = source.asked(&shared);
        let evaluations = seconds / INTERVAL;
        // The source counts, so nothing has to be checked meanwhile.
        tokio::time::sleep(Duration::from_secs(seconds.try_into()?)).await;
        let since: Vec<_> = queries.iter().zip(asked).map(|(query, before)| source.asked(query) - before).collect();
        let shared = source.asked(&shared) - asked_shared;
        let requests = source.requests() - requests;
        let least = since.iter().copied().min().unwrap_or_default();
        let new = writes(room, &source)?.split_off(written);
        println!(
            "{POLICIES} policies, {seconds} s: {requests} requests, at least {least} of each query, {shared} of the shared query, {} writes",
            new.len()
        );
        ensure!(new.is_empty(), "the controller wrote {} times: {:#?}", new.len(), new.first());
        ensure!(least + 1 >= evaluations, "one of the policies was evaluated {least} times, expected {evaluations}");
        // On a busy machine some of them come too late to share an answer.
        let alone = SHARING * evaluations;
        ensure!(shared + 1 >= evaluations, "the shared query was sent {shared} times, expected {evaluations}");
        ensure!(shared < alone / 2, "the shared query was sent {shared} times, without sharing it is {alone}");

        eventually(PATIENCE, "Prometheus to have counted the requests", async || {
            let counted = self::served(room).await? - served;
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let enough = counted >= requests as f64;
            ensure!(enough, "{counted} of {requests}");
            println!("Prometheus counted {counted} requests");
            Ok(())
        })
        .await?;
        println!("the controller's memory: {:.1} MiB", memory(room).await? / 1024.0 / 1024.0);

        let broken = pods.first().context("no pod")?;
        room.simulate(broken, "gauge?value=9").await?;
        let action = room.until_outcome(&name(0), 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(broken));
        ensure!(room.healing_writes()?.len() == 1, "{:#?}", room.healing_writes()?);
        Ok(())
    })
    .await
}

fn name(number: usize) -> String {
    format!("quiet-{number}")
}

/// Only the first is breached by the fault of this test.
fn query(room: &Room<'_>, number: usize) -> String {
    let limit = if number == 0 { 5 } else { 1000 + number };
    format!(r#"sample_app_gauge{{namespace="{}"}} > {limit}"#, room.name())
}

async fn until_quiet(room: &Room<'_>) -> Result<()> {
    eventually(PATIENCE, "every policy to be evaluated", async || {
        let policies = room.api::<HealingPolicy>().list(&ListParams::default()).await?.items;
        let quiet = policies.iter().filter(|policy| {
            let reason = |kind| condition(policy, kind).map(|one| one.reason).unwrap_or_default();
            let selected = policy.status.as_ref().and_then(|status| status.targets).map(|targets| targets.selected);
            reason("Observed") == "Answered" && reason("Healthy") == "AllTargetsHealthy" && selected == Some(2)
        });
        let quiet = quiet.count();
        ensure!(quiet == POLICIES + SHARING, "{quiet} of {}", policies.len());
        Ok(())
    })
    .await
}

/// Everything that the controller wrote in the namespace or on its source.
fn writes(room: &Room<'_>, source: &Source) -> Result<Vec<Event>> {
    let log = File::open(room.ground.testbed.layout().audit_log()).context("cannot read the request log")?;
    let lines = BufReader::new(log).lines().map_while(Result::ok);
    // The name of the source starts with that of the namespace.
    let matching = lines.filter(|line| line.contains(room.name()) && line.contains(CONTROLLER));
    let mut writes: Vec<Event> = matching.filter_map(|line| serde_json::from_str(&line).ok()).collect();
    writes.retain(|event| {
        let object = &event.object_ref;
        let here = object.namespace == room.name() || object.name == source.name();
        event.user.username == CONTROLLER && event.is_write() && here
    });
    Ok(writes)
}

/// How many instant queries Prometheus has answered.
async fn served(room: &Room<'_>) -> Result<f64> {
    one(room, r#"sum(prometheus_http_requests_total{handler="/api/v1/query"})"#).await
}

/// The controller's memory in bytes.
async fn memory(room: &Room<'_>) -> Result<f64> {
    one(room, r#"sum(container_memory_working_set_bytes{namespace="prunella-system",container="prunella"})"#).await
}

async fn one(room: &Room<'_>, query: &str) -> Result<f64> {
    let series = room.ground.ask(query).await?;
    Ok(series.first().with_context(|| format!("Prometheus has no series for {query}"))?.value)
}
