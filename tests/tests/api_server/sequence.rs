//! The random sequences of requests.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::kinds::{Defaults, EVENT, KINDS, Kind, POD};
use crate::step::{JSON, MERGE, Step};

/// How many random requests a sequence has, beside those that each sequence has.
const REQUESTS: usize = 200;

/// All requests of a seed.
pub(crate) fn sequence(seed: u64, namespace: &str, defaults: &Defaults) -> Vec<Step> {
    let mut writer = Writer { rng: Rng::with_seed(seed), namespace, defaults, steps: Vec::new() };
    // The first one is the start of all watches.
    for kind in KINDS {
        writer.steps.push(Step::get(kind.collection(namespace)));
    }
    for _ in 0..REQUESTS {
        writer.random();
    }
    if seed % 10 == 1 {
        writer.another_uid();
    }
    writer.watches();
    writer.steps
}

/// Writes the requests of one sequence.
pub(crate) struct Writer<'a> {
    pub(crate) rng: Rng,
    pub(crate) namespace: &'a str,
    pub(crate) defaults: &'a Defaults,
    pub(crate) steps: Vec<Step>,
}

impl Writer<'_> {
    fn random(&mut self) {
        // Few objects, so that most requests find theirs.
        let kind = KINDS[self.rng.usize(..KINDS.len())];
        let name = *self.rng.choice(&["a", "b"]).unwrap();
        if self.rng.u8(..3) == 0 {
            return self.more(kind, name);
        }
        let step = match self.rng.u8(..20) {
            0..=4 => self.create(kind, name),
            5 => Step::get(kind.path(self.namespace, name)),
            6 => Step::metadata(kind.path(self.namespace, name)),
            7..=9 => self.merge(kind, name),
            10..=11 => self.tested(kind, name),
            // An incomplete Event is refused, and the controller never replaces one.
            12..=13 if kind != EVENT => self.replace(kind, name),
            14..=15 => self.status(kind, name),
            16 => self.finalizer(kind, name),
            17 => self.scale(kind, name),
            _ => self.delete(kind, name),
        };
        self.steps.push(step);
    }

    pub(crate) fn create(&mut self, kind: Kind, name: &str) -> Step {
        let mut object = self.defaults.object(kind, name);
        match self.rng.u8(..8) {
            // What a client cannot set.
            0 => json_patch::merge(
                &mut object,
                &json!({"metadata": {"uid": "mine", "generation": 7, "creationTimestamp": null}}),
            ),
            1 => json_patch::merge(&mut object, &kind.status(2)),
            2 => json_patch::merge(&mut object, &json!({"metadata": {"finalizers": ["prunella.dev/in-flight"]}})),
            3 if kind.is_ours() => object["spec"]["unheard"] = json!(1),
            4 => json_patch::merge(&mut object, &json!({"metadata": {"resourceVersion": "5"}})),
            5 => object["metadata"]["name"] = json!("Not A Name"),
            _ => {}
        }
        if kind == POD && name == "a" {
            // The other one is not scheduled yet.
            object["spec"]["nodeName"] = json!("node-1");
        }
        Step::post(kind.collection(self.namespace), object)
    }

    /// The version that a write names, if any: the newest, the previous, or none.
    fn version(&mut self, key: &str) -> Value {
        match self.rng.u8(..4) {
            0 => json!(format!("<rv:{key}>")),
            1 => json!(format!("<old:{key}>")),
            _ => Value::Null,
        }
    }

    pub(crate) fn uid(&mut self, key: &str) -> Value {
        match self.rng.u8(..4) {
            0 => json!(format!("<uid:{key}>")),
            1 => json!("another"),
            _ => Value::Null,
        }
    }

    fn merge(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let mut patch = match self.rng.u8(..6) {
            0 => json!({"metadata": {"labels": {"tier": null}}}),
            1 => json!({"metadata": {"labels": {"tier": "db"}, "annotations": {"note": "1"}}}),
            // The real server gives a DaemonSet its annotation again.
            2 if kind.plural != "daemonsets" => json!({"metadata": {"annotations": null}}),
            // The status does not belong to this request.
            3 => kind.status(3),
            _ => kind.change(self.rng.u8(1..9)),
        };
        let bound = json!({"metadata": {"resourceVersion": self.version(&key), "uid": self.uid(&key)}});
        for (field, value) in bound["metadata"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
            patch["metadata"][field] = value.clone();
        }
        Step::patch(kind.path(self.namespace, name), MERGE, patch)
    }

    /// A JSON patch with tests.
    fn tested(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
        let mut operations = Vec::new();
        if let uid @ Value::String(_) = self.uid(&key) {
            operations.push(test("/metadata/uid", uid));
        }
        if let version @ Value::String(_) = self.version(&key) {
            operations.push(test("/metadata/resourceVersion", version));
        }
        operations.push(match self.rng.u8(..5) {
            0 => json!({"op": "remove", "path": "/metadata/annotations/missing"}),
            1 => json!({"op": "add", "path": "/metadata/annotations", "value": {"note": "2"}}),
            2 => test("/metadata/labels/app", json!("other")),
            3 => json!({"op": "replace", "path": "/metadata/missing/deep", "value": 1}),
            _ => json!({"op": "replace", "path": "/metadata/labels/tier", "value": "web"}),
        });
        let subresource = if kind.has_status && self.rng.u8(..4) == 0 { "/status" } else { "" };
        Step::patch(format!("{}{subresource}", kind.path(self.namespace, name)), JSON, Value::Array(operations))
    }

    fn replace(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let mut change = match self.rng.u8(..4) {
            0 => json!({"metadata": {"labels": {"tier": "db"}}}),
            1 => kind.status(4),
            _ => kind.change(self.rng.u8(1..9)),
        };
        match self.rng.u8(..5) {
            0 => change["metadata"]["resourceVersion"] = json!(format!("<old:{key}>")),
            1 => json_patch::merge(&mut change, &json!({"metadata": {"resourceVersion": null}})),
            _ => {}
        }
        if self.rng.u8(..6) == 0 {
            change["metadata"]["uid"] = json!("another");
        }
        Step::put(kind.path(self.namespace, name), key, named(kind, name, change))
    }

    fn status(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let path = format!("{}/status", kind.path(self.namespace, name));
        if kind == POD && name == "b" {
            return Step::get(path);
        }
        let mut status = kind.status(self.rng.u8(1..9));
        // The rest does not belong to this request.
        match self.rng.u8(..4) {
            0 => json_patch::merge(&mut status, &kind.change(7)),
            1 => json_patch::merge(&mut status, &json!({"metadata": {"labels": {"tier": "status"}}})),
            _ => {}
        }
        if self.rng.bool() {
            let version = self.version(&key);
            if !version.is_null() {
                status["metadata"]["resourceVersion"] = version;
            }
            return Step::patch(path, MERGE, status);
        }
        match self.rng.u8(..4) {
            0 => status["metadata"]["resourceVersion"] = json!(format!("<old:{key}>")),
            1 => status = json!({"status": null}),
            _ => {}
        }
        Step::put(path, key, named(kind, name, status))
    }

    fn finalizer(&mut self, kind: Kind, name: &str) -> Step {
        let finalizers = match self.rng.u8(..3) {
            0 => json!([]),
            1 => Value::Null,
            _ => json!(["prunella.dev/in-flight"]),
        };
        Step::patch(kind.path(self.namespace, name), MERGE, json!({"metadata": {"finalizers": finalizers}}))
    }

    fn scale(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let path = format!("{}/scale", kind.path(self.namespace, name));
        match self.rng.u8(..4) {
            0 => Step::get(path),
            1 => Step::patch(path, MERGE, json!({"spec": {"replicas": self.other_number()}})),
            _ => {
                let mut operations = Vec::new();
                for (field, value) in [("uid", self.uid(&key)), ("resourceVersion", self.version(&key))] {
                    if !value.is_null() {
                        operations.push(json!({"op": "test", "path": format!("/metadata/{field}"), "value": value}));
                    }
                }
                operations.push(json!({"op": "test", "path": "/spec/replicas", "value": 3}));
                operations.push(json!({"op": "replace", "path": "/spec/replicas", "value": self.other_number()}));
                Step::patch(path, JSON, Value::Array(operations))
            }
        }
    }

    /// A number of replicas that no workload has. With the same number, the real server would record
    /// a new manager of the field and make a new version of the object. Nobody scales like that.
    fn other_number(&mut self) -> usize {
        if self.rng.u8(..8) == 0 { 0 } else { 10 + self.steps.len() }
    }

    fn delete(&mut self, kind: Kind, name: &str) -> Step {
        let key = format!("{}/{name}", kind.plural);
        let mut options = json!({});
        for (field, value) in [("uid", self.uid(&key)), ("resourceVersion", self.version(&key))] {
            if !value.is_null() {
                options["preconditions"][field] = value;
            }
        }
        match self.rng.u8(..6) {
            0 => options["gracePeriodSeconds"] = json!(0),
            1 => options["gracePeriodSeconds"] = json!(20),
            2 if options == json!({}) => options = Value::Null,
            _ => {}
        }
        Step::delete(kind.path(self.namespace, name), options)
    }
}

/// A change that is a whole object also where the object is not known.
fn named(kind: Kind, name: &str, mut change: Value) -> Value {
    (change["apiVersion"], change["kind"]) = (kind.type_.0.into(), kind.type_.1.into());
    change["metadata"]["name"] = name.into();
    change
}
