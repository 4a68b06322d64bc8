//! Requests of one purpose: lists and watches, evictions, applied statuses, and specs that do not fit.

use serde_json::{Value, json};

use crate::kinds::{ACTION, BUDGET, KINDS, Kind, POD, POLICY};
use crate::sequence::Writer;
use crate::step::{APPLY, MERGE, Step};

/// Specs of a policy that its schema refuses: where, and the value. `null`: the field is missing.
/// Rules in CEL are not evaluated in process, and so are not here.
fn unfit() -> Vec<(&'static str, Value)> {
    let step = |number: usize| json!({"name": format!("step-{number}"), "action": {"deletePod": {}}});
    vec![
        ("/spec/mode", json!("Force")),
        ("/spec/mode", json!(1)),
        ("/spec/interval", json!(30)),
        ("/spec/condition/promql/query", json!("")),
        ("/spec/condition/promql/query", json!("x".repeat(4097))),
        ("/spec/target/kind", json!("Node")),
        ("/spec/target/kind", Value::Null),
        ("/spec/target/match", json!({"label": "not a label"})),
        ("/spec/target/selector", json!([])),
        ("/spec/steps", json!([])),
        ("/spec/steps", Value::Null),
        ("/spec/steps", json!((0..11).map(step).collect::<Vec<_>>())),
        ("/spec/steps", json!([step(1), step(1)])),
        ("/spec/steps/0/name", json!("Evict")),
        ("/spec/steps/0/name", json!("e".repeat(33))),
        ("/spec/steps/0/action/deletePod/gracePeriodSeconds", json!(-1)),
        ("/spec/steps/0/action", json!({"scale": {"by": 1}})),
        ("/spec/steps/0/action", json!({"scale": {"by": 1001, "max": 3}})),
        ("/spec/limits", json!({"maxActions": {"count": 0}})),
        ("/spec/limits", json!({"onStorm": "Panic"})),
        ("/spec/limits", json!({"maxConcurrent": "3"})),
    ]
}

