//! Prometheus' query log. It says when a policy's query was evaluated, which the API
//! server's request log cannot say. It is only on while a timeline is measured.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use testbed::Testbed;
use testbed::layout::Place;

use super::prometheus::Prometheus;

/// A query log that is on.
#[derive(Debug)]
pub(crate) struct QueryLog {
    config: PathBuf,
    /// The configuration of Prometheus without the query log.
    original: String,
    log: PathBuf,
}

/// One line of the log.
#[derive(Debug, Deserialize)]
struct Line {
    params: Params,
}

#[derive(Debug, Deserialize)]
struct Params {
    query: String,
    /// The evaluation time of an instant query.
    start: Timestamp,
}

impl QueryLog {
    /// Turns the log on.
    ///
    /// # Errors
    /// The configuration cannot be changed.
    pub(crate) async fn start(testbed: &Testbed, prometheus: &Prometheus) -> Result<Self> {
        let layout = testbed.layout();
        let config = layout.dir(Place::Hub).join("prometheus.json");
        let original = fs::read_to_string(&config).context("cannot read the configuration of Prometheus")?;
        let log = layout.log("prometheus-queries");
        let mut changed: Value =
            serde_json::from_str(&original).context("the configuration of Prometheus is not JSON")?;
        changed["global"]["query_log_file"] = Value::from(log.display().to_string());
        fs::write(&config, changed.to_string()).context("cannot change the configuration of Prometheus")?;
        prometheus.reload().await?;
        Ok(Self { config, original, log })
    }

    /// Turns the log off. Returns the evaluation times of each of `queries`, in order.
    ///
    /// # Errors
    /// The configuration cannot be restored, or the log cannot be read.
    pub(crate) async fn stop(self, prometheus: &Prometheus, queries: &[String]) -> Result<Vec<Vec<Timestamp>>> {
        fs::write(&self.config, &self.original).context("cannot restore the configuration of Prometheus")?;
        prometheus.reload().await?;
        let text = fs::read_to_string(&self.log).context("cannot read the query log of Prometheus")?;
        Ok(queries.iter().map(|query| evaluations(&text, query)).collect())
    }
}

fn evaluations(log: &str, query: &str) -> Vec<Timestamp> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let mut times: Vec<_> = lines.filter(|line| line.params.query == query).map(|line| line.params.start).collect();
    times.sort();
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evaluation_times_of_one_query_are_read_from_the_log() {
        let line = |query: &str, start: &str| {
            format!(r#"{{"params":{{"end":"{start}","query":"{query}","start":"{start}","step":0}},"stats":{{}}}}"#)
        };
        let log = [line("up", "2026-01-01T00:00:02.500Z"), line("other", "2026-01-01T00:00:01.000Z")];
        let log = format!("{}\nnot JSON\n{}\n", log.join("\n"), line("up", "2026-01-01T00:00:01.500Z"));
        let expected = ["2026-01-01T00:00:01.5Z", "2026-01-01T00:00:02.5Z"].map(|one| one.parse().unwrap());
        assert_eq!(evaluations(&log, "up"), expected);
    }
}
