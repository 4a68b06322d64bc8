//! What happens to the world from outside: people, failures, and the end of processes.

use std::time::Duration;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use prunella_api::{HealingPolicy, HealingPolicySpec};
use tokio::time::Instant;

use super::Running;
use super::plan::leaks;
use crate::chance::Chance;
use crate::cluster::Fault;
use crate::life::SourceState;

/// What happens to the world from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A pod of the app leaks, by its place in the order of names.
    Leaks(u64),
    /// All of its pods leak.
    AllLeak,
    /// A pod fails its readiness probe.
    NotReady(u64),
    /// All faults end by themselves.
    Recovers,
    /// A process is killed.
    Kill(usize),
    /// Requests and answers of a process are held for so many seconds.
    Pause(usize, u64),
    /// Its watches are held for so many seconds.
    Blind(usize, u64),
    /// The source becomes so.
    Source(SourceState),
    /// So many of a hundred pods are not scraped for so many seconds.
    Silence(u64, u64),
    /// Somebody deletes a pod.
    Deleted(u64),
    /// Somebody scales the app.
    Scaled(i32),
    /// Somebody rolls out a new version.
    RolledOut,
    /// Somebody changes how many pods the disruption budget lets go.
    Budget(i32),
    /// Somebody suspends the first policy, or ends that.
    Suspend(bool),
    /// Somebody changes the query of the first policy, to one that the same pods breach.
    Edited(u64),
    /// etcd forgets its history.
    Compacted,
}

/// What happens within `storm`, ordered by time.
pub(super) fn happenings(chance: Chance, storm: Duration, processes: usize) -> Vec<(Duration, Happening)> {
    let most = u64::try_from(storm.as_millis()).unwrap_or(0);
    let mut all = Vec::new();
    for number in 0..chance.between("happenings", 4, 14) {
        let draw = |what: &str, least, most| chance.between(&format!("happening {number} {what}"), least, most);
        let at = Duration::from_millis(draw("at", 0, most));
        let process = usize::try_from(draw("process", 0, processes as u64 - 1)).unwrap_or(0);
        let seconds = draw("seconds", 2, 90);
        let source = match draw("source", 0, 2) {
            0 => SourceState::Down,
            1 => SourceState::Empty,
            _ => SourceState::Partial,
        };
        let later = at + Duration::from_secs(seconds);
        match draw("kind", 0, 20) {
            0..=6 => all.push((at, Happening::Leaks(draw("pod", 0, 9)))),
            7 => all.push((at, Happening::AllLeak)),
            8 => all.push((at, Happening::NotReady(draw("pod", 0, 9)))),
            9 => all.push((at, Happening::Recovers)),
            10 => all.push((at, Happening::Kill(process))),
            11 => all.push((at, Happening::Pause(process, seconds))),
            12 => all.push((at, Happening::Blind(process, seconds))),
            13 => all.extend([(at, Happening::Source(source)), (later, Happening::Source(SourceState::Fine))]),
            14 => all.push((at, Happening::Silence(draw("share", 20, 100), seconds))),
            15 => all.push((at, Happening::Deleted(draw("pod", 0, 9)))),
            16 => all.push((at, Happening::Scaled(i32::try_from(draw("replicas", 1, 5)).unwrap_or(1)))),
            17 => all.push((at, Happening::RolledOut)),
            18 => all.push((at, Happening::Edited(draw("threshold", 201, 220)))),
            19 => all.push((at, Happening::Budget(i32::try_from(draw("budget", 0, 2)).unwrap_or(0)))),
            _ => all.extend([(at, Happening::Suspend(true)), (later, Happening::Suspend(false))]),
        }
        if draw("compacted", 0, 9) == 0 {
            all.push((at, Happening::Compacted));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

impl Running<'_> {
    pub(super) fn let_happen(&self, happening: &Happening) {
        let app = "web";
        let in_seconds = |seconds: u64| Instant::now() + Duration::from_secs(seconds);
        let process = |number: usize| format!("prunella-{}", number + 1);
        let pod = |place: u64| {
            let pods = self.pods(app);
            let place = usize::try_from(place).unwrap_or(0).checked_rem(pods.len())?;
            pods.into_iter().nth(place)
        };
        let leak = Fault::MemoryLeak { rate: 3e8, ceiling: 2.3e8 };
        match *happening {
            Happening::Leaks(place) => {
                if let Some(pod) = pod(place) {
                    self.fall_ill(&pod, leak);
                }
            }
            Happening::AllLeak => self.pods(app).iter().for_each(|pod| self.fall_ill(pod, leak)),
            Happening::NotReady(place) => {
                if let Some(pod) = pod(place) {
                    self.fall_ill(&pod, Fault::NotReady);
                }
            }
            Happening::Recovers => self.recovers(),
            Happening::Kill(number) => self.conditions.kill(&process(number)),
            Happening::Pause(number, seconds) => self.conditions.pause(&process(number), in_seconds(seconds)),
            Happening::Blind(number, seconds) => self.conditions.blind(&process(number), in_seconds(seconds)),
            Happening::Source(state) => self.conditions.set_source(state),
            Happening::Silence(share, seconds) => self.world.prometheus().silence(share, in_seconds(seconds)),
            Happening::Deleted(place) => {
                if let Some(pod) = pod(place) {
                    self.world.server().remove(&pod, None);
                }
            }
            Happening::Scaled(replicas) => self.edit(|spec| spec.replicas = Some(replicas)),
            Happening::RolledOut => self.edit(|spec| {
                let metadata = spec.template.metadata.get_or_insert_default();
                let version = self.world.clock().elapsed().as_millis().to_string();
                metadata.annotations.get_or_insert_default().insert("version".to_owned(), version);
            }),
            Happening::Budget(count) => self.set_budget(count),
            Happening::Suspend(is) => self.change_policy(|spec| spec.suspend = is),
            Happening::Edited(threshold) => self.change_policy(|spec| {
                if let Some(promql) = &mut spec.condition.promql {
                    promql.query = leaks(threshold);
                }
            }),
            Happening::Compacted => self.world.server().compact(),
        }
    }

    fn recovers(&self) {
        self.world.repair();
        let now = self.world.clock().now();
        for sickness in self.sicknesses.borrow_mut().iter_mut() {
            sickness.until.get_or_insert(now);
        }
    }

    fn edit(&self, change: impl FnOnce(&mut k8s_openapi::api::apps::v1::DeploymentSpec)) {
        if let Some(mut deployment) = self.deployment("web") {
            change(deployment.spec.get_or_insert_default());
            self.world.server().put(&deployment);
        }
    }

    fn set_budget(&self, count: i32) {
        for mut budget in self.world.server().all::<PodDisruptionBudget>() {
            budget.spec.get_or_insert_default().max_unavailable = Some(IntOrString::Int(count));
            self.world.server().put(&budget);
        }
    }

    fn change_policy(&self, change: impl Fn(&mut HealingPolicySpec)) {
        for mut policy in self.world.server().all::<HealingPolicy>() {
            if policy.name_any() == "leak-1" {
                change(&mut policy.spec);
                self.world.server().put(&policy);
            }
        }
    }
}