impl Writer<'_> {
    pub(crate) fn more(&mut self, kind: Kind, name: &str) {
        match self.rng.u8(..8) {
            0..=2 => self.list(kind),
            3..=4 => self.evict(name),
            5 => self.apply(),
            6 => self.unfit(),
            _ => self.wanted(),
        }
    }

    fn list(&mut self, kind: Kind) {
        let path = kind.collection(self.namespace);
        let labels = [
            "tier%3Dweb",
            "tier!%3Dweb",
            "app%20in%20(a,c)",
            "app%20notin%20(a)",
            "tier",
            "!tier",
            "app%3D%3Da,tier%3Dweb",
        ];
        let fields =
            ["metadata.name%3Da", "metadata.name!%3Da", "metadata.name%3Da,metadata.name%3Db", "spec.unknown%3D1"];
        let own: &[&str] = match kind.plural {
            "healingactions" => &[
                "status.outcome%3D",
                "status.outcome%3DSucceeded",
                "spec.policy.name%3Da",
                "spec.subject.uid!%3Duid-web",
            ],
            "pods" => {
                &["status.phase%3DRunning", "status.phase!%3DRunning", "spec.nodeName%3Dnode-1", "spec.nodeName%3D"]
            }
            _ => &["metadata.namespace%3Dother"],
        };
        let query = match self.rng.u8(..13) {
            0 | 1 => format!("labelSelector={}", self.rng.choice(labels).unwrap()),
            2 => format!("fieldSelector={}", self.rng.choice(fields).unwrap()),
            3 | 4 => format!("fieldSelector={}", self.rng.choice(own).unwrap()),
            5 => "limit=1".to_owned(),
            6 => "limit=1&continue=<continue>".to_owned(),
            7 => "resourceVersion=<list>&resourceVersionMatch=Exact".to_owned(),
            8 => "resourceVersion=<list>&resourceVersionMatch=NotOlderThan".to_owned(),
            9 => "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
            10 => "resourceVersionMatch=NotOlderThan".to_owned(),
            11 => "resourceVersion=what".to_owned(),
            _ => String::new(),
        };
        let step = if self.rng.u8(..4) == 0 { Step::metadata } else { Step::get };
        self.steps.push(step(format!("{path}?{query}")));
        match self.rng.u8(..6) {
            // The second page, after a change that it must not show.
            0 => {
                let new = self.create(kind, "b");
                self.steps.push(Step::get(format!("{path}?limit=1")));
                self.steps.push(new);
                self.steps.push(Step::get(format!("{path}?limit=1&continue=<continue>")));
            }
            // An earlier version, exactly.
            1 => {
                let new = self.create(kind, "a");
                self.steps.push(Step::get(path.clone()));
                self.steps.push(new);
                self.steps.push(Step::get(format!("{path}?resourceVersion=<list>&resourceVersionMatch=Exact")));
                self.steps.push(Step::get(format!("{path}?resourceVersion=<list>")));
            }
            _ => {}
        }
    }

    fn evict(&mut self, name: &str) {
        let pod = POD.path(self.namespace, name);
        let key = format!("pods/{name}");
        let budget = self.rng.choice(["a", "b", "second"]).unwrap();
        match self.rng.u8(..5) {
            0 => {
                let mut object = self.defaults.object(BUDGET, budget);
                if budget == "second" {
                    object["spec"]["selector"] = json!({"matchLabels": {"tier": "web"}});
                }
                if self.rng.bool() {
                    object["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
                }
                self.steps.push(Step::post(BUDGET.collection(self.namespace), object));
                self.steps.push(Step::patch(
                    format!("{}/status", BUDGET.path(self.namespace, budget)),
                    MERGE,
                    BUDGET.status(5),
                ));
            }
            1 => self.steps.push(Step::delete(BUDGET.path(self.namespace, budget), json!({}))),
            2 if name == "a" => {
                self.steps.push(Step::patch(format!("{pod}/status"), MERGE, POD.status(self.rng.u8(1..9))));
            }
            _ => {}
        }
        let mut options = json!({});
        // Another uid takes the real server ten seconds: `another_uid` asks for it once.
        if self.rng.bool() {
            options["preconditions"]["uid"] = json!(format!("<uid:{key}>"));
        }
        if self.rng.u8(..3) == 0 {
            options["gracePeriodSeconds"] = json!(20);
        }
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
            "metadata": {"name": name, "namespace": self.namespace},
        });
        self.steps.push(Step::post(format!("{pod}/eviction"), eviction));
        self.steps.push(Step::get(pod));
        self.steps.push(Step::get(BUDGET.path(self.namespace, budget)));
    }

    /// An eviction of a pod that is another one by now.
    pub(crate) fn another_uid(&mut self) {
        let mut pod = self.defaults.object(POD, "c");
        pod["spec"]["nodeName"] = json!("node-1");
        self.steps.push(Step::post(POD.collection(self.namespace), pod));
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "c", "namespace": self.namespace},
            "deleteOptions": {"preconditions": {"uid": "another"}},
        });
        let path = POD.path(self.namespace, "c");
        self.steps.push(Step::post(format!("{path}/eviction"), eviction));
        self.steps.push(Step::get(path));
    }

    fn apply(&mut self) {
        let condition = |kind: &str, status: &str| {
            json!({"type": kind, "status": status, "reason": "Reason", "message": "", "observedGeneration": 1,
                   "lastTransitionTime": "2026-01-01T03:00:00Z"})
        };
        let mut status = json!({"conditions": [condition("Ready", "True")]});
        if self.rng.bool() {
            status["conditions"] = json!([condition("Healthy", "False"), condition("Ready", "True")]);
        }
        for (field, value) in [
            ("observedGeneration", json!(1)),
            ("digest", json!("digest")),
            ("targets", json!({"selected": 3, "firing": 1, "pending": 0, "verifying": 0})),
        ] {
            if self.rng.bool() {
                status[field] = value;
            }
        }
        let object = json!({"apiVersion": POLICY.type_.0, "kind": POLICY.type_.1, "status": status});
        let query = if self.rng.u8(..8) == 0 { "" } else { "?fieldManager=prunella&force=true" };
        // Nobody else writes the status of this one: of ours, one manager writes all fields.
        let policy = self.defaults.object(POLICY, "applied");
        self.steps.push(Step::post(POLICY.collection(self.namespace), policy));
        let path = format!("{}/status{query}", POLICY.path(self.namespace, "applied"));
        self.steps.push(Step::patch(path, APPLY, object));
    }

    fn unfit(&mut self) {
        let all = unfit();
        let (path, value) = &all[self.rng.usize(..all.len())];
        let mut object = self.defaults.object(POLICY, "a");
        let (parent, last) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[last] = value.clone();
        if value.is_null() {
            object.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(last);
        }
        self.steps.push(Step::post(POLICY.collection(self.namespace), object));
    }

    /// What only the controller asks for.
    fn wanted(&mut self) {
        let in_flight =
            "fieldSelector=status.outcome%3D&resourceVersion=<rv:healingactions/a>&resourceVersionMatch=NotOlderThan";
        let everywhere =
            format!("/{}/healingactions?fieldSelector=metadata.namespace%3D{}", ACTION.api, self.namespace);
        self.steps.push(match self.rng.u8(..4) {
            0 => Step::get(format!("{}?{in_flight}", ACTION.collection(self.namespace))),
            1 => Step::get(everywhere),
            2 => Step::get(format!("{}?limit=100", POD.collection(self.namespace))),
            _ => Step::get("/apis/unknown.dev/v1/things"),
        });
    }

    /// All watches, at the end: from the start of the sequence they show everything that happened.
    pub(crate) fn watches(&mut self) {
        const OPEN: &str = "watch=true&allowWatchBookmarks=true&timeoutSeconds=1";
        for kind in KINDS {
            let path = kind.collection(self.namespace);
            for query in
                ["resourceVersion=<start>", "resourceVersion=<start>&labelSelector=tier%3Dweb", "resourceVersion=0"]
            {
                self.steps.push(Step::get(format!("{path}?{OPEN}&{query}")));
            }
            self.steps.push(Step::metadata(format!("{path}?{OPEN}&resourceVersion=<start>")));
        }
        let outcomes = format!(
            "{}?{OPEN}&resourceVersion=<start>&fieldSelector=status.outcome%3D",
            ACTION.collection(self.namespace)
        );
        self.steps.push(Step::get(outcomes));
        let phases = format!(
            "{}?{OPEN}&resourceVersion=<start>&fieldSelector=status.phase%3DRunning",
            POD.collection(self.namespace)
        );
        self.steps.push(Step::get(phases));
        self.steps.push(Step::get(format!("{}?{OPEN}", POD.collection(self.namespace))));
    }
}
