//! The checks that need time to pass: outcomes are told, breaches are acted on, and
//! history goes. They are made once nothing goes wrong any more.

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::ActionSpec;
use prunella_core::execute::EXECUTE_WITHIN;
use prunella_core::ledger::State;
use prunella_core::policy::StormRule;
use prunella_core::target::Uid;
use prunella_core::time::{after, elapsed, times};

use super::Check;
use crate::api_server::ApiServer;
use crate::objects::{ActionObject, Pod, PolicyObject, READY_TIMES};
use crate::prometheus::Prometheus;

/// How late everything may be: scrapes, answers, watches, a busy process.
const SLACK: SignedDuration = SignedDuration::from_secs(30);
/// Records that spent budget are kept so long, for no guardrail reaches further back.
const COUNTED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

impl Check {
    pub(crate) fn audit(&mut self, now: Timestamp, api: &ApiServer, prometheus: &Prometheus) {
        if now < self.calm {
            return;
        }
        for action in api.actions.values() {
            let bound = longest_life(action);
            let over = matches!(action.state(), State::Finished(_));
            let since = action.created.max(self.calm);
            self.require(over || elapsed(since, now) <= bound, now, "the outcome is told", || {
                format!("{} is still {:?} after {bound:#}", action.name, action.state())
            });
        }
        for policy in api.policies.values() {
            self.check_bounded(now, policy, api, prometheus);
            for pod in api.pods.values().filter(|pod| policy.selects.contains(&pod.workload)) {
                self.check_acted_on(now, policy, pod, api, prometheus);
            }
        }
    }

    /// HP-9: what no guardrail counts any more goes, down to the limit. While somebody is
    /// unhealthy the ladder may count what is older.
    fn check_bounded(&mut self, now: Timestamp, policy: &PolicyObject, api: &ApiServer, prometheus: &Prometheus) {
        let own = || api.actions.values().filter(|action| action.policy() == policy.rule.key.name);
        let kept = COUNTED_AT_MOST + times(SLACK, 4) + policy.rule.interval;
        let old = own().filter(|action| action.status.finished_at.is_some_and(|at| elapsed(at, now) > kept)).count();
        let mut pods = api.pods.values().filter(|pod| policy.selects.contains(&pod.workload));
        let unhealthy = pods.any(|pod| prometheus.truth(&pod.object.uid, policy.condition, now) == Some(true));
        self.require(unhealthy || old <= policy.history_limit, now, "HP-9", || {
            format!("{old} old records of {} are kept; the limit is {}", policy.rule.key, policy.history_limit)
        });
    }

    /// HP-13: a breach that holds is acted on in time when no guardrail could refuse. What
    /// a guardrail might refuse is excused whole: this is not the judgement over again.
    fn check_acted_on(
        &mut self,
        now: Timestamp,
        policy: &PolicyObject,
        pod: &Pod,
        api: &ApiServer,
        prometheus: &Prometheus,
    ) {
        let rule = &policy.rule;
        let key = (rule.key.name.clone(), pod.object.uid.clone());
        let breached = !pod.terminating && prometheus.truth(&pod.object.uid, policy.condition, now) == Some(true);
        let excused = self.may_be_refused(now, policy, &pod.object.uid, api);
        if !breached || excused {
            self.breached.remove(&key);
            return;
        }
        let since = *self.breached.entry(key).or_insert(now);
        let youth = rule.min_age.max(rule.signal_window);
        let by = after(since, youth + rule.breach_for + times(rule.interval, 2) + SLACK);
        self.require(now <= by, now, "HP-13", || {
            format!("{} has been breached since {since} and {} does nothing", pod.object.uid, rule.key)
        });
    }

    /// Whether a storm may hold back all but a first probe, or that as well.
    fn may_be_stormy(&self, now: Timestamp, policy: &PolicyObject, api: &ApiServer) -> bool {
        let rule = &policy.rule;
        let lasts = rule.limits.storm_cooldown + times(rule.interval, 4) + SLACK;
        let lately = self.stormy.get(&rule.key.name).is_some_and(|at| elapsed(*at, now) <= lasts);
        let tried = api.actions.values().any(|action| action.policy() == rule.key.name);
        lately && (tried || rule.limits.on_storm == StormRule::Hold)
    }

    /// Whether a guardrail may refuse: something was done to the pod's workload, which may
    /// be laid to it, or the policy has done something of late.
    fn may_be_refused(&self, now: Timestamp, policy: &PolicyObject, target: &Uid, api: &ApiServer) -> bool {
        let counted = policy.rule.limits.window.max(policy.rule.limits.cooldown);
        let place = |uid: &Uid| self.pods.get(uid).map(|birth| birth.workload);
        // A number of replicas may be at its limit, and nothing else be left to try.
        let may_not_apply = policy.rule.steps.iter().all(|step| matches!(step.action, ActionSpec::Scale(_)));
        may_not_apply
            || self.may_be_stormy(now, policy, api)
            || api.actions.values().any(|action| {
                let lately = action.status.finished_at.is_none_or(|at| elapsed(at, now) <= counted);
                place(&action.spec.target.uid) == place(target) || lately && action.policy() == policy.rule.key.name
            })
    }
}

/// The longest an action may take when nothing goes wrong: to begin, to execute, to
/// settle, and to be judged.
fn longest_life(action: &ActionObject) -> SignedDuration {
    let rule = &action.spec.policy.rule;
    let begin = times(rule.interval, 2).max(SLACK);
    let judge = action.spec.verify_within + rule.clear_for + times(rule.interval, 2);
    begin + EXECUTE_WITHIN + action.spec.action.settle_within(READY_TIMES, None) + judge + SLACK
}
