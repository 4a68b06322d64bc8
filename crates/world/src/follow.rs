//! Follows what happens after a fault, until an action has ended: the timeline, and its times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use prunella_api::{HealingAction, HealingPolicy, RESTARTED_BY_ANNOTATION};
use tokio::time::Instant;

use crate::api_server::is_ready;
use crate::scenario::{Befalls, Scenario};
use crate::world::World;

/// What happens to an unhealthy target, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The query of a policy returns it.
    Visible,
    /// The controller has seen the breach for `for`.
    Firing,
    /// The decision is recorded.
    Reserved,
    /// The change is visible.
    Acted,
    /// The workload has its pods again.
    Settled,
    /// The action has an outcome.
    Verified,
}

/// One line of the timeline: time since the fault, a word, what happened, and whether that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Time since the fault.
    pub at: Duration,
    /// One word.
    pub word: &'static str,
    /// What happened.
    pub what: String,
}

/// What happened after a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// When each moment was reached, since the fault.
    pub reached: BTreeMap<Moment, Duration>,
    /// The policy that acted. Empty: none did.
    pub policy: String,
    /// Its kind of action.
    pub action: String,
    /// How the action ended. Empty: it has not ended.
    pub outcome: String,
    /// The actions that were recorded.
    pub actions: usize,
}

impl Followed {
    /// From one moment (the fault when `None`) to another, in seconds.
    #[must_use]
    pub fn seconds(&self, from: Option<Moment>, to: Moment) -> String {
        let from = from.map_or(Some(Duration::ZERO), |from| self.reached.get(&from).copied());
        match (from, self.reached.get(&to)) {
            (Some(from), Some(to)) => format!("{:.1} s", to.saturating_sub(from).as_secs_f64()),
            _ => "-".to_owned(),
        }
    }
}

/// The timeline shows tenths of a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Breaks the app and follows what happens, for at most `patience`. `tell` gets each line of the
/// timeline as it happens.
pub async fn follow(world: &World, scenario: &Scenario, patience: Duration, tell: &mut dyn FnMut(&Told)) -> Followed {
    let mut pods = world.pods();
    if scenario.befalls == Befalls::One {
        pods.truncate(1);
    }
    let whom = match pods.as_slice() {
        [pod] => pod.name_any(),
        pods => format!("all {} pods", pods.len()),
    };
    let mut case = Case {
        world,
        scenario,
        began: Instant::now(),
        pods_before: world.pods().iter().map(ResourceExt::name_any).collect(),
        broken: pods.iter().map(ResourceExt::name_any).collect(),
        deployment_before: world.server().all::<Deployment>(),
        actions_before: world.server().all::<HealingAction>().iter().map(ResourceExt::name_any).collect(),
        told: BTreeSet::new(),
        scraped: 0,
        seen: 0,
        followed: Followed::default(),
        tell,
    };
    world.cause(&pods, scenario.fault);
    case.say("fault", format!("{whom} {}", scenario.fault_in_words));
    while case.followed.outcome.is_empty() && case.began.elapsed() < patience {
        case.look();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    case.followed
}

struct Case<'a> {
    world: &'a World,
    scenario: &'a Scenario,
    began: Instant,
    pods_before: BTreeSet<String>,
    broken: BTreeSet<String>,
    deployment_before: Vec<Deployment>,
    actions_before: BTreeSet<String>,
    told: BTreeSet<String>,
    /// The scrapes that were looked at.
    scraped: u64,
    /// The version of the objects that were looked at.
    seen: u64,
    followed: Followed,
    tell: &'a mut dyn FnMut(&Told),
}

