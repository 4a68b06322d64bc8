//! How far back a query looks, and which namespace it pins.

use std::time::Duration;

use prunella_signals::{Query, QueryError};

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
    looks_back("topk(scalar(rate(n[2m])), x) > 1", 2);
}

#[test]
fn a_namespace_is_pinned_by_every_selector_or_not_at_all() {
    for (query, pinned) in [
        (r#"x{namespace="shop"} > 1"#, true),
        (r#"x{namespace="shop"} / y{namespace="shop",a="b"} > 1"#, true),
        (r#"x{namespace="shop"} > 1 unless y"#, false),
        (r#"x{namespace="shop"} / y{namespace="bar"} > 1"#, false),
        (r#"x{namespace=~"shop"} > 1"#, false),
        (r#"x{namespace!="shop"} > 1"#, false),
        (r#"topk(scalar(n), x{namespace="shop"}) > 1"#, false),
        (r#"{__name__="x", namespace="shop"} > 1"#, true),
        (r#"x{namespace="shop" or namespace="bar"} > 1"#, false),
        (r#"x{namespace="shop",a="1" or namespace="shop",a="2"} > 1"#, true),
        ("vector(1) > 0", false),
    ] {
        let compiled = Query::compile(query, Some("up")).unwrap();
        assert_eq!(compiled.pins_namespace("shop"), pinned, "for {query}");
        assert!(!compiled.pins_namespace("elsewhere"), "for {query}");
    }
}

#[test]
fn what_the_parser_does_not_know_says_of_itself_what_it_must() {
    let newest = "rate(x[5m] anchored) > 1";
    assert!(matches!(Query::compile(newest, None), Err(QueryError::Syntax { .. })));
    let query = Query::unread(newest, "rate(x[5m] anchored)", Duration::from_mins(5)).unwrap();
    assert_eq!((query.text(), query.evidence()), (newest, "rate(x[5m] anchored)"));
    assert_eq!((query.widest_range(), query.leaves().len()), (Duration::from_mins(5), 0));
    assert!(!query.pins_namespace("shop"));
    assert_eq!(Query::unread(newest, " ", Duration::ZERO).unwrap_err().reason(), "BadEvidence");
}
