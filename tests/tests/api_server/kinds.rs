//! The kinds that the controller uses, and an object of each.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

/// Stands for the name of an object.
const PLACEHOLDER: &str = "the-name";

/// A kind of the sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) plural: &'static str,
    /// Group and version, as in a path.
    pub(crate) api: &'static str,
    /// `apiVersion` and `kind` of its objects.
    pub(crate) type_: (&'static str, &'static str),
    pub(crate) has_status: bool,
    pub(crate) has_scale: bool,
}

const fn kind(
    plural: &'static str,
    api: &'static str,
    type_: (&'static str, &'static str),
    [has_status, has_scale]: [bool; 2],
) -> Kind {
    Kind { plural, api, type_, has_status, has_scale }
}

pub(crate) const POD: Kind = kind("pods", "api/v1", ("v1", "Pod"), [true, false]);
pub(crate) const DEPLOYMENT: Kind = kind("deployments", "apis/apps/v1", ("apps/v1", "Deployment"), [true, true]);
pub(crate) const BUDGET: Kind =
    kind("poddisruptionbudgets", "apis/policy/v1", ("policy/v1", "PodDisruptionBudget"), [true, false]);
pub(crate) const EVENT: Kind = kind("events", "apis/events.k8s.io/v1", ("events.k8s.io/v1", "Event"), [false, false]);
pub(crate) const POLICY: Kind =
    kind("healingpolicies", "apis/prunella.dev/v1alpha1", ("prunella.dev/v1alpha1", "HealingPolicy"), [true, false]);
pub(crate) const ACTION: Kind =
    kind("healingactions", "apis/prunella.dev/v1alpha1", ("prunella.dev/v1alpha1", "HealingAction"), [true, false]);

/// All kinds in namespaces that random requests are about.
pub(crate) const KINDS: [Kind; 10] = [
    DEPLOYMENT,
    POD,
    POLICY,
    ACTION,
    BUDGET,
    kind("statefulsets", "apis/apps/v1", ("apps/v1", "StatefulSet"), [true, true]),
    kind("daemonsets", "apis/apps/v1", ("apps/v1", "DaemonSet"), [true, false]),
    kind(
        "horizontalpodautoscalers",
        "apis/autoscaling/v2",
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        [true, false],
    ),
    kind("leases", "apis/coordination.k8s.io/v1", ("coordination.k8s.io/v1", "Lease"), [false, false]),
    EVENT,
];

impl Kind {
    pub(crate) fn is_ours(self) -> bool {
        self.api.contains("prunella")
    }

    pub(crate) fn collection(self, namespace: &str) -> String {
        format!("/{}/namespaces/{namespace}/{}", self.api, self.plural)
    }

    pub(crate) fn path(self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }

    /// An object as a user writes it.
    fn manifest(self, name: &str) -> Value {
        let template = json!({
            "metadata": {"labels": {"app": name}},
            "spec": {
                "containers": [{"name": "app", "image": "app:1", "imagePullPolicy": "IfNotPresent"}],
                "automountServiceAccountToken": false,
            },
        });
        let selector = json!({"matchLabels": {"app": name}});
        let web = json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web", "uid": "uid-web"});
        let mut object = match self.plural {
            "pods" => json!({"spec": template["spec"]}),
            "deployments" => json!({"spec": {"replicas": 3, "selector": selector, "template": template}}),
            "statefulsets" => {
                json!({"spec": {"replicas": 3, "selector": selector, "template": template, "serviceName": "app"}})
            }
            "daemonsets" => json!({"spec": {"selector": selector, "template": template}}),
            "horizontalpodautoscalers" => json!({"spec": {
                "minReplicas": 2, "maxReplicas": 5,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            }}),
            "poddisruptionbudgets" => json!({"spec": {"minAvailable": 1, "selector": selector}}),
            "leases" => json!({"spec": {
                "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 1,
                "acquireTime": "2026-01-01T03:00:00.000000Z", "renewTime": "2026-01-01T03:00:00.000000Z",
            }}),
            "events" => json!({
                "eventTime": "2026-01-01T03:00:00.000000Z", "reportingController": "prunella.dev/controller",
                "reportingInstance": "prunella-1", "action": "DeletePod", "reason": "Started", "type": "Normal",
                "note": "started", "regarding": web,
            }),
            "healingpolicies" => json!({"spec": {
                "condition": {"promql": {"query": "up == 0"}},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": name}}},
                "steps": [{"name": "evict", "action": {"deletePod": {}}}],
            }}),
            _ => json!({
                "spec": {
                    "policy": {"name": name, "uid": "uid", "generation": 1, "digest": "digest"},
                    "mode": "Enforce", "sequence": 1, "step": "evict", "stepNumber": 1, "attempt": 1,
                    "action": {"deletePod": {}}, "actionName": "DeletePod", "target": web, "subject": web,
                    "startBy": "2026-11-21T10:01:00Z", "settleWithin": "1m", "verifyWithin": "1m",
                    "evidence": {"promql": {"query": "up == 0", "value": "0", "labels": {}},
                                 "since": "2026-11-21T10:00:00Z", "observedAt": "2026-11-21T10:00:00Z"},
                },
            }),
        };
        object["metadata"] = json!({"name": name, "labels": {"app": name, "tier": "web"}});
        (object["apiVersion"], object["kind"]) = (self.type_.0.into(), self.type_.1.into());
        object
    }