impl Case<'_> {
    fn look(&mut self) {
        self.values();
        let version = self.world.server().version();
        if std::mem::replace(&mut self.seen, version) == version {
            return;
        }
        self.events();
        self.pods();
        self.deployments();
        self.actions();
    }

    fn values(&mut self) {
        if !self.world.has_scraped(&mut self.scraped) || self.followed.reached.contains_key(&Moment::Visible) {
            return;
        }
        for policy in self.world.server().all::<HealingPolicy>() {
            let Some(promql) = &policy.spec.condition.promql else { continue };
            let values = self.world.query(&promql.query);
            let found = values.into_iter().find(|(pod, _)| pod.is_empty() || self.broken.contains(pod));
            if let Some((_, value)) = found {
                let shown = if policy.name_any() == self.scenario.policy {
                    self.scenario.unit.show(value)
                } else {
                    value.to_string()
                };
                self.reach(
                    Moment::Visible,
                    "visible",
                    format!("Prometheus: {shown}, by the query of {}", policy.name_any()),
                );
                return;
            }
        }
    }

    /// The controller's Events on policies.
    fn events(&mut self) {
        let began = self.began.elapsed();
        for event in self.world.server().all::<Event>() {
            let since = event.creation_timestamp().map(|time| self.world.clock().now().duration_since(time.0));
            let is_old = since.is_none_or(|since| since.as_secs_f64() > began.as_secs_f64());
            let on_policy = event.regarding.as_ref().is_some_and(|on| on.kind.as_deref() == Some("HealingPolicy"));
            if is_old || !on_policy {
                continue;
            }
            let note = event.note.clone().unwrap_or_default();
            match event.reason.as_deref() {
                Some("Firing") => self.reach(Moment::Firing, "Firing", note),
                Some("Blocked") => self.say("Blocked", note),
                _ => {}
            }
        }
    }

    fn pods(&mut self) {
        for pod in self.world.server().all::<Pod>() {
            let (name, is_going) = (pod.name_any(), pod.metadata.deletion_timestamp.is_some());
            if self.broken.contains(&name) && is_going && !self.has_acted() {
                self.reach(Moment::Acted, "evicted", format!("{name} is terminating"));
            }
            let restarts: i32 = pod
                .status
                .iter()
                .flat_map(|status| status.container_statuses.iter().flatten())
                .map(|one| one.restart_count)
                .sum();
            if self.broken.contains(&name) && restarts > 0 && !is_going {
                self.say("crashed", format!("{name} was restarted by the kubelet ({restarts} restarts)"));
            }
            if !self.pods_before.contains(&name) && is_ready(&pod) && !is_going {
                self.say("new pod", format!("{name} is Ready"));
            }
        }
    }

    fn deployments(&mut self) {
        for now in self.world.server().all::<Deployment>() {
            let Some(was) = self.deployment_before.iter().find(|was| was.name_any() == now.name_any()) else {
                continue;
            };
            let (name, was, now) = (now.name_any(), shape(was), shape(&now));
            if was.1 != now.1 {
                self.reach(Moment::Acted, "restarted", format!("Deployment/{name} replaces all its pods"));
            }
            if was.0 != now.0 {
                self.reach(Moment::Acted, "scaled", format!("Deployment/{name} from {} to {} replicas", was.0, now.0));
            }
        }
    }

    fn actions(&mut self) {
        let mut actions = self.world.server().all::<HealingAction>();
        actions.retain(|action| !self.actions_before.contains(&action.name_any()));
        self.followed.actions = actions.len();
        let Some(action) = actions.first() else { return };
        self.followed.policy.clone_from(&action.spec.policy.name);
        self.followed.action.clone_from(&action.spec.action_name);
        let recorded = format!("{} is recorded as HealingAction {}", action.spec.action_name, action.name_any());
        self.reach(Moment::Reserved, "Reserved", recorded);
        let Some(status) = &action.status else { return };
        let message = status.message.clone().unwrap_or_default();
        match &status.outcome {
            Some(outcome) => {
                self.followed.outcome.clone_from(outcome);
                let acted = self.followed.reached.get(&Moment::Acted);
                let after = acted.map(|acted| self.began.elapsed().saturating_sub(*acted).as_secs_f64());
                let after = after.map(|after| format!(", {after:.1} s after the action"));
                self.reach(Moment::Verified, "verified", format!("{message}{}", after.unwrap_or_default()));
            }
            None if status.settled_at.is_some() => self.reach(Moment::Settled, "settled", message),
            None => {}
        }
    }

    fn has_acted(&self) -> bool {
        self.followed.reached.contains_key(&Moment::Acted)
    }

    fn reach(&mut self, moment: Moment, word: &'static str, what: String) {
        if !self.followed.reached.contains_key(&moment) {
            self.followed.reached.insert(moment, self.began.elapsed());
            self.say(word, what);
        }
    }

    fn say(&mut self, word: &'static str, what: String) {
        if self.told.insert(format!("{word} {what}")) {
            (self.tell)(&Told { at: self.began.elapsed(), word, what });
        }
    }
}

/// The replicas of a Deployment, and the action that restarted it last.
fn shape(deployment: &Deployment) -> (i32, Option<String>) {
    let spec = deployment.spec.clone().unwrap_or_default();
    let annotations = spec.template.metadata.and_then(|metadata| metadata.annotations);
    (spec.replicas.unwrap_or(1), annotations.and_then(|all| all.get(RESTARTED_BY_ANNOTATION).cloned()))
}
