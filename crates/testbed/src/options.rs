//! What the user may choose. A testbed keeps the options it was made with;
//! another `up` must ask for the same.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Parts that a testbed can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// No metrics at all.
    Prometheus,
    /// No `kube_*` metrics.
    KubeStateMetrics,
    /// Service names do not resolve in pods.
    Coredns,
    /// No controller manager and no scheduler: objects stay as requests leave them.
    Controllers,
}

/// Parts that a testbed has only when they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extra {
    /// Takes Prometheus' alerts; to whom it sends them is for its user to configure.
    Alertmanager,
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", PossibleValue::get_name))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", PossibleValue::get_name))
    }
}

/// The options of `up`.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Options {
    /// Folder for everything the testbed writes [default: /var/lib/prunella-testbed/NAME]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How many nodes. Without nodes and without controllers it is an API server and its etcd
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub nodes: u8,
    /// How often Prometheus scrapes (1s to 5m)
    #[arg(long, default_value = "5s", value_parser = scrape_interval, value_name = "DURATION")]
    pub scrape_interval: String,
    /// Leave a part out (may be given more than once, or with commas)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub without: Vec<Part>,
    /// Add a part that is not there by default
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    #[serde(default)]
    pub with: Vec<Extra>,
}

impl Default for Options {
    fn default() -> Self {
        Self { data: None, nodes: 2, scrape_interval: "5s".into(), without: Vec::new(), with: Vec::new() }
    }
}

impl Options {
    /// Whether the testbed has this part.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        !self.without.contains(&part)
    }

    /// Whether this part was asked for.
    #[must_use]
    pub fn asks_for(&self, extra: Extra) -> bool {
        self.with.contains(&extra)
    }

    /// The same choice written the same way, so that two can be compared.
    #[must_use]
    pub fn normal(mut self) -> Self {
        self.without.sort_unstable();
        self.without.dedup();
        self.with.sort_unstable();
        self.with.dedup();
        self
    }
}

/// Whole seconds or minutes; the text is kept, because Prometheus reads it.
fn scrape_interval(text: &str) -> Result<String, String> {
    let seconds = text
        .strip_suffix('s')
        .map(|n| (n, 1))
        .or_else(|| text.strip_suffix('m').map(|n| (n, 60)))
        .and_then(|(n, unit)| n.parse::<u64>().ok()?.checked_mul(unit));
    match seconds {
        Some(1..=300) => Ok(text.to_owned()),
        _ => Err("use 1s to 5m, such as 5s or 1m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_intervals_are_what_prometheus_reads() {
        for (text, fits) in [("5s", true), ("1m", true), ("0s", false), ("6m", false), ("5", false), ("-1s", false)] {
            assert_eq!(scrape_interval(text).is_ok(), fits, "{text:?}");
        }
    }
}
