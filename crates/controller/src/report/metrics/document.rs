//! The documentation of the metrics.

use super::catalogue::{self, Label, LabelValues, MetricEntry, MetricKind};

const HEAD: &str = "\
# Metrics

Prunella serves these metrics at `/metrics` on port 8080, in the OpenMetrics format. Labels hold the names of policies
and the reasons that conditions and Events use. They never hold the name of a target, so the number of series is
bounded.

| metric | type | labels | meaning | example query |
|---|---|---|---|---|
";

/// The page, in Markdown.
#[must_use]
pub fn page() -> String {
    catalogue::ALL.into_iter().fold(HEAD.to_owned(), |page, entry| page + &row(entry))
}

fn row(entry: &MetricEntry) -> String {
    let kind = match entry.kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Counter => "counter",
        MetricKind::Histogram => "histogram",
    };
    let labels: Vec<_> = entry.labels.iter().map(label).collect();
    let (name, labels) = (entry.exposed(), labels.join("; "));
    format!("| `{name}` | {kind} | {labels} | {}. {} | `{}` |\n", entry.help, entry.meaning, entry.example)
}

fn label(label: &Label) -> String {
    let values = match &label.values {
        LabelValues::Name(what) => (*what).to_owned(),
        LabelValues::OneOf(words) => words().into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    };
    format!("`{}`: {values}", label.name)
}