    /// A merge patch of what may change beside status and metadata. `number`: 1 to 9.
    pub(crate) fn change(self, number: u8) -> Value {
        match self.plural {
            "pods" => json!({"spec": {"activeDeadlineSeconds": 1000}}),
            "deployments" | "statefulsets" => json!({"spec": {"replicas": number}}),
            "daemonsets" => {
                json!({"spec": {"template": {"metadata": {"annotations": {"mark": number.to_string()}}}}})
            }
            "horizontalpodautoscalers" => json!({"spec": {"minReplicas": 1 + number % 4}}),
            "poddisruptionbudgets" => json!({"spec": {"minAvailable": number}}),
            "leases" => json!({"spec": {"holderIdentity": format!("holder-{number}"), "leaseTransitions": number}}),
            "events" => {
                json!({"series": {"count": number + 1, "lastObservedTime": "2026-01-01T03:01:00.000000Z"}})
            }
            "healingpolicies" => {
                json!({"spec": {"suspend": number.is_multiple_of(2), "interval": format!("{number}m")}})
            }
            _ => json!({"spec": {"attempt": number}}),
        }
    }

    /// A status.
    pub(crate) fn status(self, number: u8) -> Value {
        match self.plural {
            "pods" => json!({"status": {
                "phase": if number.is_multiple_of(3) { "Succeeded" } else { "Running" },
                "conditions": [{"type": "Ready", "status": if number.is_multiple_of(2) { "True" } else { "False" },
                                "lastProbeTime": null, "lastTransitionTime": "2026-01-01T03:00:00Z"}],
            }}),
            "deployments" => json!({"status": {"replicas": number, "readyReplicas": number, "observedGeneration": 1}}),
            "statefulsets" => {
                json!({"status": {"replicas": number, "readyReplicas": number, "availableReplicas": number}})
            }
            "daemonsets" => json!({"status": {
                "currentNumberScheduled": number, "desiredNumberScheduled": number,
                "numberMisscheduled": 0, "numberReady": number,
            }}),
            "horizontalpodautoscalers" => {
                json!({"status": {"currentReplicas": number, "desiredReplicas": number, "currentMetrics": null}})
            }
            "poddisruptionbudgets" => json!({"status": {
                "observedGeneration": 1, "disruptionsAllowed": number % 3, "currentHealthy": number,
                "desiredHealthy": 1, "expectedPods": number,
            }}),
            "healingpolicies" => json!({"status": {"observedGeneration": number}}),
            "healingactions" => json!({"status": {
                "message": format!("message {number}"),
                "outcome": if number.is_multiple_of(2) { json!("Succeeded") } else { Value::Null },
            }}),
            _ => json!({"status": {"unknown": number}}),
        }
    }
}

/// The objects of built-in kinds with the defaults that the real server sets. The server in process
/// sets few of them: in the world, the objects of users have the others already, or do without.
#[derive(Debug)]
pub(crate) struct Defaults(BTreeMap<&'static str, Value>);

impl Defaults {
    /// Asks the real server what it would create.
    pub(crate) async fn of(client: &Client) -> Result<Self> {
        let mut all = BTreeMap::new();
        for kind in KINDS.into_iter().filter(|kind| !kind.is_ours()) {
            let path = format!("{}?dryRun=All", kind.collection("default"));
            let body = kind.manifest(PLACEHOLDER).to_string();
            let request = Request::post(path).header("content-type", "application/json").body(body.into_bytes())?;
            let mut object: Value = client.request(request).await?;
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            let metadata = json!({"name": PLACEHOLDER, "labels": {"app": PLACEHOLDER, "tier": "web"}});
            ensure!(object["kind"] == kind.type_.1, "{object}");
            object["metadata"] = metadata;
            all.insert(kind.plural, object);
        }
        Ok(Self(all))
    }

    /// An object of this name.
    pub(crate) fn object(&self, kind: Kind, name: &str) -> Value {
        match self.0.get(kind.plural) {
            Some(object) => serde_json::from_str(&object.to_string().replace(PLACEHOLDER, name)).unwrap(),
            None => kind.manifest(name),
        }
    }
}
