use super::*;
use serde_json::json;

/// Compiles a sound policy in namespace `shop` with `change` merged into its spec.
fn compiled(change: &serde_json::Value) -> Result<Plan, CompileError> {
    compiled_for(&json!({}), change)
}

/// The same for a source with this spec.
fn compiled_for(source: &serde_json::Value, change: &serde_json::Value) -> Result<Plan, CompileError> {
    compiled_with(access_of(source), change)
}

fn compiled_with(access: SourceAccess, change: &serde_json::Value) -> Result<Plan, CompileError> {
    let terms = SourceTerms { lookback: None, access: Some(std::sync::Arc::new(access)) };
    let mut spec = json!({
        "condition": {"promql": {"query": "up{namespace=\"shop\"} > 5"}},
        "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
        "steps": [{"name": "evict", "action": {"deletePod": {}}}],
    });
    merge(&mut spec, change);
    let object = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
    });
    let cap = SubjectCap { count: 5, window: SignedDuration::from_hours(1) };
    compile(&serde_json::from_value(object).unwrap(), &terms, &EvaluationSlots::default(), cap)
}

fn access_of(source: &serde_json::Value) -> SourceAccess {
    let mut spec = json!({"url": "http://prometheus:9090"});
    merge(&mut spec, source);
    SourceAccess::of(&serde_json::from_value(spec).unwrap())
}

fn merge(into: &mut serde_json::Value, change: &serde_json::Value) {
    match (into, change) {
        (serde_json::Value::Object(into), serde_json::Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

fn query(text: &str) -> serde_json::Value {
    json!({"condition": {"promql": {"query": text}}})
}

#[test]
fn what_can_never_work_is_refused_with_the_fix() {
    let many: Vec<String> = (0..21).map(|number| format!("m{number} > 1")).collect();
    for (change, reason, fix) in [
        (query(&many.join(" and ")), "BadQuery", "21 different selectors, the limit is 20"),
        (query("up{namespace=\"shop\"}"), "NoComparison", "compare the value"),
        (query("up{namespace=\"shop\"} >"), "BadQuery", ""),
        (
            json!({"condition": {"promql": {"query": "vector(1) > 0", "evidence": "up"}}}),
            "NamespaceNotPinned",
            "add namespace=\"shop\"",
        ),
        (query("up{namespace=\"bank\"} > 5"), "NotAllowed", "namespace=\"bank\""),
        (query("up{namespace=\"bank\"} > 5"), "NotAllowed", "only its own namespace \"shop\""),
        (
            json!({"condition": {"promql": {"evidence": "up{namespace=\"bank\"}"}}}),
            "NotAllowed",
            "condition.promql.evidence: the query asks for namespace=\"bank\"",
        ),
        (json!({"target": {"namespaceLabel": "ns"}}), "NotAllowed", "use one of namespace, or ask"),
        (json!({"limits": {"maxUnhealthy": 0}}), "InvalidSpec", "maxUnhealthy"),
        (json!({"limits": {"maxUnhealthy": "101%"}}), "InvalidSpec", "maxUnhealthy"),
        (
            json!({"condition": {"promql": {"evidence": "1"}}}),
            "BadEvidence",
            "condition.promql.evidence: the query is a scalar",
        ),
        (
            json!({"condition": {"clearFor": "30s"}, "interval": "10s",
                   "steps": [{"name": "evict", "action": {"deletePod": {}}, "verify": {"within": "39s"}}]}),
            "VerifyTooShort",
            "40s",
        ),
        (json!({"interval": "1.5s"}), "InvalidSpec", "interval"),
        (json!({"steps": [{"name": "evict", "action": {}}]}), "InvalidSpec", "steps"),
        (
            json!({"target": {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}}),
            "InvalidSpec",
            "target.selector",
        ),
    ] {
        let error = compiled(&change).map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), reason, "{change}: {error}");
        assert!(error.to_string().contains(fix), "{change}: {error}");
    }
}

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let policy = compiled(&query("rate(up{namespace=\"shop\"}[5m]) > 5")).unwrap().compiled.policy;
    let minutes = SignedDuration::from_mins;
    assert_eq!(policy.mode, prunella_core::policy::PolicyMode::DryRun);
    assert_eq!(policy.interval, SignedDuration::from_secs(30));
    assert_eq!(policy.clear_for, minutes(5), "the widest range");
    assert_eq!(policy.steps[0].verify_within, minutes(11), "clearFor + 2 × interval + the widest range");
    assert_eq!(policy.steps[0].attempts, 1);
    assert_eq!((policy.limits.cooldown, policy.limits.window), (minutes(5), minutes(60)));
    assert_eq!((policy.limits.max_actions, policy.limits.max_concurrent), (3, 1));
    let short = compiled(&json!({})).unwrap().compiled.policy;
    assert_eq!((short.clear_for, short.steps[0].verify_within), (SignedDuration::from_secs(30), minutes(2)));
}

