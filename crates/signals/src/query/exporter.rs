//! Which exporter a selector's series come from, as far as names and matchers tell. Two
//! series of one exporter appear and disappear together, so one is evidence for the other.

use promql_parser::parser::{Expr, VectorSelector};

use super::tree::{metric_name, pin, selectors};

/// Prefixes of exporters that report about other objects than themselves. A metric with
/// one of them and a metric without it are never scraped together.
const WELL_KNOWN: [&str; 28] = [
    "DCGM",
    "apiserver",
    "argocd",
    "certmanager",
    "cnpg",
    "container",
    "coredns",
    "elasticsearch",
    "envoy",
    "etcd",
    "istio",
    "kafka",
    "kube",
    "kube_customresource",
    "kubelet",
    "machine",
    "mongodb",
    "mysql",
    "nginx",
    "node",
    "patroni",
    "pg",
    "pgbouncer",
    "probe",
    "rabbitmq",
    "redis",
    "traefik",
    "windows",
];

/// First parts of the names of recording rules: the labels that a rule aggregates to.
const LEVELS: [&str; 12] = [
    "cluster",
    "code",
    "container",
    "deployment",
    "instance",
    "job",
    "namespace",
    "node",
    "path",
    "pod",
    "service",
    "workload",
];

/// The origin of a selector's series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exporter<'a> {
    /// The prefix of the metric's name. `None`: the name says nothing.
    prefix: Option<&'a str>,
    /// The `job` that the selector requires.
    job: Option<&'a str>,
}

impl<'a> Exporter<'a> {
    fn of(selector: &'a VectorSelector) -> Self {
        Self { prefix: metric_name(selector).and_then(prefix), job: pin(selector, "job") }
    }

    fn is_well_known(self) -> bool {
        self.prefix.is_some_and(|prefix| WELL_KNOWN.contains(&prefix))
    }

    /// Whether the two are certainly different.
    fn differs(self, other: Self) -> bool {
        let jobs_differ = matches!((self.job, other.job), (Some(a), Some(b)) if a != b);
        let known = self.is_well_known() || other.is_well_known();
        jobs_differ || known && self.prefix != other.prefix
    }

    /// Whether the two are the same, by all that is known.
    fn is(self, other: Self) -> bool {
        self.prefix.is_some() && self.prefix == other.prefix && !self.differs(other)
    }
}

/// By convention a metric name starts with the exporter's prefix: `kube_…`, `container_…`,
/// `vllm:…`. Prometheus writes `up` for every exporter. A recording rule says nothing about
/// its exporter, so every rule counts as an exporter of its own.
fn prefix(name: &str) -> Option<&str> {
    if name == "up" {
        return None;
    }
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [_] if name.starts_with("kube_customresource_") => Some("kube_customresource"),
        [_] => name.split('_').next().filter(|word| !word.is_empty()),
        // A rule is named `level:metric:operations`. With one colon it is an ordinary name.
        [first, _] if !first.is_empty() && !LEVELS.contains(first) => Some(first),
        _ => Some(name),
    }
}

/// Whether all selectors in both expressions are of one exporter.
pub(super) fn all_same(lhs: &Expr, rhs: &Expr) -> bool {
    let all = [selectors(lhs), selectors(rhs)].concat();
    let Some((first, rest)) = all.split_first() else { return false };
    rest.iter().all(|other| same(first, other))
}

/// Whether the series of both selectors are of one exporter.
pub(super) fn same(a: &VectorSelector, b: &VectorSelector) -> bool {
    // Each target has an `up` of its own: only the same selector or job means the same.
    let one_metric = metric_name(a).is_some() && metric_name(a) == metric_name(b) && a.matchers == b.matchers;
    let (left, right) = (Exporter::of(a), Exporter::of(b));
    let one_job = left.job.is_some() && left.job == right.job && !left.differs(right);
    one_metric || one_job || left.is(right)
}

/// Whether some selector of `lhs` is certainly of another exporter than some selector of
/// `rhs`.
pub(super) fn any_differ(lhs: &Expr, rhs: &Expr) -> bool {
    let right: Vec<_> = selectors(rhs).into_iter().map(Exporter::of).collect();
    selectors(lhs).into_iter().map(Exporter::of).any(|a| right.iter().any(|b| a.differs(*b)))
}
