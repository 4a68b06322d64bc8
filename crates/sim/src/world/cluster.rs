//! What the cluster does by itself: workloads replace their pods, roll out and follow
//! their number of replicas, pods become ready, become unhealthy and get well, exporters are
//! scraped.

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use prunella_core::target::{Object, Uid};
use prunella_core::time::{after, before, whole_seconds};

use super::World;
use crate::objects::{Pod, PolicyObject, PolicyStatus, Workload};
use crate::queue::Event;

/// How long a pod takes to end that its own workload ends.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

impl World<'_> {
    /// Puts everything in its place: workloads, policies and old pods.
    pub(super) fn furnish(&mut self) {
        for (index, plan) in self.scenario.workloads.iter().enumerate() {
            let kind = if plan.stable { "StatefulSet" } else { "Deployment" };
            let object = Object::known(kind, format!("w{index}"), format!("uid-w{index}"));
            self.api.workloads.push(Rc::new(Workload {
                object,
                replicas: plan.replicas,
                stable: plan.stable,
                version: 1,
                template: 1,
                mark: None,
                rollout_progress: None,
                disruption_allowed: true,
            }));
        }
        for (rule, selects, condition) in &self.scenario.policies {
            self.api.put_policy(PolicyObject {
                uid: format!("uid-{}", rule.key.name).into(),
                generation: 1,
                rule: rule.clone(),
                selects: selects.clone(),
                condition: *condition,
                history_limit: self.scenario.history_limit,
                status: PolicyStatus::default(),
            });
        }
        for workload in 0..self.api.workloads.len() {
            for number in 0..self.api.workloads[workload].replicas {
                let born = before(self.now, self.dice.seconds(600, 10_000));
                let uid = self.make_pod(workload, &self.pod_name(workload, number), born, None);
                self.pod_ready(&uid);
                let episode = &self.scenario.episode;
                if self.dice.percent(episode.at_first) {
                    self.unhealthy_later(uid);
                }
            }
        }
    }

    fn pod_name(&self, workload: usize, number: i32) -> String {
        if self.api.workloads[workload].stable {
            format!("w{workload}-{number}")
        } else {
            format!("w{workload}-x{}", self.made)
        }
    }

    fn make_pod(&mut self, workload: usize, name: &str, born: Timestamp, replaces: Option<Uid>) -> Uid {
        let uid = Uid::from(format!("uid-{name}.{}", self.made));
        self.made += 1;
        let pod = Pod {
            object: Object::known("Pod", name, uid.clone()),
            created: whole_seconds(born),
            ready: false,
            terminating: false,
            workload,
            template: self.api.workloads[workload].template,
            replaces,
        };
        self.check.born(&pod);
        self.api.put_pod(pod);
        uid
    }

    fn unhealthy_later(&mut self, uid: Uid) {
        let begins = after(self.now, self.dice.seconds(0, self.scenario.episode.begins_within));
        self.queue.push(begins, Event::PodUnhealthy(uid, true));
    }

    pub(super) fn falls_unhealthy(&mut self, workload: usize, number: usize) {
        let uid = self.api.pods.values().filter(|pod| pod.workload == workload).nth(number);
        if let Some(uid) = uid.map(|pod| pod.object.uid.clone()) {
            self.pod_unhealthy(uid, true);
        }
    }

    pub(super) fn pod_unhealthy(&mut self, uid: Uid, unhealthy: bool) {
        if self.api.pod(&uid).is_none() {
            return;
        }
        self.trace
            .say(self.now, "pod", || format!("{uid} {}", if unhealthy { "becomes unhealthy" } else { "gets well" }));
        if unhealthy {
            self.unhealthy.insert(uid.clone());
        } else {
            self.unhealthy.remove(&uid);
        }
        if self.dice.percent(self.scenario.episode.passes) {
            let turns = after(self.now, self.dice.seconds(1, self.scenario.episode.passes_within));
            self.queue.push(turns, Event::PodUnhealthy(uid, !unhealthy));
        }
    }

    pub(super) fn pod_ready(&mut self, uid: &Uid) {
        if let Some(pod) = self.api.pod(uid).filter(|pod| !pod.terminating).cloned() {
            let new = pod.template == self.api.workloads[pod.workload].template;
            self.api.put_pod(Pod { ready: true, ..(*pod).clone() });
            self.check.became_ready(uid);
            if new && self.is_rolling_out(pod.workload) {
                self.rollout_progresses(pod.workload, Some(self.now));
            }
        }
    }

    /// A pod is on its way out: it goes after its grace period at the latest.
    pub(super) fn pod_leaves(&mut self, uid: &Uid, grace: SignedDuration) {
        let Some(pod) = self.api.pod(uid).cloned() else { return };
        let longest = i64::try_from(grace.as_millis()).unwrap_or(0).max(200);
        let gone = after(self.now, self.dice.millis(100, longest));
        self.queue.push(gone, Event::PodGone(uid.clone()));
        if !self.api.workloads[pod.workload].stable {
            self.replace_later(&pod, self.now);
        }
    }

    pub(super) fn pod_gone(&mut self, uid: &Uid) {
        let Some(pod) = self.api.pod(uid).cloned() else { return };
        self.trace.say(self.now, "pod", || format!("{uid} is gone"));
        self.api.remove_pod(&pod.object.name);
        self.unhealthy.remove(uid);
        if self.api.workloads[pod.workload].stable {
            self.replace_later(&pod, self.now);
        }
    }

    fn replace_later(&mut self, pod: &Rc<Pod>, from: Timestamp) {
        let within = self.scenario.workloads[pod.workload].made_within;
        let made = after(from, self.dice.millis(5, within * 1000 + 10));
        self.queue.push(made, Event::PodReplaced(pod.object.uid.clone()));
    }

    pub(super) fn pod_replaced(&mut self, uid: &Uid) {
        let Some((workload, old_name)) = self.check.origin(uid) else { return };
        let stable = self.api.workloads[workload].stable;
        let name = if stable { old_name } else { self.pod_name(workload, 0) };
        self.add_pod(workload, &name, Some(uid.clone()));
    }

    /// Makes a pod, unless there is no want of it any more.
    fn add_pod(&mut self, workload: usize, name: &str, replaces: Option<Uid>) {
        let wanted = usize::try_from(self.api.workloads[workload].replicas).unwrap_or(0);
        if self.api.pods_of(workload).count() >= wanted || self.api.pods.contains_key(name) {
            return;
        }
        let new = self.make_pod(workload, name, self.now, replaces.clone());
        self.trace.say(self.now, "pod", || match replaces {
            Some(old) => format!("{new} is made in place of {old}"),
            None => format!("{new} is made"),
        });
        let within = self.scenario.workloads[workload].ready_within;
        self.queue.push(after(self.now, self.dice.seconds(0, within)), Event::PodReady(new.clone()));
        if self.dice.percent(self.scenario.episode.again) {
            self.unhealthy_later(new);
        }
    }

    /// A pod more than there were.
    pub(super) fn pod_added(&mut self, workload: usize) {
        let free = |number: &i32| !self.api.pods.contains_key(&self.pod_name(workload, *number));
        let number = (0..self.api.workloads[workload].replicas).find(free).unwrap_or(0);
        self.add_pod(workload, &self.pod_name(workload, number), None);
    }

    /// The number of replicas was changed: pods are made, or the newest go.
    pub(super) fn scaled(&mut self, workload: usize, from: i32, to: i32) {
        let within = self.scenario.workloads[workload].made_within;
        for _ in from..to {
            let made = after(self.now, self.dice.millis(5, within * 1000 + 10));
            self.queue.push(made, Event::PodAdded(workload));
        }
        let mut pods: Vec<_> = self.api.pods_of(workload).map(|pod| (pod.created, pod.object.uid.clone())).collect();
        pods.sort();
        for (_, uid) in pods.into_iter().skip(usize::try_from(to).unwrap_or(0)) {
            self.end(&uid);
        }
    }

    /// The pod template was changed: all pods are to be of the new one.
    pub(super) fn restarted(&mut self, workload: usize) {
        let first = !self.is_rolling_out(workload);
        self.rollout_progresses(workload, Some(self.now));
        if first {
            self.queue.push(after(self.now, self.dice.millis(100, 3000)), Event::RollsOut(workload));
        }
    }

    /// One pod of an older template after the other goes, those that are not ready first,
    /// the others only while all are ready.
    pub(super) fn rolls_out(&mut self, workload: usize) {
        let Workload { template, replicas, .. } = *self.api.workloads[workload];
        let wanted = usize::try_from(replicas).unwrap_or(0);
        let ready = self.api.pods_of(workload).filter(|pod| pod.ready).count();
        let old = self.api.pods_of(workload).filter(|pod| pod.template < template);
        match old.min_by_key(|pod| pod.ready).cloned() {
            None if ready >= wanted => return self.rollout_progresses(workload, None),
            Some(pod) if !pod.ready || ready >= wanted => self.end(&pod.object.uid),
            _ => {}
        }
        self.queue.push(after(self.now, self.dice.millis(200, 3000)), Event::RollsOut(workload));
    }

    fn is_rolling_out(&self, workload: usize) -> bool {
        self.api.workloads[workload].rollout_progress.is_some()
    }

    fn rollout_progresses(&mut self, workload: usize, at: Option<Timestamp>) {
        let object = (*self.api.workloads[workload]).clone();
        self.api.put_workload(workload, Workload { rollout_progress: at.map(whole_seconds), ..object });
    }

    pub(super) fn allow_disruption(&mut self, workload: usize, allowed: bool) {
        let object = (*self.api.workloads[workload]).clone();
        self.api.put_workload(workload, Workload { disruption_allowed: allowed, ..object });
    }

    /// A workload, or somebody else, ends a pod.
    fn end(&mut self, uid: &Uid) {
        let Some(pod) = self.api.pod(uid).cloned() else { return };
        self.check.deleted_by_others(uid);
        self.api.put_pod(Pod { terminating: true, ready: false, ..(*pod).clone() });
        self.pod_leaves(uid, GRACE);
    }

    /// Somebody else deletes a pod.
    pub(super) fn delete_one_of(&mut self, workload: usize) {
        let pod = self.api.pods.values().find(|pod| pod.workload == workload && !pod.terminating).cloned();
        if let Some(pod) = pod {
            self.trace.say(self.now, "somebody", || format!("deletes {}", pod.object.uid));
            self.end(&pod.object.uid);
        }
    }

    pub(super) fn suspend(&mut self, policy: usize, suspended: bool) {
        let name = &self.scenario.policies[policy].0.key.name;
        let Some(object) = self.api.policies.get(name).cloned() else { return };
        if object.rule.suspended != suspended {
            self.check.suspended(name, suspended.then_some(self.now));
            let mut rule = object.rule.clone();
            rule.suspended = suspended;
            let generation = object.generation + 1;
            self.api.put_policy(PolicyObject { generation, rule, ..(*object).clone() });
        }
    }

    /// So many in a hundred of the exporters die.
    pub(super) fn silence(&mut self, share: u32) {
        let uids: Vec<Uid> = self.api.pods.values().map(|pod| pod.object.uid.clone()).collect();
        for uid in uids {
            if self.dice.percent(share) {
                self.prometheus.silent.insert(uid);
            }
        }
    }

    pub(super) fn scrape(&mut self) {
        let unhealthy = &self.unhealthy;
        let pods = self
            .api
            .pods
            .values()
            .map(|pod| (pod.object.name.as_str(), &pod.object.uid, unhealthy.contains(&pod.object.uid)));
        self.prometheus.scrape(self.now, pods);
        self.queue.push(after(self.now, self.scenario.scrape_interval), Event::Scrape);
    }
}