#[test]
fn without_isolation_the_query_itself_must_name_the_namespace() {
    let open = json!({"isolation": "None"});
    for (change, fix) in [
        (query("sum by (pod) (up) > 5"), "add namespace=\"shop\""),
        (query("up{namespace=\"bank\"} > 5"), "add namespace=\"shop\""),
        (
            json!({"target": {"namespaceLabel": "ns"}, "condition": {"promql": {"query": "sum by (namespace) (up) > 5"}}}),
            "keep the label ns",
        ),
        (
            json!({"condition": {"promql": {"query": "sum by (pod) (up{namespace=\"shop\"}) > 5", "evidence": "up"}}}),
            "to every selector of the query and of the evidence",
        ),
    ] {
        let error = compiled_for(&open, &change).map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), "NamespaceNotPinned", "{change}: {error}");
        assert!(error.to_string().contains(fix), "{change}: {error}");
    }
    let text = "sum by (namespace) (up)  >  5";
    assert_eq!(compiled_for(&open, &query(text)).unwrap().subscription.query.text(), text, "as it was written");
}

#[test]
fn every_selector_gets_the_namespace_and_the_labels_of_the_source() {
    let source = json!({"matchLabels": {"cluster": "prod"}, "allowedNamespaces": ["shop"]});
    let plan = compiled_for(&source, &query("sum by (pod) (errors) / sum by (pod) (requests) > 0.5")).unwrap();
    let sent = "sum by (pod) (errors{cluster=\"prod\",namespace=\"shop\"}) / sum by (pod) (requests{cluster=\"prod\",namespace=\"shop\"}) > 0.5";
    assert_eq!(plan.subscription.query.text(), sent);
    assert_eq!(plan.compiled.query, sent, "the record says what was asked");
    assert!(plan.compiled.policy.pinned);
    assert_eq!(plan.subscription.access.as_deref(), Some(&access_of(&source)));

    let exported = json!({"target": {"namespaceLabel": "exported_namespace"}});
    let refused = compiled(&exported).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("ask its administrator to add exported_namespace"), "{refused}");
    let trusting = json!({"namespaceLabels": ["namespace", "exported_namespace"]});
    let plan = compiled_for(&trusting, &exported).unwrap();
    assert_eq!(plan.subscription.query.text(), "up{namespace=\"shop\"} > 5", "pinned by another allowed label");
    let refused = compiled_for(&json!({"allowedNamespaces": ["bank"]}), &json!({})).map(|_| ()).unwrap_err();
    assert_eq!(refused.reason(), "NotAllowed");
    assert!(refused.to_string().contains("ask its administrator to add shop to allowedNamespaces"), "{refused}");
}

#[test]
fn series_of_several_clusters_are_refused_unless_they_are_told_apart() {
    let clusters = || ["prod", "staging"].map(str::to_owned).into();
    let several = || access_of(&json!({})).with_clusters(clusters());
    let refused = compiled_with(several(), &json!({})).map(|_| ()).unwrap_err();
    assert_eq!(refused.reason(), "SeveralClusters");
    assert!(refused.to_string().contains("set matchLabels on it"), "{refused}");
    assert!(!refused.to_string().contains("staging"), "no name of another cluster is shown to a tenant: {refused}");
    assert!(refused.is_of_source(), "the administrator can fix it");
    compiled_with(several(), &query("up{cluster=\"prod\"} > 5")).unwrap();
    compiled_with(several(), &query("up{cluster=\"prod\"} > 5 and down")).map(|_| ()).unwrap_err();
    let told_apart = json!({"matchLabels": {"cluster": "prod"}});
    compiled_for(&told_apart, &json!({})).unwrap();
}

