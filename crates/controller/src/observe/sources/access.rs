//! Who may use a source, and which of its series a query may read. The administrator of the
//! source decides it, the compile stage applies it to every query of a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use prunella_api::{ClusterPrometheusSourceSpec, SourceIsolation};
use prunella_signals::prometheus::CLUSTER;
use prunella_signals::{RequiredLabels, RequiredNamespace};

/// How much of the name of a cluster is shown.
const SHOWN_CHARACTERS: usize = 64;
/// How many clusters are remembered. Two are too many.
const CLUSTERS_AT_MOST: usize = 16;

/// What the administrator of a source allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceAccess {
    allowed_namespaces: Option<Vec<String>>,
    match_labels: BTreeMap<String, String>,
    isolation: SourceIsolation,
    namespace_labels: Vec<String>,
    /// The Kubernetes clusters whose series the source has, if they are not told apart by
    /// `matchLabels`. `None`: it has not answered yet.
    clusters: Option<BTreeSet<String>>,
}

/// What a policy is compiled with. If it changes, the policy is compiled again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SourceTerms {
    /// The highest age of a sample that a query still returns. `None`: the source is not usable.
    pub(crate) lookback: Option<SignedDuration>,
    /// `None`: there is no such source, so no query is sent.
    pub(crate) access: Option<Arc<SourceAccess>>,
}

impl SourceAccess {
    pub(crate) fn of(spec: &ClusterPrometheusSourceSpec) -> Self {
        Self {
            allowed_namespaces: spec.allowed_namespaces.clone(),
            match_labels: spec.match_labels.clone(),
            isolation: spec.isolation,
            namespace_labels: spec.namespace_labels.clone(),
            clusters: spec.match_labels.contains_key(CLUSTER).then(BTreeSet::new),
        }
    }

    /// With clusters that the source has series of. Those that were seen before stay: their nodes may
    /// not be scraped now, while their applications are.
    #[must_use]
    pub(crate) fn with_clusters(self, clusters: BTreeSet<String>) -> Self {
        let earlier = self.clusters.into_iter().flatten();
        Self { clusters: Some(clusters.into_iter().chain(earlier).take(CLUSTERS_AT_MOST).collect()), ..self }
    }

    /// Whether the label names Kubernetes clusters in this source. Otherwise it is a label of
    /// applications, for example of databases.
    pub(super) fn names_clusters(&self) -> bool {
        self.clusters.as_ref().is_some_and(|clusters| !clusters.is_empty())
    }

    /// Whether the source must be asked for the clusters it has series of.
    pub(super) fn asks_for_clusters(&self) -> bool {
        !self.match_labels.contains_key(CLUSTER)
    }

    /// Whether it is known of which clusters the source has series.
    pub(super) fn knows_clusters(&self) -> bool {
        self.clusters.is_some()
    }

    /// The clusters, if the source has series of several.
    pub(crate) fn several_clusters(&self) -> Option<String> {
        let clusters = self.clusters.as_ref().filter(|clusters| clusters.len() > 1)?;
        let short = |one: &String| one.chars().take(SHOWN_CHARACTERS).collect::<String>();
        let mut shown: Vec<String> = clusters.iter().take(3).map(|one| format!("{CLUSTER}={:?}", short(one))).collect();
        if clusters.len() > shown.len() {
            shown.push("…".to_owned());
        }
        Some(shown.join(", "))
    }

    /// The access to a source that does not exist yet, for a policy that expects the namespace in `label`.
    pub(crate) fn unknown(label: &str) -> Self {
        Self {
            allowed_namespaces: None,
            match_labels: BTreeMap::new(),
            isolation: SourceIsolation::Namespace,
            namespace_labels: vec![label.to_owned()],
            clusters: None,
        }
    }

