//! A history: a world, controllers in it, what happens to them, and whether they kept their promises.
//! A seed stands for one.

mod happening;
mod plan;
mod shrink;

use std::cell::RefCell;
use std::time::{Duration, Instant as WallClock};

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use prunella_api::{HealingAction, HealingPolicy};
use tokio::time::{Instant, sleep, sleep_until};

use crate::api_server::{AuditEntry, LoggedRequest, is_ready};
use crate::chance::Chance;
use crate::cluster::Fault;
use crate::life::{Conditions, Tally};
use crate::panics;
use crate::promises::{Pace, Sickness, Violation, Witness, check, pace};
use crate::world::World;
pub use happening::Happening;
pub use plan::{App, Plan};
pub use shrink::shrink;

/// Between two scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
/// Until the pods run, a controller leads, and the policies have seen healthy targets.
const START: Duration = Duration::from_mins(1);
/// How long the witness may be ill when nothing goes wrong: the election, the age of its samples, `for`, two
/// evaluations, and the request.
const WITNESS_HEALED_WITHIN: Duration = Duration::from_mins(4);
/// How long an action may take when nothing goes wrong any more.
const ALL_ENDED_WITHIN: Duration = Duration::from_mins(50);
/// How long a change of a policy may be unseen when nothing goes wrong.
const CHANGE_SEEN_WITHIN: Duration = Duration::from_mins(2);

/// What came of a history.
#[derive(Debug)]
pub struct Report {
    /// The broken promises. Empty: all were kept.
    pub violations: Vec<Violation>,
    /// What happened, in numbers.
    pub tally: Tally,
    /// Every change of every object.
    pub audit: Vec<AuditEntry>,
    /// Every request and its answer.
    pub requests: Vec<LoggedRequest>,
    /// The most requests of a process within a minute.
    pub pace: Pace,
    /// How long the world existed.
    pub lasted: Duration,
    /// How long the machine took.
    pub took: Duration,
}

/// Lets a history happen.
///
/// # Errors
/// When the world cannot start.
pub fn run(plan: &Plan) -> Result<Report> {
    let began = WallClock::now();
    let panics_before = panics::count();
    let mut report = World::without_controller(plan.seed, SCRAPE_INTERVAL, async |world| {
        let history = Running {
            world,
            plan,
            conditions: Conditions::default(),
            sicknesses: RefCell::default(),
            violations: RefCell::default(),
        };
        history.happen().await
    })?;
    let panics = panics::count() - panics_before;
    if panics > 0 {
        let what = format!("{panics} panics");
        report.violations.push(Violation { at: Timestamp::UNIX_EPOCH, promise: "no panic", what });
    }
    report.took = began.elapsed();
    Ok(report)
}

struct Running<'a> {
    world: &'a World,
    plan: &'a Plan,
    conditions: Conditions,
    sicknesses: RefCell<Vec<Sickness>>,
    violations: RefCell<Vec<Violation>>,
}

