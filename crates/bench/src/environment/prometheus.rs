//! The testbed's Prometheus and Alertmanager: their configuration for the bench, and the
//! metrics pages of servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Url};
use serde_json::{Value, json};
use testbed::Testbed;
use testbed::layout::Layout;

use super::exporter::{FAULT, LOAD};
use super::policies::{self, QUIET_INTERVAL};
use super::webhook;
use super::workloads::{self, QUIET_PODS, TARGETS};
use crate::wait::{PATIENCE, eventually};

const DEADLINE: Duration = Duration::from_secs(10);

/// A client for Prometheus, Alertmanager and metrics pages.
#[derive(Debug, Clone)]
pub(crate) struct Prometheus {
    client: Client,
    layout: Layout,
    /// Where this process serves the gauges and the webhook.
    address: SocketAddr,
}

impl Prometheus {
    /// # Errors
    /// The HTTP client cannot be created.
    pub(super) fn new(testbed: &Testbed, address: SocketAddr) -> Result<Self> {
        let client = Client::builder()
            // The default loads the system's certificates. Plain HTTP does not need them.
            .tls_certs_only([])
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .context("cannot create an HTTP client")?;
        Ok(Self { client, layout: testbed.layout().clone(), address })
    }

    /// Scrapes the gauges every second and sends the alerts of the classic path to the
    /// webhook: one alert for each target, evaluated every second, and `quiet` alerts that
    /// never fire. Prometheus derives the offset of a scrape or rule group within its
    /// interval from its name. `offsets` is part of the names, so another number gives
    /// other offsets.
    ///
    /// # Errors
    /// A server refuses its configuration, or the gauges do not appear.
    pub(crate) async fn configure(&self, quiet: usize, offsets: usize) -> Result<()> {
        write(&self.layout.scrape_files().join("bench.json"), &scrapes(self.address, offsets))?;
        write(&self.layout.rule_files().join("bench.json"), &rules(quiet, offsets))?;
        write(&self.layout.alertmanager_config(), &routing(self.address))?;
        self.reload().await?;
        eventually(PATIENCE, "Prometheus to scrape the gauges", async || {
            let targets = self.labels(FAULT, "deployment").await?;
            let quiet = self.labels(LOAD, "pod").await?;
            let wanted: BTreeSet<String> = workloads::targets().collect();
            ensure!(targets == wanted && quiet.len() == QUIET_PODS, "only {targets:?} and {quiet:?} have samples");
            Ok(())
        })
        .await
    }

    /// Makes both servers read their configuration again.
    ///
    /// # Errors
    /// A server refuses it.
    pub(super) async fn reload(&self) -> Result<()> {
        for url in [self.layout.prometheus_url(), self.layout.alertmanager_url()] {
            let answer = self.client.post(format!("{url}/-/reload")).send().await?;
            ensure!(answer.status().is_success(), "{url} refuses its configuration: {}", answer.text().await?);
        }
        Ok(())
    }

    /// The sum of all series of a metric on a server's metrics page.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) async fn value_at(&self, page: &str, metric: &str) -> Result<f64> {
        Ok(sum(&self.text(page).await?, metric))
    }

    /// The CPU seconds that Prometheus has used, and the number of its instant queries.
    ///
    /// # Errors
    /// Prometheus does not answer.
    pub(crate) async fn usage(&self) -> Result<(f64, f64)> {
        let page = self.text(&format!("{}/metrics", self.layout.prometheus_url())).await?;
        let queries = page.lines().filter(|line| line.contains("handler=\"/api/v1/query\"")).collect::<Vec<_>>();
        Ok((sum(&page, "process_cpu_seconds_total"), sum(&queries.join("\n"), "prometheus_http_requests_total")))
    }

    async fn text(&self, url: &str) -> Result<String> {
        let answer = self.client.get(url).send().await.with_context(|| format!("cannot get {url}"))?;
        answer.error_for_status()?.text().await.with_context(|| format!("cannot read {url}"))
    }

    /// The values of one label in the answer to a query.
    async fn labels(&self, query: &str, label: &str) -> Result<BTreeSet<String>> {
        let url = format!("{}/api/v1/query", self.layout.prometheus_url());
        let url = Url::parse_with_params(&url, [("query", query)])?;
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let series = answer["data"]["result"].as_array().context("the answer of Prometheus has no list of series")?;
        Ok(series.iter().filter_map(|one| Some(one["metric"][label].as_str()?.to_owned())).collect())
    }
}

/// The sum of all series of a metric in the text format.
fn sum(page: &str, metric: &str) -> f64 {
    let of_metric = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with([' ', '{']));
    page.lines().filter(of_metric).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn scrapes(address: SocketAddr, offsets: usize) -> Value {
    let target = |path: String| json!({"targets": [address.to_string()], "labels": {"__metrics_path__": path}});
    let pages = workloads::targets().map(|name| format!("/fault/{name}")).chain(["/quiet".to_owned()]);
    json!({"scrape_configs": [{
        "job_name": "bench",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "params": {"offsets": [offsets.to_string()]},
        "static_configs": pages.map(target).collect::<Vec<_>>(),
    }]})
}

fn rules(quiet: usize, offsets: usize) -> Value {
    let alert = |expr: String| json!({"alert": "Unhealthy", "expr": expr});
    let fault =
        |name: &str| alert(format!("{FAULT}{{path=\"classic\",namespace=\"{TARGETS}\",deployment=\"{name}\"}} > 0"));
    // Each rule has its own group, because Prometheus spreads groups over the interval.
    let group = |name: &str| format!("{name}-{offsets}");
    let targets =
        workloads::targets().map(|name| json!({"name": group(&name), "interval": "1s", "rules": [fault(&name)]}));
    let never = (0..quiet).map(|number| alert(policies::quiet_query(number)));
    let quiet = json!({"name": "quiet", "interval": QUIET_INTERVAL, "rules": never.collect::<Vec<_>>()});
    json!({"groups": targets.chain([quiet]).collect::<Vec<_>>()})
}

fn routing(address: SocketAddr) -> Value {
    let url = format!("http://{address}{}", webhook::PATH);
    json!({
        "route": {
            "receiver": "bench", "group_by": ["..."],
            "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h",
        },
        "receivers": [{"name": "bench", "webhook_configs": [{"url": url, "send_resolved": false}]}],
    })
}

fn write(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_series_of_the_metric_itself_are_summed() {
        let page = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3.5\na_total 7\nb 1\n";
        for (metric, expected) in [("a", 5.5), ("a_total", 7.0), ("c", 0.0)] {
            assert!((sum(page, metric) - expected).abs() < 1e-9, "{metric}");
        }
    }
}
