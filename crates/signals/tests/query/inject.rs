//! The labels that every selector of a policy's queries gets, whatever the query tries.

use std::collections::BTreeMap;

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::{self, Expr};
use prunella_signals::{LabelScope, Query, QueryError, RequiredLabels, RequiredNamespace};

const HOSTILE: &str = include_str!("hostile.txt");
const ALERTS: &str = include_str!("alerts.txt");

fn shop() -> RequiredLabels {
    RequiredLabels {
        namespace: Some(RequiredNamespace {
            name: "shop".to_owned(),
            label: "namespace".to_owned(),
            allowed: ["namespace", "exported_namespace"].map(str::to_owned).into(),
        }),
        fixed: BTreeMap::new(),
    }
}

/// Every evidence is given, so that only the labels decide.
fn compiled(query: &str) -> Result<Query, QueryError> {
    Query::compile_within(query, Some("up"), &shop())
}

/// Whether each alternative of each selector in `text` requires `label="value"`. Reads the
/// tree on its own, not with the code under test.
fn is_confined(text: &str, label: &str, value: &str) -> bool {
    let pinned =
        |group: &[Matcher]| group.iter().any(|one| one.name == label && one.value == value && one.op == MatchOp::Equal);
    let mut groups = Vec::new();
    alternatives(&parser::parse(text).unwrap(), &mut groups);
    groups.iter().all(|group| pinned(group))
}

