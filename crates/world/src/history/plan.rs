//! What a history is made of, before it happens. All of it follows from the seed.

use std::time::Duration;

use serde_json::{Value, json};

use super::happening::{Happening, happenings};
use crate::chance::Chance;
use crate::faults::Weather;
use crate::world::NAMESPACE;

/// One history before it happens.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From here all chance comes.
    pub seed: u64,
    /// How many controllers run at once.
    pub replicas: usize,
    /// The apps.
    pub apps: Vec<App>,
    /// The app that nothing happens to before the end.
    pub witness: App,
    /// The policies, as they are applied.
    pub policies: Vec<Value>,
    /// How long things go wrong.
    pub storm: Duration,
    /// How often what goes wrong on the way between the processes and the world.
    pub weather: Weather,
    /// What happens, and when after the start.
    pub happenings: Vec<(Duration, Happening)>,
}

/// An app: a Deployment, and perhaps a disruption budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct App {
    /// The name, and the value of the label `app`.
    pub name: &'static str,
    /// How many pods it wants.
    pub replicas: u64,
    /// How many pods its disruption budget lets go. `None`: it has none.
    pub budget: Option<u64>,
}

impl App {
    /// Its objects.
    pub(super) fn objects(&self) -> Vec<Value> {
        let Self { name, replicas, budget } = self;
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "containers": [{
                        "name": "app", "image": "app:1", "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
                    }],
                }},
            },
        });
        let budget = budget.map(|count| {
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"maxUnavailable": count, "selector": {"matchLabels": labels},
                    "unhealthyPodEvictionPolicy": "AlwaysAllow"},
            })
        });
        std::iter::once(deployment).chain(budget).collect()
    }
}

impl Plan {
    /// The history of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let chance = Chance::new(seed);
        let budget = match chance.between("budget", 0, 3) {
            0 => None,
            1 => Some(0),
            count => Some(count - 1),
        };
        let web = App { name: "web", replicas: chance.between("replicas", 1, 5), budget };
        let witness = App { name: "witness", replicas: 2, budget: None };
        let policies = (1..=chance.between("policies", 1, 2)).map(|number| policy(chance, number));
        let storm = Duration::from_secs(chance.between("storm", 120, 480));
        let by = u32::try_from(chance.between("weather", 0, 3)).unwrap_or(1);
        let replicas = if chance.between("two controllers", 0, 1) == 0 { 1 } else { 2 };
        Self {
            seed,
            replicas,
            apps: vec![web, witness],
            witness,
            policies: policies.chain([guard(witness)]).collect(),
            storm,
            weather: Weather::stormy(by),
            happenings: happenings(chance, storm, replicas),
        }
    }
}

/// The query for pods that leak: they have 232 MB, and all others 2 MB. The truth is known: who leaks, and
/// since when.
pub(super) fn leaks(megabytes: u64) -> String {
    format!(r#"container_memory_working_set_bytes{{container="app"}} > {megabytes} * 1000 * 1000"#)
}

/// A policy of the app, with limits by chance.
fn policy(chance: Chance, number: u64) -> Value {
    let name = format!("leak-{number}");
    let seconds = |what: &str, least, most| format!("{}s", chance.between(&format!("{name} {what}"), least, most));
    let one_of = |what: &str, many: &[Value]| {
        let last = many.len().saturating_sub(1) as u64;
        let drawn = usize::try_from(chance.between(&format!("{name} {what}"), 0, last)).unwrap_or(0);
        many.get(drawn).cloned().unwrap_or_default()
    };
    let action = one_of(
        "action",
        &[
            json!({"deletePod": {"disruption": "Evict"}}),
            json!({"deletePod": {"disruption": "Evict"}}),
            json!({"deletePod": {"disruption": "Delete"}}),
            json!({"rolloutRestart": {}}),
            json!({"scale": {"by": 1, "max": 6}}),
        ],
    );
    let attempts = chance.between(&format!("{name} attempts"), 1, 2);
    let mut steps = vec![json!({"name": "first", "action": action, "attempts": attempts, "verify": {"within": "2m"}})];
    if chance.between(&format!("{name} steps"), 0, 1) == 1 {
        steps.push(json!({"name": "second", "action": {"rolloutRestart": {}}, "verify": {"within": "2m"}}));
    }
    let count = chance.between(&format!("{name} count"), 1, 4);
    let concurrent = chance.between(&format!("{name} concurrent"), 1, 2);
    let (storm, available) =
        (one_of("unhealthy", &[json!("50%"), json!("100%")]), one_of("available", &[json!("75%"), json!(1), json!(0)]));
    json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "mode": "Enforce", "interval": seconds("interval", 5, 15),
            "condition": {"promql": {"query": leaks(200)}, "for": seconds("for", 10, 40), "clearFor": "15s"},
            "target": {"kind": "Pod", "minAge": "5s", "selector": {"matchLabels": {"app": "web"}}},
            "steps": steps,
            "limits": {
                "cooldown": seconds("cooldown", 20, 120), "maxActions": {"count": count, "per": "10m"},
                "maxConcurrent": concurrent, "ladderReset": "5m", "stormCooldown": "30s",
                "maxUnhealthy": storm, "minAvailable": available,
            },
        },
    })
}

/// The policy of the witness.
fn guard(app: App) -> Value {
    json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
        "metadata": {"name": "guard", "namespace": NAMESPACE},
        "spec": {
            "mode": "Enforce", "interval": "10s",
            "condition": {"promql": {"query": leaks(200)}, "for": "20s", "clearFor": "15s"},
            "target": {"kind": "Pod", "minAge": "5s", "selector": {"matchLabels": {"app": app.name}}},
            "steps": [{"name": "evict", "action": {"deletePod": {"disruption": "Evict"}}, "verify": {"within": "2m"}}],
            "limits": {"cooldown": "1m", "maxUnhealthy": "100%"},
        },
    })
}
