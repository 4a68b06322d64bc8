//! The kinds that this API server serves: those that the controller uses, and our own from their
//! definitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use serde_json::Value;

use super::refusal::Refusal;

/// A kind, as its table or its definition describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    /// For example `Pod`.
    pub(super) name: String,
    pub(super) namespaced: bool,
    /// Whether a write of the object leaves its status alone, and a write of its status the rest.
    pub(super) has_status: bool,
    pub(super) has_scale: bool,
    /// The fields that a field selector can name, beside name and namespace, as JSON pointers.
    selectable: Vec<(String, String)>,
    /// The schema of a custom resource. `None`: a built-in kind.
    pub(super) schema: Option<Value>,
}

/// Group, version, plural, kind, and of its properties: namespaced, status, scale.
type Row = (&'static str, &'static str, &'static str, &'static str, [bool; 3]);

const BUILT_IN: [Row; 12] = [
    ("", "v1", "namespaces", "Namespace", [false, true, false]),
    ("", "v1", "nodes", "Node", [false, true, false]),
    ("", "v1", "pods", "Pod", [true, true, false]),
    ("", "v1", "secrets", "Secret", [true, false, false]),
    ("apps", "v1", "deployments", "Deployment", [true, true, true]),
    ("apps", "v1", "replicasets", "ReplicaSet", [true, true, true]),
    ("apps", "v1", "statefulsets", "StatefulSet", [true, true, true]),
    ("apps", "v1", "daemonsets", "DaemonSet", [true, true, false]),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", [true, true, false]),
    ("coordination.k8s.io", "v1", "leases", "Lease", [true, false, false]),
    ("events.k8s.io", "v1", "events", "Event", [true, false, false]),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", [true, true, false]),
];

/// Fields of built-in kinds that a field selector can name.
const SELECTABLE: [(&str, &str, &str); 2] =
    [("pods", "status.phase", "/status/phase"), ("pods", "spec.nodeName", "/spec/nodeName")];

impl Kind {
    fn built_in((group, version, plural, kind, [namespaced, has_status, has_scale]): Row) -> Self {
        let selectable = SELECTABLE.iter().filter(|(of, ..)| *of == plural);
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            name: kind.to_owned(),
            namespaced,
            has_status,
            has_scale,
            selectable: selectable.map(|(_, field, pointer)| ((*field).to_owned(), (*pointer).to_owned())).collect(),
            schema: None,
        }
    }

    /// The kind that a definition defines, in its first version.
    fn defined(definition: CustomResourceDefinition) -> Option<Self> {
        let spec = definition.spec;
        let version = spec.versions.into_iter().next()?;
        let subresources = version.subresources.unwrap_or_default();
        let fields = version.selectable_fields.unwrap_or_default().into_iter().map(|field| field.json_path);
        let selectable = |path: String| {
            let field = path.trim_start_matches('.').to_owned();
            let pointer = format!("/{}", field.replace('.', "/"));
            (field, pointer)
        };
        Some(Self {
            group: spec.group,
            version: version.name,
            plural: spec.names.plural,
            name: spec.names.kind,
            namespaced: spec.scope == "Namespaced",
            has_status: subresources.status.is_some(),
            has_scale: subresources.scale.is_some(),
            selectable: fields.map(selectable).collect(),
            schema: serde_json::to_value(version.schema?.open_api_v3_schema?).ok(),
        })
    }

    /// Whether the API server counts the changes of its spec.
    pub(super) fn has_generation(&self) -> bool {
        const COUNTED: [&str; 6] =
            ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Pod", "PodDisruptionBudget"];
        self.is_custom() || COUNTED.contains(&self.name.as_str())
    }

    /// Whether a replacement creates the object if there is none.
    pub(super) fn is_created_by_update(&self) -> bool {
        matches!(self.name.as_str(), "Lease" | "Event")
    }

    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether it is a custom resource.
    pub(super) fn is_custom(&self) -> bool {
        self.schema.is_some()
    }

    /// Where the field of a field selector is.
    ///
    /// # Errors
    /// 400: the field cannot be selected.
    pub(super) fn pointer(&self, field: &str) -> Result<String, Refusal> {
        match field {
            "metadata.name" => return Ok("/metadata/name".to_owned()),
            "metadata.namespace" if self.namespaced => return Ok("/metadata/namespace".to_owned()),
            _ => {}
        }
        let found = self.selectable.iter().find(|(one, _)| one == field).map(|(_, pointer)| pointer.clone());
        found.ok_or_else(|| Refusal::bad_request(format!("field label not supported: {field}")))
    }
}

/// All kinds that are served.
#[derive(Debug)]
pub(super) struct Kinds(Vec<Kind>);

/// Which of the [`Kinds`] it is.
pub(super) type KindIndex = usize;

impl Kinds {
    /// The built-in kinds, and those of `definitions`.
    pub(super) fn new(definitions: impl IntoIterator<Item = CustomResourceDefinition>) -> Self {
        let custom = definitions.into_iter().filter_map(Kind::defined);
        Self(BUILT_IN.into_iter().map(Kind::built_in).chain(custom).collect())
    }

    /// The kind that a path names.
    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<(KindIndex, &Kind)> {
        let is_it = |kind: &Kind| {
            (kind.group.as_str(), kind.version.as_str(), kind.plural.as_str()) == (group, version, plural)
        };
        self.0.iter().enumerate().find(|(_, kind)| is_it(kind))
    }

    /// The kind of a type.
    pub(super) fn of<K: Resource<DynamicType = ()>>(&self) -> Option<(KindIndex, &Kind)> {
        self.find(&K::group(&()), &K::version(&()), &K::plural(&()))
    }

    /// Whether the cluster's own controllers know the kind.
    pub(super) fn is_of_cluster(&self, index: KindIndex) -> bool {
        let is_ours = |kind: &Kind| kind.is_custom() || matches!(kind.name.as_str(), "Lease" | "Event");
        self.0.get(index).is_some_and(|kind| !is_ours(kind))
    }

    /// The name of a kind.
    pub(super) fn name(&self, index: KindIndex) -> &str {
        self.0.get(index).map_or("", |kind| kind.name.as_str())
    }

    /// The kind that a manifest names.
    pub(super) fn of_manifest(&self, manifest: &Value) -> Option<(KindIndex, &Kind)> {
        let text = |field: &str| manifest.get(field).and_then(Value::as_str);
        let (api_version, kind) = (text("apiVersion")?, text("kind")?);
        self.0.iter().enumerate().find(|(_, one)| one.name == kind && one.api_version() == api_version)
    }
}