/// The alternatives of all selectors.
fn alternatives(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    let mut selector = |matchers: &Matchers| match matchers.or_matchers.as_slice() {
        [] => found.push(matchers.matchers.clone()),
        groups => found.extend(groups.iter().cloned()),
    };
    match expr {
        Expr::VectorSelector(one) => selector(&one.matchers),
        Expr::MatrixSelector(one) => selector(&one.vs.matchers),
        Expr::Aggregate(one) => {
            one.param.iter().for_each(|param| alternatives(param, found));
            alternatives(&one.expr, found);
        }
        Expr::Unary(one) => alternatives(&one.expr, found),
        Expr::Binary(one) => {
            alternatives(&one.lhs, found);
            alternatives(&one.rhs, found);
        }
        Expr::Paren(one) => alternatives(&one.expr, found),
        Expr::Subquery(one) => alternatives(&one.expr, found),
        Expr::Call(one) => one.args.args.iter().for_each(|argument| alternatives(argument, found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

#[test]
fn hostile_queries_are_confined_or_refused() {
    let blocks: Vec<_> = HOSTILE.trim_end().split("\n\n").filter(|block| block.starts_with("# ")).collect();
    assert!(blocks.len() >= 40, "{}", blocks.len());
    let mut wrong = Vec::new();
    for block in blocks {
        let lines: Vec<_> = block.lines().collect();
        let [title, query, want] = lines[..] else { panic!("{block}") };
        let query = query.strip_prefix("query     ").unwrap().replace('↵', "\n");
        let got = match compiled(&query) {
            Ok(compiled) => format!("sent      {}", compiled.text()),
            Err(error) => format!("refused   {}", error.reason()),
        };
        if got != want {
            wrong.push(format!("{title}\n{got}\nexpected:\n{want}"));
        }
        if let Some(sent) = got.strip_prefix("sent      ") {
            assert!(is_confined(sent, "namespace", "shop"), "{title}: {sent}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn everything_that_is_derived_from_a_query_has_its_labels() {
    let required = RequiredLabels { fixed: [("cluster".to_owned(), "prod".to_owned())].into(), ..shop() };
    let queries = ALERTS.lines().filter_map(|line| line.strip_prefix("query     "));
    let mut compiled = 0;
    for query in queries {
        let Ok(plain) = Query::compile(query, None) else { continue };
        let within = Query::compile_within(query, None, &required).unwrap();
        compiled += 1;
        let pins = [("namespace", "shop"), ("pod", "web-1")];
        let mut derived = vec![within.text().to_owned(), within.evidence().to_owned()];
        // The `up` of an exporter is in the namespace of the exporter.
        let of_shop = |text: String| text.replace(r#"up{cluster="prod"}"#, r#"up{cluster="prod",namespace="shop"}"#);
        derived.extend(within.leaves().iter().map(|leaf| of_shop(leaf.instant_query(&pins))));
        derived.extend(within.missing_operands());
        derived.extend(within.ages(std::time::Duration::from_secs(30), 10));
        derived.extend(within.samples_in(std::time::Duration::from_mins(10)));
        for text in derived {
            for (label, value) in [("namespace", "shop"), ("cluster", "prod")] {
                assert!(is_confined(&text, label, value), "{label} is missing in {text}, from {query}");
            }
        }
        assert_eq!(within.scope("namespace", "shop"), LabelScope::Pinned, "{query}");
        assert_eq!(within.widest_range(), plain.widest_range());
        assert_eq!(within.leaves().len(), plain.leaves().len());
        // Nothing is added twice.
        assert_eq!(Query::compile_within(within.text(), None, &required).unwrap(), within);
    }
    assert!(compiled >= 30, "{compiled}");
}

/// Labels that a derived query drops, because a healthy target has other values.
#[test]
fn a_label_of_the_source_stays_whatever_its_name_is() {
    for (label, query) in [
        ("level", "rate(log_lines_total[5m]) > 1"),
        ("code", "sum by (pod) (rate(http_requests_total[5m])) > 1"),
        ("status", "kube_pod_info > 0"),
        ("reason", r#"kube_pod_container_status_waiting_reason{container="web"} > 0"#),
        ("result", "rate(jobs_total[5m]) > 1 and workers == 1"),
        ("phase", "app_info > 0 or app_info offset 5m > 0"),
    ] {
        let required = RequiredLabels { fixed: [(label.to_owned(), "prod".to_owned())].into(), ..shop() };
        let within = Query::compile_within(query, None, &required).unwrap();
        let mut derived = vec![within.text().to_owned(), within.evidence().to_owned()];
        derived.extend(within.leaves().iter().map(|leaf| leaf.instant_query(&[])));
        derived.extend(within.missing_operands());
        derived.extend(within.samples_in(std::time::Duration::from_mins(10)));
        derived.extend(within.ages(std::time::Duration::from_secs(30), 10));
        for text in derived {
            assert!(is_confined(&text, label, "prod"), "{label} is missing in {text}");
            assert!(is_confined(&text, "namespace", "shop"), "namespace is missing in {text}");
        }
        assert!(!within.varying_labels().contains(label), "its value is the same for healthy targets");
    }
}

/// The server reads a backslash between backticks as a backslash.
#[test]
fn a_raw_string_is_read_as_the_server_reads_it() {
    for (query, sent) in [
        (r"x{pod=~`web-\d+`} > 1", r#"x{namespace="shop",pod=~"web-\\d+"} > 1"#),
        (r"x{pod=~`web\.a`,job=`b`} > 1", r#"x{job="b",namespace="shop",pod=~"web\\.a"} > 1"#),
        (r#"x{pod=`a"b`} > 1"#, r#"x{namespace="shop",pod="a\"b"} > 1"#),
        (r"x{path=`c:\xff\`} > 1", r#"x{namespace="shop",path="c:\\xff\\"} > 1"#),
        (r#"x{a="`",b='\'`'} > 1 # `comment"#, r#"x{a="`",b="'`",namespace="shop"} > 1"#),
        (
            r#"label_replace(x, "pod", `$1`, "id", `(\w+)-é`) > 1"#,
            r#"label_replace(x{namespace="shop"}, "pod", "$1", "id", "(\\w+)-é") > 1"#,
        ),
    ] {
        assert_eq!(compiled(query).unwrap_or_else(|error| panic!("{query}: {error}")).text(), sent, "{query}");
        assert_eq!(Query::compile(query, Some("up")).unwrap().text(), query, "without isolation it is sent as it is");
    }
    assert!(compiled("x{pod=`a} > 1").is_err());
    assert!(compiled("x{pod=\"a} > 1").is_err());
}

#[test]
fn a_contradiction_is_refused_with_both_names() {
    let message = |query: &str, evidence: Option<&str>, required: &RequiredLabels| {
        Query::compile_within(query, evidence, required).unwrap_err().to_string()
    };
    assert_eq!(
        message(r#"up{namespace="bank"} == 0"#, None, &shop()),
        "the query asks for namespace=\"bank\", but the policy may read only its own namespace \"shop\": remove this matcher; Prunella adds namespace=\"shop\" to every selector. Only a source whose administrator sets `isolation: None` lets a policy read other namespaces"
    );
    let prod = RequiredLabels { fixed: [("cluster".to_owned(), "prod".to_owned())].into(), ..shop() };
    assert_eq!(
        message("up == 0", Some(r#"up{cluster=~"stag.+"}"#), &prod),
        "the query asks for cluster=~\"stag.+\", but `matchLabels` of the source requires cluster=\"prod\": remove this matcher"
    );
}

#[test]
fn an_inhibitor_that_the_policy_may_not_be_able_to_read_is_refused() {
    let named = r#"maintenance{namespace="shop"}"#;
    for query in [
        "lag > 30 unless on (node) maintenance",
        "lag > 30 unless on (node) max by (node) (maintenance)",
        "sum by (node) (lag) > 30 unless max by (node) (maintenance)",
        "lag > 30 unless on () vector(1) * on () group_left () maintenance",
        r#"lag > 30 unless on () ALERTS{alertname="Maintenance"}"#,
        "lag > 30 unless on (pod) (ready unless on (pod) (busy unless on (node) maintenance))",
        "lag > 30 unless on () absent(vector(1) unless on () maintenance)",
        "lag > 30 unless on () (vector(1) and on () count(lag unless on (node) maintenance) > 3)",
        "max by (pod) (lag unless on (pod) (ready unless on (node) maintenance)) > 30",
        "lag > 30 unless ignoring (namespace, pod) maintenance",
        "lag > 30 and on () absent(maintenance)",
        "lag > 30 and on () (absent(maintenance == 1) == 1)",
        "sum by (queue) (lag) > 30 unless on (pod) maintenance",
        r#"lag > 30 unless on (node) maintenance{namespace=~"shop"}"#,
        &format!("lag > 30 unless on (node) ({named} or maintenance)"),
        // `namespace` is added, so a match on another label shows nothing.
        "lag > 30 unless on (exported_namespace, node) maintenance",
        // The series on the left are of the exporter's namespace.
        r#"lag{exported_namespace="shop"} > 30 unless on (namespace, node) maintenance"#,
        r#"lag{exported_namespace="shop"} > 30 unless on (pod) maintenance"#,
        r#"lag{exported_namespace="shop"} > 30 unless ignoring (pod) maintenance"#,
        r#"lag{exported_namespace="shop"} > 30 unless maintenance"#,
        r#"lag * on (pod) x{exported_namespace="shop"} > 30 unless on (namespace) maintenance"#,
        // What is matched is not on the left in every branch, or not of `maintenance`.
        "(lag > 30 or sum by (node) (lag) > 90) unless on (namespace, node) maintenance",
        "sum without (namespace) (lag) > 30 unless maintenance",
        r#"label_replace(lag, "namespace", "$1", "area", "(.*)") > 30 unless on (namespace) maintenance"#,
        r#"lag > 30 unless on (namespace) label_replace(maintenance, "namespace", "shop", "", "")"#,
        "lag > 30 unless on (pod) (ready * on (node) group_left () maintenance)",
    ] {
        let error = compiled(query).expect_err(query);
        assert!(error.reason() == "NotAllowed" && error.is_of_source(), "{query}: {error}");
        let message = error.to_string();
        assert!(message.contains("add namespace=\"shop\" to this selector"), "{query}: {message}");
        assert!(message.starts_with("maintenance") || message.starts_with("ALERTS"), "{query}: {message}");
        Query::compile(query, Some("up")).expect("without isolation it is read");
    }
    for query in [
        "lag > 30 unless maintenance",
        "lag > 30 unless on (namespace, node) maintenance",
        r#"lag{exported_namespace="shop",namespace="shop"} > 30 unless on (namespace) maintenance"#,
        r#"lag{exported_namespace="shop"} > 30 unless on (node) maintenance{exported_namespace="shop"}"#,
        "(lag > 30 or rate(lag[5m]) > 1) unless on (namespace, node) maintenance",
        "lag * on (pod) group_left () ready > 30 unless on (pod) maintenance",
        "lag > 30 unless on (pod) maintenance",
        "sum by (pod) (lag) > 30 unless max by (pod) (maintenance)",
        "lag > 30 unless ignoring (node) maintenance",
        "lag > 30 and on () absent(ready)",
        // Before each action it is checked that these report.
        "lag > 30 unless on (node) maintenance == 1",
        "lag > 30 and on (node) maintenance == 0",
        // Without `maintenance` these hold back, or find no breach.
        "lag > 30 unless on (pod) (ready unless on (node) maintenance)",
        "lag > 30 unless on (pod) (ready and on () absent(maintenance))",
        "lag > 30 unless on () absent(maintenance)",
        "lag > 30 and on (node) maintenance",
    ]
    .map(|query| query.replace("absent(ready)", &format!("absent({named})")))
    .into_iter()
    .chain([format!("lag > 30 unless on (node) {named}"), format!("lag > 30 unless on () max({named})")])
    {
        compiled(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
    // The evidence starts no action.
    Query::compile_within("lag > 30", Some("lag unless on (node) maintenance"), &shop()).unwrap();
}

/// Of a series with `exported_namespace`, the labels `namespace` and `pod` are those of its exporter.
#[test]
fn only_the_label_that_is_added_shows_that_an_inhibitor_can_be_read() {
    let mut exported = shop();
    exported.namespace.as_mut().unwrap().label = "exported_namespace".to_owned();
    let compiled = |query: &str| Query::compile_within(query, Some("up"), &exported);
    for query in [
        "lag > 30 unless on (namespace, instance) exporter_in_maintenance",
        "lag > 30 unless on (pod) exporter_in_maintenance",
        "lag > 30 unless on (container, node) exporter_in_maintenance",
        "sum by (pod) (lag) > 30 unless exporter_in_maintenance",
        r#"lag{namespace="shop"} > 30 unless on (exported_namespace) exporter_in_maintenance"#,
    ] {
        let message = compiled(query).expect_err(query).to_string();
        assert!(message.starts_with("exporter_in_maintenance holds"), "{query}: {message}");
        assert!(message.contains("add exported_namespace=\"shop\" to this selector"), "{query}: {message}");
    }
    for query in [
        "lag > 30 unless on (exported_namespace, node) maintenance",
        "lag > 30 unless maintenance",
        r#"lag > 30 unless on (pod) maintenance{namespace="shop"}"#,
    ] {
        compiled(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[test]
fn an_inhibitor_that_may_lack_the_labels_of_the_source_is_named_in_a_warning() {
    let fixed = BTreeMap::from([("cluster".to_owned(), "prod".to_owned())]);
    let open = RequiredLabels { namespace: None, fixed: fixed.clone() };
    let advice = |query: &str, required: &RequiredLabels| {
        Query::compile_within(query, Some("up"), required).unwrap().advice().join("; ")
    };
    assert_eq!(
        advice(r#"lag > 30 unless on (node) ALERTS{alertname="Maintenance"}"#, &open),
        r#"ALERTS{alertname="Maintenance",cluster="prod"} holds actions back only with series that have cluster="prod", which `matchLabels` of the source adds to every selector: a series without it is not read and cannot inhibit, so make sure that the exporter or the rule sets it"#
    );
    let lacks = "a series without it is not read and cannot inhibit";
    assert!(advice("lag > 30 and on () absent(ready)", &open).contains(lacks));
    assert!(advice("lag > 30 unless on (namespace) maintenance", &RequiredLabels { fixed, ..shop() }).contains(lacks));
    for query in ["lag > 30", "lag > 30 unless on (node) maintenance == 1", "lag > 30 and on (node) maintenance"] {
        assert_eq!(advice(query, &open), "", "{query}");
    }
    assert!(!advice("lag > 30 unless maintenance", &shop()).contains(lacks));
}

#[test]
fn a_selector_may_require_the_namespace_by_another_allowed_label() {
    for (query, sent) in [
        (r#"x{exported_namespace="shop"} > 1"#, r#"x{exported_namespace="shop"} > 1"#),
        (
            r#"x{exported_namespace="shop",namespace="monitoring"} > 1"#,
            r#"x{exported_namespace="shop",namespace="monitoring"} > 1"#,
        ),
        (
            r#"x{exported_namespace="shop"} * on (pod) group_left () y > 1"#,
            r#"x{exported_namespace="shop"} * on (pod) group_left () y{namespace="shop"} > 1"#,
        ),
        (r#"x{kubernetes_namespace="shop"} > 1"#, r#"x{kubernetes_namespace="shop",namespace="shop"} > 1"#),
    ] {
        let query = Query::compile_within(query, Some("up"), &shop()).unwrap();
        assert_eq!(query.text(), sent);
        assert_eq!(query.scope("namespace", "shop"), LabelScope::Pinned);
    }
}

#[test]
fn a_query_of_the_longest_length_is_still_compiled_with_its_labels() {
    let query = format!("x{{a=\"{}\"}} > 1", "b".repeat(prunella_signals::query::MAX_LENGTH - 11));
    assert_eq!(query.len(), prunella_signals::query::MAX_LENGTH);
    let within = compiled(&query).unwrap();
    assert!(within.text().len() > query.len() && !within.leaves().is_empty());
    assert!(compiled(&format!("{query} ")).is_err());
}
