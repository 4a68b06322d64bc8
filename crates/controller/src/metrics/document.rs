//! The metrics as a page for people.

use super::catalogue::{self, Entry, Kind, Label, Words};

const HEAD: &str = "\
# Metrics

Served at `/metrics` of the admin address, in the OpenMetrics format. Labels hold names that users gave to policies and
words of the vocabulary that conditions, Events and the log use as well; never a target's name, so that their number is
bounded.

| metric | type | labels | tells | for example |
|---|---|---|---|---|
";

/// The page, in Markdown.
pub(crate) fn page() -> String {
    catalogue::ALL.into_iter().fold(HEAD.to_owned(), |page, entry| page + &row(entry))
}

fn row(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<_> = entry.labels.iter().map(label).collect();
    let (name, labels) = (entry.exposed(), labels.join("; "));
    format!("| `{name}` | {kind} | {labels} | {}. {} | `{}` |\n", entry.help, entry.tells, entry.example)
}

fn label(label: &Label) -> String {
    let words = match &label.words {
        Words::Name(what) => (*what).to_owned(),
        Words::Of(words) => words().into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    };
    format!("`{}`: {words}", label.name)
}
