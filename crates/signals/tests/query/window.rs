//! How far back a query looks, and how its series relate to a namespace.

use std::time::Duration;

use prunella_signals::{LabelScope, Query, QueryError};

#[track_caller]
fn looks_back(query: &str, minutes: u64) {
    let compiled = Query::compile(query, Some("up")).unwrap();
    assert_eq!(compiled.widest_range(), Duration::from_mins(minutes), "for {query}");
}

#[test]
fn the_window_adds_up_along_the_widest_path() {
    looks_back("up == 0", 0);
    looks_back("rate(x[5m]) > 1", 5);
    looks_back("rate(x[5m]) / rate(y[1h]) > 1", 60);
    looks_back("rate(x[5m] offset 1h) > 1", 65);
    looks_back("x - x offset 1h > 1", 60);
    looks_back("x offset -1h > 1", 0);
    looks_back("max_over_time(rate(x[5m])[1h:1m]) > 1", 65);
    looks_back("max_over_time(rate(x[5m])[1h:1m] offset 10m) > 1", 75);
    // The past that a breached side is compared with does not count.
    looks_back("rate(x[5m]) > 2 * (rate(x[5m] offset 1d))", 5);
    looks_back("2 * (heap offset 1d) < heap", 0);
    looks_back("heap / (heap offset 1d) > 2", 0);
    looks_back("max_over_time((rate(x[5m]) > rate(x[5m] offset 1w))[10m:1m]) > 0", 15);
    // A bare counter stays above its past for as long as the past is away.
    looks_back("x_total > 1 + (x_total offset 1h)", 60);
    looks_back("x_total - x_total offset 1h > 1", 60);
    // The breached side itself is of the past.
    looks_back("x offset 1h > 5", 60);
    looks_back("x offset 1h > y offset 1d", 24 * 60);
    looks_back("topk(scalar(rate(n[2m])), x) > 1", 2);
}

#[test]
fn a_namespace_is_pinned_by_every_selector_carried_or_lost() {
    use LabelScope::{Carried, Lost, Pinned};
    for (query, scope) in [
        (r#"x{namespace="shop"} > 1"#, Pinned),
        (r#"x{namespace="shop"} / y{namespace="shop",a="b"} > 1"#, Pinned),
        (r#"x{namespace="shop"} > 1 unless y"#, Carried),
        (r#"x{namespace="shop"} / y{namespace="bar"} > 1"#, Carried),
        (r#"x{namespace=~"shop"} > 1"#, Carried),
        (r#"x{namespace!="shop"} > 1"#, Carried),
        (r#"topk(scalar(n), x{namespace="shop"}) > 1"#, Carried),
        (r#"{__name__="x", namespace="shop"} > 1"#, Pinned),
        (r#"x{namespace="shop" or namespace="bar"} > 1"#, Carried),
        (r#"x{namespace="shop",a="1" or namespace="shop",a="2"} > 1"#, Pinned),
        ("x > 1", Carried),
        ("sum by (pod) (x) > 1", Lost),
        ("sum by (namespace, pod) (x) > 1", Carried),
        ("sum without (namespace) (x) > 1", Lost),
        (r#"x{namespace="bar"} > 1"#, Lost),
        (
            r#"label_replace(x{exported_namespace="shop"}, "namespace", "$1", "exported_namespace", "(.+)") > 1"#,
            Carried,
        ),
        (r#"label_replace(sum by (pod) (x), "namespace", "shop", "", "") > 1"#, Carried),
        (r#"label_join(x{namespace="bar"}, "namespace", "", "place") > 1"#, Carried),
        (r#"sum by (pod) (label_replace(x, "namespace", "shop", "", "")) > 1"#, Lost),
        (r#"label_replace(sum by (pod) (x), "place", "shop", "", "") > 1"#, Lost),
        ("vector(1) > 0", Lost),
    ] {
        let compiled = |evidence| Query::compile(query, Some(evidence)).unwrap();
        assert_eq!(compiled(r#"up{namespace="shop"}"#).scope("namespace", "shop"), scope, "for {query}");
        assert_ne!(
            compiled("up").scope("namespace", "shop"),
            Pinned,
            "the evidence is about other namespaces: {query}"
        );
        assert_ne!(compiled("up").scope("namespace", "elsewhere"), Pinned, "for {query}");
    }
}

#[test]
fn the_window_of_the_user_can_only_extend_the_range() {
    let range = |minutes| {
        let query = Query::compile("rate(x[5m]) > 1", None).unwrap();
        query.with_signal_window(Duration::from_mins(minutes)).widest_range()
    };
    assert_eq!((range(1), range(60)), (Duration::from_mins(5), Duration::from_hours(1)));
}

#[test]
fn a_query_that_the_parser_does_not_know_uses_what_the_user_says() {
    let newest = "rate(x[5m] anchored) > 1";
    assert!(matches!(Query::compile(newest, None), Err(QueryError::Syntax { .. })));
    assert!(Query::compile(newest, None).unwrap_err().is_unparsed());
    assert!(Query::compile("x > 1", Some("rate(x[5m] anchored)")).unwrap_err().is_unparsed());
    assert!(!Query::compile("x", None).unwrap_err().is_unparsed());
    let query = Query::unparsed(newest, "rate(x[5m] anchored)", Duration::from_mins(5)).unwrap();
    assert_eq!((query.text(), query.evidence()), (newest, "rate(x[5m] anchored)"));
    assert_eq!((query.widest_range(), query.leaves().len()), (Duration::from_mins(5), 0));
    assert_eq!(query.scope("namespace", "shop"), LabelScope::Carried, "its selectors are unknown");
    assert_eq!(Query::unparsed(newest, " ", Duration::ZERO).unwrap_err().reason(), "BadEvidence");
}

#[test]
fn a_query_that_divides_asks_for_infinity_only_if_it_names_it() {
    for (query, asks) in [
        ("errors / requests > 0.1", false),
        ("x == +Inf", true),
        ("x > 5 or y == -Inf", true),
        ("x / y > 5 and x / y < Inf", true),
        ("topk(3, x) > 1e9", true),
        ("max_over_time((x == Inf)[5m:])  > 0", true),
    ] {
        let query = Query::compile(query, Some("x")).unwrap();
        assert_eq!(query.counts_infinity(), asks, "{}", query.text());
    }
}
