//! No query may crash the process. A stack overflow aborts it, so every case runs on a
//! thread with the stack size of a worker. The limits are tested in the unoptimised
//! build, which has the largest stack frames.

use proptest::prelude::*;
use prunella_signals::query::{MAX_LENGTH, MAX_NESTING, MAX_OPERATORS};
use prunella_signals::{Query, QueryError};

/// The stack size of a tokio worker and of a spawned thread, in bytes.
const STACK: usize = 2 << 20;

/// Compiles on a new thread. A stack overflow aborts the whole test run.
fn compile(query: String) -> Result<Query, QueryError> {
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(move || Query::compile(&query, None)).unwrap().join().unwrap()
}

fn nested(open: &str, core: &str, close: &str, times: usize) -> String {
    format!("{}{core}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn a_query_that_nests_too_deep_is_refused_before_parsing() {
    for (open, close) in [("(", ")"), ("abs(", ")"), ("sum(", ")"), ("-(", ")"), ("max_over_time(", "[1m:])")] {
        for times in [MAX_NESTING + 1, 400, 1000] {
            let query = nested(open, "x", close, times);
            let got = compile(query.clone());
            let too_long = query.len() > MAX_LENGTH;
            assert!(
                matches!(got, Err(QueryError::TooLong { .. })) == too_long
                    && (too_long || got == Err(QueryError::TooDeep)),
                "{times} × {open}: {got:?}"
            );
        }
    }
}

#[test]
fn a_query_at_the_limits_compiles_on_a_small_stack() {
    let deep = nested("abs(", "x", ")", MAX_NESTING);
    assert_eq!(compile(format!("{deep} > 1")).unwrap().evidence(), deep);
    let long = vec!["x"; MAX_OPERATORS].join(" + ");
    assert_eq!(compile(format!("{long} > 1")).unwrap().evidence(), long);
    let powers = vec!["x"; MAX_OPERATORS].join(" ^ ");
    assert_eq!(compile(format!("{powers} > 1")).unwrap().evidence(), powers);
    compile(format!("{}x > 1", "-".repeat(MAX_OPERATORS - 1))).unwrap();
    // The most levels, each with as many operators as possible.
    let inner = ["x_a"; MAX_OPERATORS / MAX_NESTING].join(" or x_b / ");
    let both = (1..MAX_NESTING).fold(inner.clone(), |core, _| format!("sum({core} > 1)"));
    assert!(compile(format!("{both} > 1")).is_ok());
}

#[test]
fn chains_without_brackets_are_counted() {
    for chain in ["x + ", "x and ", "x OR ", "x unless\n", "x == ", "-", "x atan2 ", "x ^ "] {
        let query = format!("{}x > 1", chain.repeat(MAX_OPERATORS));
        assert_eq!(compile(query), Err(QueryError::TooManyOperators), "{chain}");
    }
}

#[test]
fn brackets_and_operators_in_strings_and_comments_do_not_count() {
    let deep = "(-".repeat(MAX_OPERATORS + 1);
    compile(format!("x{{a=\"{deep}\"}} > 1 # {deep}")).unwrap();
    compile(format!("x{{a=`{deep}`, b='{deep}\\''}} > 1")).unwrap();
    let many = (0..=MAX_OPERATORS).map(|i| format!("a{i}=\"\"")).collect::<Vec<_>>().join(",");
    compile(format!("x{{{many}}} > 1")).unwrap();
}

/// The parser reads a backslash between backticks as an escape, the server does not. The guard
/// and the parser get the text as the server reads it, so no bracket is in a string for one of
/// them only.
#[test]
fn a_string_cannot_hide_brackets_from_the_guard() {
    let hidden = nested("(", "x", ")", 1000);
    assert_eq!(compile(format!(r"x{{a=`\`}} > {hidden} or x{{b=`\`}} > 1")), Err(QueryError::TooDeep));
    assert_eq!(compile(format!(r"x{{a=`\`}} > {hidden} > 1")), Err(QueryError::TooDeep));
    for is_no_query in [format!(r"x{{a=`\` `}} > {hidden} or x{{b=`\`}} > 1"), format!(r"x{{a=`\` `}} > {hidden} > 1")]
    {
        let got = compile(is_no_query);
        assert!(matches!(got, Err(QueryError::Syntax { .. })), "{got:?}");
    }
    compile(format!(r"x{{a=`\`,b=`{hidden}`}} > 1")).unwrap();
}

#[test]
fn length_is_counted_in_bytes() {
    let query = |length: usize| format!("{} > 1", "x".repeat(length - 4));
    assert!(compile(query(MAX_LENGTH)).is_ok());
    assert_eq!(compile(query(MAX_LENGTH + 1)), Err(QueryError::TooLong { length: MAX_LENGTH + 1 }));
    assert_eq!(compile("ä".repeat(MAX_LENGTH)), Err(QueryError::TooLong { length: 2 * MAX_LENGTH }));
}

#[test]
fn a_panic_in_the_parser_is_a_syntax_error() {
    for query in ["rate(x[1e30]) > 1", "x offset 1e300 > 1", "rate(x[99999999999999999999y]) > 1"] {
        let got = compile(query.to_owned());
        assert!(matches!(got, Err(QueryError::Syntax { .. })), "{query}: {got:?}");
    }
}

/// Expressions that follow the grammar, so that most of them reach the derivation.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("x".to_owned()),
        Just("y{a=\"b\",c=~\".+\"}".to_owned()),
        Just("rate(x_total[5m] offset 1h)".to_owned()),
        Just("1.5".to_owned()),
        Just("scalar(z)".to_owned()),
        Just("vector(0)".to_owned()),
        Just("time()".to_owned()),
        Just("-2".to_owned()),
    ];
    let operator = prop::sample::select(vec![
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "atan2",
        ">",
        "< bool",
        "==",
        "and",
        "or",
        "unless",
        "and on (a)",
        "/ on (a, b)",
        "* ignoring (a) group_left (c)",
        "> on (a) group_right ()",
        "/ on () ",
        "unless ignoring ()",
        "+ ignoring ()",
    ]);
    let wrapper = prop::sample::select(vec![
        ("(", ")"),
        ("-", ""),
        ("sum(", ")"),
        ("sum by (a) (", ")"),
        ("max without (a) (", ")"),
        ("topk(2, ", ")"),
        ("abs(", ")"),
        ("absent(", ")"),
        ("max_over_time((", ")[5m:1m])"),
        ("absent_over_time((", ")[1m:])"),
        ("label_replace(", ", \"a\", \"$1\", \"b\", \"(.*)\")"),
        ("scalar(", ")"),
        ("count_values(\"v\", ", ")"),
        ("histogram_quantile(0.9, ", ")"),
        ("min by () (", ")"),
    ]);
    leaf.prop_recursive(8, 40, 2, move |inner| {
        prop_oneof![
            (inner.clone(), operator.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (wrapper.clone(), inner).prop_map(|((open, close), e)| format!("{open}{e}{close}")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = Query::compile(&text, None);
        let _ = Query::compile("up == 0", Some(&text));
    }

    #[test]
    fn no_sequence_of_tokens_panics(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "x", "rate", "(", ")", "[5m]", "[5m:1m]", "{", "}", "a=\"b\"", "=~", "\"", "'", "`", "\\", ",", "by", "on", "or",
                "and", "unless", "sum", ">", "bool", "-", "+", "/", "^", "5", "5m", "offset", "@", "start()", "group_left", "é", "#",
            ]),
            0..40,
        ),
        glue in prop::sample::select(vec!["", " "]),
    ) {
        let _ = Query::compile(&tokens.join(glue), None);
    }

    /// The derivation is total: every expression that parses, filters and has selectors
    /// has evidence or a known reason, and printing changes nothing.
    #[test]
    fn every_query_that_filters_has_evidence(expr in expression()) {
        match Query::compile(&format!("({expr}) > 1 and x"), None) {
            Ok(query) => {
                Query::compile(query.evidence(), Some("up")).unwrap();
                for leaf in query.leaves() {
                    Query::compile(&leaf.instant_query(&[("pod", "a\"b\\c\n")]), Some("up")).unwrap();
                }
            }
            Err(QueryError::EvidenceRequired { why }) => {
                let known = ["selects no series", "may come from different exporters"];
                prop_assert!(known.iter().any(|words| why.contains(words)), "{}: {}", expr, why);
            }
            Err(error) => prop_assert_eq!(error.reason(), "BadQuery", "{}", expr),
        }
    }
}
