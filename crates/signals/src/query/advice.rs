//! Queries that are valid but may not do what the user wants. Each sentence says what happens
//! and how to fix it. It goes into the condition `Ready`.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::Expr;

use super::tree::selectors;
use super::{RequiredLabels, leaf, picked, vanishing};

pub(super) fn of(expr: &Expr, is_own_evidence: bool, required: &RequiredLabels) -> Vec<String> {
    let mut advice: Vec<String> = Vec::new();
    if !is_own_evidence {
        advice.extend(selectors(expr).into_iter().filter_map(vanishing::advice));
        advice.extend(picked::picks(expr).then(|| {
            "topk, bottomk and limitk leave out breached targets: such a target counts as a target without data until its value is healthy".to_owned()
        }));
    }
    let (up, silent): (Vec<_>, Vec<_>) = leaf::silent(expr).into_iter().partition(|name| is_up(name));
    if !up.is_empty() {
        advice.push(format!(
            "the query is also breached while Prometheus discovers no target for {}: before an action, it must have scraped them within the last day, and now at least one target of any job",
            up.join(" and ")
        ));
    }
    if !silent.is_empty() {
        advice.push(format!(
            "the query is also breached while nothing scrapes {}: before an action, the exporter that returned it in the last hour must have up == 1",
            silent.join(" and ")
        ));
    }
    let inhibiting = leaf::inhibit_by_existing(expr);
    if required.namespace.is_some() && !inhibiting.is_empty() {
        advice.push(format!(
            "{} holds actions back only with series of the policy's own namespace; for a metric of nodes or of another namespace, ask for a source with isolation: None",
            inhibiting.join(" and ")
        ));
    }
    if !required.fixed.is_empty() && !inhibiting.is_empty() {
        let labels = required.fixed.iter().map(|(label, value)| Matcher::new(MatchOp::Equal, label, value).to_string());
        advice.push(format!(
            "{} holds actions back only with series that have {}, which `matchLabels` of the source adds to every selector: a series without it is not read and cannot inhibit, so make sure that the exporter or the rule sets it",
            inhibiting.join(" and "),
            labels.collect::<Vec<_>>().join(" and ")
        ));
    }
    advice.sort();
    advice.dedup();
    advice
}

/// Prometheus itself writes `up`.
fn is_up(selector: &str) -> bool {
    selector == "up" || selector.starts_with("up{")
}
