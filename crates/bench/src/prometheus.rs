//! The testbed's Prometheus and Alertmanager: what they are to do for the bench, and
//! what servers say of themselves at `/metrics`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Url};
use serde_json::{Value, json};
use testbed::Testbed;

use crate::exporter::{FAULT, LOAD, QUIET_PODS};
use crate::ground::{Ground, PATIENTS};
use crate::policies::{self, QUIET_INTERVAL};
use crate::wait::{PATIENCE, eventually};
use crate::webhook;

const DEADLINE: Duration = Duration::from_secs(10);

/// A way to ask servers over plain HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Prometheus {
    client: Client,
    url: String,
    alertmanager: String,
}

impl Prometheus {
    /// Those of a testbed.
    ///
    /// # Errors
    /// When no client can be made.
    pub(crate) fn of(testbed: &Testbed) -> Result<Self> {
        let client = Client::builder()
            // The default wants the system's certificates, which plain HTTP does not need.
            .tls_certs_only([])
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { client, url: testbed.prometheus_url(), alertmanager: testbed.layout().alertmanager_url() })
    }

    /// The sum of all series of a metric on a server's own page.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) async fn value_at(&self, page: &str, metric: &str) -> Result<f64> {
        Ok(sum(&self.text(page).await?, metric))
    }

    /// CPU seconds that Prometheus has used, and the instant queries that it was sent.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn spent(&self) -> Result<(f64, f64)> {
        let page = self.text(&format!("{}/metrics", self.url)).await?;
        let queries = page.lines().filter(|line| line.contains("handler=\"/api/v1/query\"")).collect::<Vec<_>>();
        Ok((sum(&page, "process_cpu_seconds_total"), sum(&queries.join("\n"), "prometheus_http_requests_total")))
    }

    async fn text(&self, url: &str) -> Result<String> {
        let answer = self.client.get(url).send().await.with_context(|| format!("cannot ask {url}"))?;
        answer.error_for_status()?.text().await.with_context(|| format!("cannot read {url}"))
    }

    async fn reload(&self) -> Result<()> {
        for url in [&self.url, &self.alertmanager] {
            let answer = self.client.post(format!("{url}/-/reload")).send().await?;
            ensure!(
                answer.status().is_success(),
                "{url} does not take its new configuration: {}",
                answer.text().await?
            );
        }
        Ok(())
    }

    /// The values of one label among the series of a query.
    async fn labels(&self, query: &str, label: &str) -> Result<BTreeSet<String>> {
        let url = Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)])?;
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let series = answer["data"]["result"].as_array().context("Prometheus gave no list of series")?;
        Ok(series.iter().filter_map(|one| Some(one["metric"][label].as_str()?.to_owned())).collect())
    }
}

/// The sum of all series of a metric in the text format.
fn sum(page: &str, metric: &str) -> f64 {
    let of_metric = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with([' ', '{']));
    page.lines().filter(of_metric).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Has the gauges scraped every second, and the alerts of the classic path sent to the
/// webhook: an alert for each patient, judged every second, and as many as there are
/// quiet policies. `draw` tells apart what is spread over the second by its name: with
/// another one every scrape and every rule has another place in it.
///
/// # Errors
/// When a server does not take it, or the gauges do not appear.
pub(crate) async fn configure(ground: &Ground, quiet: usize, draw: usize) -> Result<()> {
    let layout = ground.testbed.layout();
    write(&layout.scrape_files().join("bench.json"), &scrapes(ground, draw))?;
    write(&layout.rule_files().join("bench.json"), &rules(quiet, draw))?;
    let webhook = format!("http://{}{}", ground.address, webhook::PATH);
    write(&layout.alertmanager_config(), &routing(&webhook))?;
    ground.prometheus.reload().await?;
    eventually(PATIENCE, "Prometheus to scrape the gauges", async || {
        let patients = ground.prometheus.labels(FAULT, "deployment").await?;
        let quiet = ground.prometheus.labels(LOAD, "pod").await?;
        let wanted: BTreeSet<String> = policies::patients().collect();
        ensure!(patients == wanted && quiet.len() == QUIET_PODS, "{patients:?} and {quiet:?} are");
        Ok(())
    })
    .await
}

fn scrapes(ground: &Ground, draw: usize) -> Value {
    let target = |path: String| json!({"targets": [ground.address.to_string()], "labels": {"__metrics_path__": path}});
    let pages = policies::patients().map(|name| format!("/fault/{name}")).chain(["/quiet".to_owned()]);
    json!({"scrape_configs": [{
        "job_name": "bench",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "params": {"draw": [draw.to_string()]},
        "static_configs": pages.map(target).collect::<Vec<_>>(),
    }]})
}

fn rules(quiet: usize, draw: usize) -> Value {
    let alert = |expr: String| json!({"alert": "Sick", "expr": expr});
    let sick =
        |name: &str| alert(format!("{FAULT}{{way=\"classic\",namespace=\"{PATIENTS}\",deployment=\"{name}\"}} > 0"));
    // A group each: groups are spread over the interval, like scrapes.
    let group = |name: &str| format!("{name}-{draw}");
    let patients =
        policies::patients().map(|name| json!({"name": group(&name), "interval": "1s", "rules": [sick(&name)]}));
    let never = (0..quiet).map(|number| alert(policies::quiet_query(number)));
    let quiet = json!({"name": "quiet", "interval": QUIET_INTERVAL, "rules": never.collect::<Vec<_>>()});
    json!({"groups": patients.chain([quiet]).collect::<Vec<_>>()})
}

fn routing(webhook: &str) -> Value {
    json!({
        "route": {
            "receiver": "bench", "group_by": ["..."],
            "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h",
        },
        "receivers": [{"name": "bench", "webhook_configs": [{"url": webhook, "send_resolved": false}]}],
    })
}

fn write(path: &std::path::Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_and_its_namesakes_are_not() {
        let page = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3.5\na_total 7\nb 1\n";
        for (metric, expected) in [("a", 5.5), ("a_total", 7.0), ("c", 0.0)] {
            assert!((sum(page, metric) - expected).abs() < 1e-9, "{metric}");
        }
    }
}
