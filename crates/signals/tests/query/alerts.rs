//! Alerts from public collections, and what is derived from each. The tables are the files
//! `alerts.txt` and `field.txt`. The end-to-end tests send the same queries to a real server.

use prunella_signals::Query;

const TABLE: &str = include_str!("alerts.txt");
/// Expressions as people write them, with the labels and the namespace that they use.
const FIELD: &str = include_str!("field.txt");

/// Narrows the freshness checks as a policy in the namespace `shop` does for its pod `web-1`.
const TARGET: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "web-1")];

/// What is derived from `query`, in the format of the table.
fn derived_from(query: &str) -> String {
    match Query::compile(query, None) {
        Ok(compiled) => {
            let mut lines = vec![format!("evidence  {}", compiled.evidence())];
            lines.extend(compiled.leaves().iter().map(|leaf| format!("fresh     {}", leaf.instant_query(&TARGET))));
            lines.extend(compiled.advice().into_iter().map(|advice| format!("advice    {advice}")));
            lines.push(format!("range     {}s", compiled.widest_range().as_secs()));
            lines.join("\n")
        }
        Err(error) => format!("refused   {}: {error}", error.reason()),
    }
}

/// The blocks of the table: title, query and expected result.
fn blocks(table: &'static str) -> Vec<(&'static str, &'static str, String)> {
    let blocks = table.trim_end().split("\n\n").filter(|block| block.starts_with("# "));
    let parts = blocks.map(|block| {
        let mut lines = block.lines();
        let title = lines.next().unwrap();
        let query = lines.next().and_then(|line| line.strip_prefix("query     ")).unwrap();
        (title, query, lines.collect::<Vec<_>>().join("\n"))
    });
    parts.collect()
}

#[track_caller]
fn check(blocks: Vec<(&str, &str, String)>) {
    for (title, query, want) in blocks {
        let got = derived_from(query);
        // For a refusal, the table has the reason and the start of the message.
        match want.strip_suffix(" …") {
            Some(beginning) => assert!(got.starts_with(beginning), "{title}\n{got}"),
            None => assert_eq!(got, want, "{title}"),
        }
    }
}

#[test]
fn public_alerts_match_the_table() {
    let blocks = blocks(TABLE);
    let refused = blocks.iter().filter(|(_, _, want)| want.starts_with("refused")).count();
    assert!(blocks.len() - refused >= 30 && refused >= 5, "{} alerts, {refused} refused", blocks.len());
    check(blocks);
}

#[test]
fn expressions_from_the_field_match_the_table() {
    let blocks = blocks(FIELD);
    assert!(blocks.len() >= 59, "{} expressions", blocks.len());
    check(blocks);
}