impl Running<'_> {
    async fn happen(&self) -> Result<Report> {
        for app in &self.plan.apps {
            for object in app.objects() {
                self.world.create(&object)?;
            }
        }
        for policy in &self.plan.policies {
            self.world.create(policy)?;
        }
        let processes = (1..=self.plan.replicas).map(|number| self.process(format!("prunella-{number}")));
        let processes = futures::future::join_all(processes);
        let witness = tokio::select! {
            witness = self.story() => witness,
            _ = processes => None,
        };
        let audit = self.world.server().audit().entries();
        let mut violations = check(&audit, &self.sicknesses.borrow(), self.world.clock().now(), witness.as_ref());
        violations.extend(self.violations.take());
        let requests = self.world.server().log().answered();
        let (pace, too_fast) = pace(&requests, self.world.clock().epoch());
        violations.extend(too_fast);
        Ok(Report {
            violations,
            tally: self.conditions.tally(),
            audit,
            requests,
            pace,
            lasted: self.world.clock().elapsed(),
            took: Duration::ZERO,
        })
    }

    /// A replica. The kubelet starts it again when it has ended.
    async fn process(&self, name: String) {
        let chance = Chance::new(self.plan.seed);
        loop {
            let ended = self.world.live(&name, &self.conditions, chance).await;
            self.conditions.count(|tally| tally.exits += 1);
            tracing::info!(process = name, %ended, "exited");
            sleep(Duration::from_secs(10)).await;
        }
    }

    /// What happens, in order: a start, things that go wrong, and calm.
    async fn story(&self) -> Option<Witness> {
        sleep(START).await;
        let began = Instant::now();
        self.conditions.set_weather(self.plan.weather);
        for (at, happening) in &self.plan.happenings {
            sleep_until(began + *at).await;
            self.let_happen(happening);
        }
        sleep_until(began + self.plan.storm).await;
        self.calm();
        let witness = self.witness().await;
        self.until_all_ended().await;
        self.until_all_changes_are_seen().await;
        witness
    }

    /// From here on nothing goes wrong any more.
    fn calm(&self) {
        self.conditions.calm();
        self.world.prometheus().silence(0, Instant::now());
    }

    /// A workload to which nothing has happened yet falls ill: somebody must see it.
    async fn witness(&self) -> Option<Witness> {
        let pod = self.pods(self.plan.witness.name).into_iter().find(is_ready)?;
        self.fall_ill(&pod, Fault::MemoryLeak { rate: 3e8, ceiling: 2.3e8 });
        let (uid, since) = (pod.uid().unwrap_or_default(), self.world.clock().now());
        let healed = async {
            while self.pods(self.plan.witness.name).iter().any(|one| one.uid().as_ref() == Some(&uid)) {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let is_healed = tokio::time::timeout(WITNESS_HEALED_WITHIN, healed).await.is_ok();
        Some(Witness { uid, since, until: self.world.clock().now(), is_healed })
    }

    async fn until_all_ended(&self) {
        let open = || {
            let actions = self.world.server().all::<HealingAction>().into_iter();
            let open = actions.filter(|action| action.status.as_ref().is_none_or(|status| status.outcome.is_none()));
            open.map(|action| action.name_any()).collect::<Vec<_>>()
        };
        let ended = async {
            while !open().is_empty() {
                sleep(Duration::from_secs(10)).await;
            }
        };
        if tokio::time::timeout(ALL_ENDED_WITHIN, ended).await.is_err() {
            self.violations.borrow_mut().push(Violation {
                at: self.world.clock().now(),
                promise: "every action ends",
                what: format!("{:?} have not ended {ALL_ENDED_WITHIN:?} after the last fault", open()),
            });
        }
    }

    /// No policy is stuck: a change of each of them is seen.
    async fn until_all_changes_are_seen(&self) {
        for mut policy in self.world.server().all::<HealingPolicy>() {
            policy.spec.history_limit += 1;
            self.world.server().put(&policy);
        }
        let unseen = || {
            let policies = self.world.server().all::<HealingPolicy>().into_iter();
            let seen = |policy: &HealingPolicy| policy.status.as_ref().and_then(|status| status.observed_generation);
            let unseen = policies.filter(|policy| seen(policy) != policy.metadata.generation);
            unseen.map(|policy| policy.name_any()).collect::<Vec<_>>()
        };
        let seen = async {
            while !unseen().is_empty() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        if tokio::time::timeout(CHANGE_SEEN_WITHIN, seen).await.is_err() {
            self.violations.borrow_mut().push(Violation {
                at: self.world.clock().now(),
                promise: "no policy is stuck",
                what: format!("the change of {:?} was not seen for {CHANGE_SEEN_WITHIN:?}", unseen()),
            });
        }
    }

    /// The pods of an app that are not terminating.
    fn pods(&self, app: &str) -> Vec<Pod> {
        let mut pods: Vec<Pod> = self.world.server().all();
        pods.retain(|pod| {
            pod.labels().get("app").is_some_and(|of| of == app) && pod.metadata.deletion_timestamp.is_none()
        });
        pods
    }

    fn fall_ill(&self, pod: &Pod, fault: Fault) {
        self.world.cause(std::slice::from_ref(pod), fault);
        if let Some(uid) = pod.uid().filter(|_| matches!(fault, Fault::MemoryLeak { .. })) {
            let sickness = Sickness { uid, since: self.world.clock().now(), until: None };
            self.sicknesses.borrow_mut().push(sickness);
        }
    }

    fn deployment(&self, app: &str) -> Option<Deployment> {
        self.world.server().all::<Deployment>().into_iter().find(|one| one.name_any() == app)
    }
}