    /// Whether policies of `namespace` may use the source.
    pub(crate) fn allows(&self, namespace: &str) -> bool {
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => namespace.starts_with(start),
            None => namespace == allowed,
        };
        self.allowed_namespaces.as_ref().is_none_or(|allowed| allowed.iter().any(fits))
    }

    /// The labels that may hold the namespace of a series. `None`: all.
    pub(crate) fn namespace_labels(&self) -> Option<&[String]> {
        (self.isolation == SourceIsolation::Namespace).then_some(&self.namespace_labels)
    }

    /// The labels that every selector of a policy in `namespace` gets.
    pub(crate) fn required(&self, namespace: &str, label: &str) -> RequiredLabels {
        RequiredLabels {
            namespace: self.namespace_labels().map(|allowed| RequiredNamespace {
                name: namespace.to_owned(),
                label: label.to_owned(),
                allowed: allowed.to_vec(),
            }),
            fixed: self.match_labels.clone(),
        }
    }

    /// What to check if a query finds nothing, because every selector gets the namespace.
    pub(crate) fn restriction(&self, namespace: &str, label: &str) -> Option<String> {
        let others: Vec<&str> =
            self.namespace_labels()?.iter().map(String::as_str).filter(|one| *one != label).collect();
        let elsewhere = if others.is_empty() {
            "if the metric has the namespace in another label, for example exported_namespace, ask the administrator of the source to add that label to namespaceLabels".to_owned()
        } else {
            format!(
                "if the metric has the namespace in another label, set target.namespaceLabel ({})",
                others.join(", ")
            )
        };
        Some(format!(
            "Prunella adds {label}={namespace:?} to every selector: {elsewhere}; a metric without it, for example of nodes or of another namespace, can be read only through a source whose administrator allows that (isolation: None)"
        ))
    }

    /// What an administrator should know: the end of the message of a source that is ready.
    pub(super) fn warning(&self) -> String {
        let clusters = self.several_clusters().map(|clusters| {
            format!("; it has series of several Kubernetes clusters ({clusters}): set matchLabels, so that policies do not act on the series of another cluster")
        });
        format!("{}{}", self.open(), clusters.unwrap_or_default())
    }

    fn open(&self) -> &'static str {
        match (self.isolation, &self.allowed_namespaces) {
            (SourceIsolation::Namespace, _) => "",
            (SourceIsolation::None, Some(_)) => {
                "; isolation is None: policies of allowedNamespaces read every series of it"
            }
            (SourceIsolation::None, None) => {
                "; isolation is None: everybody who can write a policy reads every series of it; set allowedNamespaces"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(spec: &serde_json::Value) -> SourceAccess {
        let mut spec = spec.clone();
        spec["url"] = serde_json::json!("http://prometheus:9090");
        SourceAccess::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_source_says_which_namespaces_may_use_it() {
        let all = access(&serde_json::json!({}));
        assert!(all.allows("shop"));
        let some = access(&serde_json::json!({"allowedNamespaces": ["shop", "pr-*"]}));
        for (namespace, allowed) in
            [("shop", true), ("shop-2", false), ("pr-7", true), ("pr", false), ("my-pr-7", false), ("bank", false)]
        {
            assert_eq!(some.allows(namespace), allowed, "{namespace}");
        }
        assert!(!access(&serde_json::json!({"allowedNamespaces": []})).allows("shop"));
    }

    #[test]
    fn a_source_trusts_no_label_that_applications_can_set_unless_it_says_so() {
        let strict = access(&serde_json::json!({}));
        assert_eq!(strict.namespace_labels(), Some(&["namespace".to_owned()][..]));
        let hint = strict.restriction("shop", "namespace").unwrap();
        assert!(hint.contains("add that label to namespaceLabels"), "{hint}");
        let trusting = access(&serde_json::json!({"namespaceLabels": ["namespace", "exported_namespace"]}));
        let hint = trusting.restriction("shop", "namespace").unwrap();
        assert!(hint.contains("set target.namespaceLabel (exported_namespace)"), "{hint}");
    }

    #[test]
    fn without_isolation_only_the_labels_of_the_cluster_are_required() {
        let open = access(&serde_json::json!({"isolation": "None", "matchLabels": {"cluster": "prod"}}));
        let required = open.required("shop", "namespace");
        assert_eq!((required.namespace, required.fixed.len()), (None, 1));
        assert!(open.warning().contains("set allowedNamespaces"));
        assert_eq!(access(&serde_json::json!({})).warning(), "");
    }

    #[test]
    fn several_clusters_are_named_unless_match_labels_tells_them_apart() {
        let clusters = ["prod", "staging"].map(str::to_owned);
        let open = access(&serde_json::json!({}));
        assert!(open.asks_for_clusters() && !open.knows_clusters());
        let several = open.clone().with_clusters(clusters.clone().into());
        assert_eq!(several.several_clusters().as_deref(), Some("cluster=\"prod\", cluster=\"staging\""));
        assert!(several.warning().contains("set matchLabels"));
        assert_eq!(open.with_clusters(["prod".to_owned()].into()).several_clusters(), None);
        let told_apart = access(&serde_json::json!({"matchLabels": {"cluster": "prod"}}));
        assert!(!told_apart.asks_for_clusters() && told_apart.knows_clusters());
    }
}
