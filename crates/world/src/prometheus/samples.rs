//! The stored samples.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::VectorSelector;

/// Labels without the metric's name.
pub(super) type LabelSet = BTreeMap<String, String>;

/// How long samples are kept, in milliseconds.
const RETENTION: i64 = 3 * 3_600_000;

/// One sample: time in milliseconds, and value. `None`: the series has ended here.
type StoredSample = (i64, Option<f64>);

/// All series, by metric and labels.
#[derive(Debug, Default)]
pub(super) struct Samples {
    series: BTreeMap<String, BTreeMap<LabelSet, Vec<StoredSample>>>,
}

/// One sample of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scraped {
    pub(crate) metric: &'static str,
    pub(crate) labels: LabelSet,
    pub(crate) value: f64,
}

impl Samples {
    /// Stores one scrape. A series that is not in it any more ends.
    pub(super) fn store(&mut self, at: i64, scrape: Vec<Scraped>) {
        let mut seen: BTreeSet<(&str, LabelSet)> = BTreeSet::new();
        for Scraped { metric, labels, value } in scrape {
            let series = self.series.entry(metric.to_owned()).or_default().entry(labels.clone()).or_default();
            series.push((at, Some(value)));
            seen.insert((metric, labels));
        }
        for (metric, by_labels) in &mut self.series {
            for (labels, samples) in by_labels.iter_mut() {
                let is_seen = seen.contains(&(metric.as_str(), labels.clone()));
                if !is_seen && samples.last().is_some_and(|(_, value)| value.is_some()) {
                    samples.push((at, None));
                }
                samples.retain(|(then, _)| at - then < RETENTION);
            }
            by_labels.retain(|_, samples| !samples.is_empty());
        }
    }

    /// The newest sample of each selected series: not older than `lookback` at `at`.
    pub(super) fn instant(&self, selector: &VectorSelector, at: i64, lookback: i64) -> Vec<(LabelSet, i64, f64)> {
        let newest = |samples: &Vec<StoredSample>| {
            let (then, value) = *samples.iter().rev().find(|(then, _)| *then <= at)?;
            value.filter(|_| at - then < lookback).map(|value| (then, value))
        };
        let selected = self.selected(selector).into_iter();
        selected.filter_map(|(labels, samples)| newest(samples).map(|(then, value)| (labels, then, value))).collect()
    }

    /// The samples of each selected series in the `range` before `at`, without its start.
    pub(super) fn range(&self, selector: &VectorSelector, at: i64, range: i64) -> Vec<(LabelSet, Vec<(i64, f64)>)> {
        let within = |samples: &Vec<StoredSample>| -> Vec<(i64, f64)> {
            let inside = samples.iter().filter(|(then, _)| (at - range..at).contains(&(then - 1)));
            inside.filter_map(|(then, value)| value.map(|value| (*then, value))).collect()
        };
        let selected = self.selected(selector).into_iter();
        selected.map(|(labels, samples)| (labels, within(samples))).filter(|(_, samples)| !samples.is_empty()).collect()
    }

    /// The selected series, with the metric's name as a label.
    fn selected(&self, selector: &VectorSelector) -> Vec<(LabelSet, &Vec<StoredSample>)> {
        let names = |name: &str| {
            selector.name.as_deref().is_none_or(|wanted| wanted == name)
                && selector.matchers.matchers.iter().filter(|one| one.name == NAME).all(|one| one.is_match(name))
        };
        let mut selected = Vec::new();
        for (metric, by_labels) in self.series.iter().filter(|(metric, _)| names(metric)) {
            for (labels, samples) in by_labels.iter().filter(|(labels, _)| matches(selector, labels)) {
                let mut labels = labels.clone();
                labels.insert(NAME.to_owned(), metric.clone());
                selected.push((labels, samples));
            }
        }
        selected
    }
}

/// The label that is the metric's name.
pub(super) const NAME: &str = "__name__";

fn matches(selector: &VectorSelector, labels: &LabelSet) -> bool {
    let one = |matcher: &Matcher| {
        let value = labels.get(&matcher.name).map(String::as_str).unwrap_or_default();
        match &matcher.op {
            MatchOp::Equal | MatchOp::NotEqual | MatchOp::Re(_) | MatchOp::NotRe(_) if matcher.name == NAME => true,
            _ => matcher.is_match(value),
        }
    };
    let alternatives = &selector.matchers.or_matchers;
    selector.matchers.matchers.iter().all(one)
        && (alternatives.is_empty() || alternatives.iter().any(|all| all.iter().all(one)))
}
