//! An exporter dies while a rate over its counters is breached: the rate goes on for a
//! minute as if nothing had happened, and then there is nothing. Neither is a reason to
//! act, and neither is health.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, Told, eventually, in_room, name_of, uid_of};
use serde_json::json;

use crate::source::{Lie, Source};

const POLICY: &str = "errors";
const SCRAPE: &str = "prometheus.io/scrape";
/// Over so many looks nothing is done.
const LOOKS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_rate_that_outlives_its_exporter_is_stale_and_then_no_data() -> Result<()> {
    in_room("exporter", async |room| {
        let source = Source::new(room, "counting").await?;
        let (sick, query, _errors) = erring(room, &source).await?;

        // Its pod stays as ready as ever.
        room.kubectl(&["annotate", "pod", &name_of(&sick), &format!("{SCRAPE}-")]).await?;
        room.until_condition(POLICY, "Blocked", "True", "Stale").await?;
        source.asked_again(&query, LOOKS).await?;
        ensure!(!room.ground.ask(&query).await?.is_empty(), "the rate is not breached at all");
        still_sick(room, &sick, "Stale").await?;

        room.until_condition(POLICY, "Blocked", "True", "NoData").await?;
        source.asked_again(&query, LOOKS).await?;
        still_sick(room, &sick, "NoData").await?;

        room.kubectl(&["annotate", "pod", &name_of(&sick), &format!("{SCRAPE}=true")]).await?;
        until_evicted(room, &sick).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_source_that_remembers_and_does_not_see_is_stale() -> Result<()> {
    in_room("no-instant", async |room| {
        let source = Source::new(room, "forgetful").await?;
        source.tell(Lie::NoInstant);
        let (sick, query, _errors) = erring(room, &source).await?;
        room.until_condition(POLICY, "Blocked", "True", "Stale").await?;
        source.asked_again(&query, LOOKS).await?;
        still_sick(room, &sick, "Stale").await?;
        source.tell(Lie::Honest);
        until_evicted(room, &sick).await
    })
    .await
}

/// Two pods, of which one answers every request with an error, and a policy about it
/// that has seen the first of them.
async fn erring(room: &Room<'_>, source: &Source) -> Result<(Pod, String, Errors)> {
    let sick = room.deploy(2).await?.swap_remove(0);
    let query = format!(r#"rate(http_requests_total{{namespace="{}", code="500"}}[1m]) > 0.2"#, room.name());
    let mut policy = room.policy(POLICY, &query);
    // Long enough for the exporter to die before the time has come.
    policy["spec"]["condition"]["for"] = json!("12s");
    source.ask_by(&mut policy);
    room.apply(&policy).await?;
    room.until_judged(POLICY).await?;
    room.simulate(&sick, "errors").await?;
    let errors = Errors::ask_for(&sick)?;
    eventually(PATIENCE, "the pod to be breached", async || {
        let status = room.policy_now(POLICY).await?.status.unwrap_or_default();
        let found: Vec<_> = status.sick.iter().map(|one| (one.uid.clone(), one.state.as_str())).collect();
        ensure!(found == [(uid_of(&sick), "Pending")], "{found:?}");
        Ok(())
    })
    .await?;
    Ok((sick, query, errors))
}

/// Requests to a pod, one after the other, until it is dropped.
struct Errors(tokio::task::JoinHandle<()>);

impl Errors {
    fn ask_for(pod: &Pod) -> Result<Self> {
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("no address")?;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(5)).build()?;
        Ok(Self(tokio::spawn(async move {
            loop {
                // Errors are what is asked for.
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

async fn still_sick(room: &Room<'_>, sick: &Pod, word: &str) -> Result<()> {
    let status = room.policy_now(POLICY).await?.status.context("no status")?;
    let found: Vec<_> = status.sick.iter().map(|one| (one.uid.clone(), one.blocked_by.as_deref())).collect();
    ensure!(found == [(uid_of(sick), Some(word))], "{found:?}");
    ensure!(room.actions(POLICY).await?.is_empty(), "an action was reserved");
    let writes = room.healing_writes()?;
    ensure!(writes.is_empty(), "{writes:#?}");
    let told = room.told(&uid_of(sick)).await?;
    ensure!(!told.iter().any(|one: &Told| one.reason == "Recovered"), "{told:#?}");
    Ok(())
}

/// When its samples are fresh again. Whether it helped nobody can say: a new pod has
/// answered nothing yet.
async fn until_evicted(room: &Room<'_>, sick: &Pod) -> Result<()> {
    eventually(PATIENCE, "the sick pod to be evicted", async || {
        let writes = room.healing_writes()?;
        let evicted: Vec<_> = writes.iter().map(|write| write.object_ref.name.as_str()).collect();
        ensure!(evicted == [name_of(sick)], "{evicted:?}");
        Ok(())
    })
    .await
}
