//! An exporter dies while a rate of its counters is breached. The rate stays for a minute, and then
//! there is no data. Neither is a reason to act, and neither means healthy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, ReportedEvent, Room, eventually, in_room, name_of, uid_of};
use serde_json::json;

use crate::source::{Lie, Source};

const POLICY: &str = "errors";
const SCRAPE: &str = "prometheus.io/scrape";
/// For this many evaluations nothing must be done.
const EVALUATIONS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_rate_that_outlives_its_exporter_is_stale_and_then_no_data() -> Result<()> {
    in_room("exporter", async |room| {
        let source = Source::new(room, "counting").await?;
        let (unhealthy, query, _errors) = erring(room, &source).await?;

        // The pod stays ready: only its samples stop.
        room.kubectl(&["annotate", "pod", &name_of(&unhealthy), &format!("{SCRAPE}-")]).await?;
        room.until_condition(POLICY, "Blocked", "True", "Stale").await?;
        source.asked_again(&query, EVALUATIONS).await?;
        ensure!(!room.ground.ask(&query).await?.is_empty(), "the rate is not breached at all");
        still_unhealthy(room, &unhealthy, "Stale").await?;

        room.until_condition(POLICY, "Blocked", "True", "NoData").await?;
        source.asked_again(&query, EVALUATIONS).await?;
        still_unhealthy(room, &unhealthy, "NoData").await?;

        room.kubectl(&["annotate", "pod", &name_of(&unhealthy), &format!("{SCRAPE}=true")]).await?;
        until_evicted(room, &unhealthy).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_source_with_old_samples_only_is_stale() -> Result<()> {
    in_room("no-instant", async |room| {
        let source = Source::new(room, "forgetful").await?;
        source.answer_with(Lie::NoInstant);
        let (unhealthy, query, _errors) = erring(room, &source).await?;
        room.until_condition(POLICY, "Blocked", "True", "Stale").await?;
        source.asked_again(&query, EVALUATIONS).await?;
        still_unhealthy(room, &unhealthy, "Stale").await?;
        source.answer_with(Lie::Honest);
        until_evicted(room, &unhealthy).await
    })
    .await
}

/// The gauge of one pod inhibits the breach of the other one. When the inhibiting pod is no longer
/// scraped, nothing inhibits, and nothing must be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_dead_inhibitor_holds() -> Result<()> {
    in_room("inhibitor", async |room| {
        let source = Source::new(room, "inhibited").await?;
        let pods = room.deploy(2).await?;
        let (unhealthy, inhibitor) = (&pods[0], &pods[1]);
        room.simulate(inhibitor, "gauge?value=1").await?;
        room.simulate(unhealthy, "gauge?value=9").await?;
        // As Prunella prints it.
        let gauge = |pod: &Pod| format!(r#"sample_app_gauge{{namespace="{}",pod="{}"}}"#, room.name(), name_of(pod));
        eventually(PATIENCE, "the inhibiting gauge", async || {
            ensure!(!room.ground.ask(&format!("{} == 1", gauge(inhibitor))).await?.is_empty(), "it is not 1 yet");
            Ok(())
        })
        .await?;
        let query = format!("{} > 5 unless on (namespace) {} == 1", gauge(unhealthy), gauge(inhibitor));
        let mut policy = room.policy(POLICY, &query);
        source.ask_by(&mut policy);
        room.apply(&policy).await?;
        source.asked_again(&query, EVALUATIONS).await?;
        ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved although it is inhibited");

        room.kubectl(&["annotate", "pod", &name_of(inhibitor), &format!("{SCRAPE}-")]).await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Stale").await?;
        ensure!(blocked.message.contains(&name_of(inhibitor)), "{}", blocked.message);
        source.asked_again(&query, EVALUATIONS).await?;
        still_unhealthy(room, unhealthy, "Stale").await?;

        room.kubectl(&["annotate", "pod", &name_of(inhibitor), &format!("{SCRAPE}=true")]).await?;
        room.simulate(inhibitor, "gauge?value=0").await?;
        until_evicted(room, unhealthy).await
    })
    .await
}

/// Two pods, of which one answers every request with an error, and a policy for which it is already
/// pending.
async fn erring(room: &Room<'_>, source: &Source) -> Result<(Pod, String, Errors)> {
    let unhealthy = room.deploy(2).await?.swap_remove(0);
    let query = format!(r#"rate(http_requests_total{{code="500",namespace="{}"}}[1m]) > 0.2"#, room.name());
    let mut policy = room.policy(POLICY, &query);
    // Long enough for the exporter to die before the pod is firing.
    policy["spec"]["condition"]["for"] = json!("12s");
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&unhealthy, "errors").await?;
    let errors = Errors::send_to(&unhealthy)?;
    eventually(PATIENCE, "the pod to be breached", async || {
        let status = room.policy_now(POLICY).await?.status.unwrap_or_default();
        let found: Vec<_> = status.unhealthy.iter().map(|one| (one.uid.clone(), one.state.as_str())).collect();
        ensure!(found == [(uid_of(&unhealthy), "Pending")], "{found:?}");
        Ok(())
    })
    .await?;
    Ok((unhealthy, query, errors))
}

/// Sends requests to a pod, one after the other, until it is dropped.
struct Errors(tokio::task::JoinHandle<()>);

impl Errors {
    fn send_to(pod: &Pod) -> Result<Self> {
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("no address")?;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(5)).build()?;
        Ok(Self(tokio::spawn(async move {
            loop {
                // The responses are errors on purpose.
                let _ = http.get(format!("http://{ip}:8080/")).send().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })))
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn still_unhealthy(room: &Room<'_>, unhealthy: &Pod, guardrail: &str) -> Result<()> {
    let status = room.policy_now(POLICY).await?.status.context("no status")?;
    let found: Vec<_> = status.unhealthy.iter().map(|one| (one.uid.clone(), one.blocked_by.as_deref())).collect();
    ensure!(found == [(uid_of(unhealthy), Some(guardrail))], "{found:?}");
    ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
    let writes = room.healing_writes()?;
    ensure!(writes.is_empty(), "{writes:#?}");
    let events = room.events_on(&uid_of(unhealthy)).await?;
    ensure!(!events.iter().any(|one: &ReportedEvent| one.reason == "Recovered"), "{events:#?}");
    Ok(())
}

/// Waits for the eviction. The outcome is unknown, because a new pod has not answered any request.
async fn until_evicted(room: &Room<'_>, unhealthy: &Pod) -> Result<()> {
    eventually(PATIENCE, "the unhealthy pod to be evicted", async || {
        let writes = room.healing_writes()?;
        let evicted: Vec<_> = writes.iter().map(|write| write.object_ref.name.as_str()).collect();
        ensure!(evicted == [name_of(unhealthy)], "{evicted:?}");
        Ok(())
    })
    .await
}
