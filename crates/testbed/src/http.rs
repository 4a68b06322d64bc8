//! Asking the testbed's servers how they are. Tests talk to the cluster with
//! clients of their own; this is only for coming up and for `status`.

use crate::layout::Layout;
use anyhow::{Context, Result, anyhow, ensure};
use reqwest::{Certificate, Identity, redirect};
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// A client that trusts the testbed's certificates and is its administrator.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    api: String,
    prometheus: String,
}

impl Http {
    /// Needs the certificates to be written.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn new(layout: &Layout) -> Result<Self> {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read =
            |file: &str| fs::read(layout.pki(file)).with_context(|| format!("cannot read the certificate {file}"));
        let mut identity = read("admin.crt")?;
        identity.extend(read("admin.key")?);
        let client = reqwest::Client::builder()
            .tls_certs_only([Certificate::from_pem(&read("ca.crt")?)?])
            .identity(Identity::from_pem(&identity)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { client, api: layout.api_url(), prometheus: layout.prometheus_url() })
    }

    /// Whether a health URL answers with success.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn healthy(&self, url: &str) -> Result<()> {
        let response = self.client.get(url).timeout(Duration::from_secs(2)).send().await.map_err(short)?;
        ensure!(response.status().is_success(), "answers {}", response.status());
        Ok(())
    }

    async fn json(&self, url: String) -> Result<Value> {
        let response = self.client.get(url).send().await.map_err(short)?.error_for_status().map_err(short)?;
        response.json().await.map_err(short)
    }

    /// The nodes that are Ready.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn ready_nodes(&self) -> Result<Vec<String>> {
        let nodes = self.json(format!("{}/api/v1/nodes", self.api)).await?;
        let ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(nodes["items"].as_array().into_iter().flatten().filter(ready).map(name).collect())
    }

    /// Checks that Prometheus has scraped every job's targets.
    ///
    /// # Errors
    /// The first target that is not up, or a job that has none yet.
    pub async fn targets_up(&self, jobs: &[(&str, usize)]) -> Result<()> {
        let answer = self.json(format!("{}/api/v1/targets?state=active", self.prometheus)).await?;
        let targets = answer["data"]["activeTargets"].as_array().context("Prometheus lists no targets")?;
        for (job, count) in jobs {
            let of_job: Vec<_> = targets.iter().filter(|t| t["labels"]["job"] == *job).collect();
            ensure!(of_job.len() >= *count, "Prometheus has {} of {count} targets of {job}", of_job.len());
            if let Some(down) = of_job.iter().find(|t| t["health"] != "up") {
                return Err(anyhow!("Prometheus finds {job} {}: {}", down["health"], down["lastError"]));
            }
        }
        Ok(())
    }
}

/// reqwest tells the URL; the reader knows it and wants the cause.
#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn short(error: reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    anyhow!("{cause}")
}