#[test]
fn the_past_that_a_query_compares_with_delays_no_verification() {
    let week = "sum by (namespace, deployment) (rate(up{namespace=\"shop\"}[5m])) > 2 * sum by (namespace, deployment) (rate(up{namespace=\"shop\"}[5m] offset 1w))";
    let mut change = query(week);
    merge(
        &mut change,
        &json!({"target": {"kind": "Deployment"}, "steps": [{"name": "evict", "action": {"rolloutRestart": {}}}]}),
    );
    let Plan { compiled, .. } = compiled(&change).unwrap();
    assert_eq!(compiled.policy.clear_for, SignedDuration::from_mins(5));
    assert_eq!(compiled.policy.steps[0].verify_within, SignedDuration::from_mins(11));
    assert_eq!(compiled.warnings, Vec::<String>::new());
}

#[test]
fn what_can_hardly_be_verified_is_said_with_the_sum() {
    let warnings = |text: &str| compiled(&query(text)).unwrap().compiled.warnings.join("; ");
    let day = warnings("increase(up{namespace=\"shop\"}[24h]) > 1");
    for words in ["48h 1m = clearFor (24h) + 2 × interval (30s)", "signalWindow (24h)", "set condition.clearFor"] {
        assert!(day.contains(words), "{words}: {day}");
    }
    let pods = warnings("up{namespace=\"shop\"} > 2 * (up{namespace=\"shop\"} offset 1d)");
    assert!(pods.contains("samples of 24h ago, which a new pod does not have"), "{pods}");
    assert_eq!(warnings("increase(up{namespace=\"shop\"}[5m]) > 1"), "");
}

#[test]
fn a_query_tells_the_decision_how_its_evidence_speaks() {
    let traits =
        |promql: serde_json::Value| compiled(&json!({"condition": {"promql": promql}})).unwrap().compiled.policy.query;
    let own = traits(json!({"query": "up{namespace=\"shop\"} > 5", "evidence": "up{namespace=\"shop\"}"}));
    assert_eq!(own, QueryTraits { evidence: EvidenceMatch::Target, several_operands: false });
    let derived =
        traits(json!({"query": "rate(up{namespace=\"shop\", code=\"500\"}[5m]) > 5 and x{namespace=\"shop\"} > 1"}));
    let except = ["code".to_owned()].into();
    assert_eq!(derived, QueryTraits { evidence: EvidenceMatch::Series { except }, several_operands: true });
}

/// Only a server with a feature switched on knows `anchored`.
fn unread(namespace: &str, more: &serde_json::Value) -> serde_json::Value {
    let selector = format!("up{{namespace={namespace:?}}}[5m] anchored");
    let mut condition = json!({"query": format!("increase({selector}) > 5")});
    merge(&mut condition, more);
    json!({"condition": {"promql": condition}})
}

#[test]
fn what_only_the_server_can_read_needs_evidence_and_signal_window() {
    let open = json!({"isolation": "None"});
    for more in [json!({}), json!({"evidence": "up"}), json!({"signalWindow": "5m"})] {
        let error = compiled_for(&open, &unread("shop", &more)).map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), "BadQuery", "{more}: {error}");
        assert!(error.to_string().contains("set `evidence` and `signalWindow`"), "{more}: {error}");
    }
    let given = json!({"evidence": "increase(up[5m] anchored)", "signalWindow": "6m"});
    let Plan { compiled: CompiledPolicy { policy, .. }, subscription: Subscription { query, .. } } =
        compiled_for(&open, &unread("shop", &given)).unwrap();
    assert_eq!(query.text(), "increase(up{namespace=\"shop\"}[5m] anchored) > 5");
    assert_eq!(query.evidence(), "increase(up[5m] anchored)");
    assert_eq!(policy.clear_for, SignedDuration::from_mins(6));
    assert!(!policy.pinned, "every series must have the namespace label");
    let refused = compiled(&unread("shop", &given)).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("needs a source with `isolation: None`"), "{refused}");
}

#[test]
fn a_signal_window_lengthens_what_verify_waits_for() {
    let window = |window| {
        let promql = json!({"query": "rate(up{namespace=\"shop\"}[5m]) > 5", "signalWindow": window});
        compiled(&json!({"condition": {"promql": promql}})).unwrap().compiled.policy
    };
    assert_eq!(window("1m").clear_for, SignedDuration::from_mins(5));
    let wide = window("1h");
    assert_eq!(wide.clear_for, SignedDuration::from_mins(60));
    assert_eq!(wide.steps[0].verify_within, SignedDuration::from_mins(121));
    assert!(wide.pinned);
}
