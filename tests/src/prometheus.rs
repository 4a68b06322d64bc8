//! Queries to Prometheus.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::ground::Ground;

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Series {
    /// The value of a label. Empty if the series does not have it.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Ground {
    /// Sends an instant query.
    ///
    /// # Errors
    /// When Prometheus does not answer or refuses the query.
    pub async fn ask(&self, query: &str) -> Result<Vec<Series>> {
        let url = format!("{}/api/v1/query", self.testbed.prometheus_url());
        let answer: Answer = self.http.get(url).query(&[("query", query)]).send().await?.json().await?;
        ensure!(answer.status == "success", "Prometheus refused {query}: {}", answer.error);
        let series = answer.data.result.into_iter().map(|sample| {
            let value = sample.value.1.parse().with_context(|| format!("{:?} is not a number", sample.value.1))?;
            Ok(Series { labels: sample.metric, value })
        });
        series.collect()
    }
}
