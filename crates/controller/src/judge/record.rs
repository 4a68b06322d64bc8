//! Stage 5: what was decided becomes status and metrics. The status is built whole
//! from the decision and written only when it differs from what was written last:
//! a quiet policy makes no write. Needs the client for writes.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource, ResourceExt};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{HealingPolicy, HealingPolicyStatus, set_condition};
use prunella_cluster::ClusterError;
use prunella_core::decide::{Decision, Memory, Reach};
use prunella_core::ledger::{Record, State};
use prunella_core::observation::Answer;
use tracing::{info, warn};

use super::Standing;
use super::compile::CompileError;
use super::pace::Pace;
use super::scene::Scene;
use crate::announce::News;
use crate::context::Context;
use crate::writes::{apply_status, stamp};

/// Whether a status can wait for those that come soon after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It is told while something is reserved because of it.
    Now,
    /// It is told with what else changes meanwhile.
    InItsTurn,
}

/// Writes what was decided.
pub(super) async fn record(
    scene: &Scene<'_>,
    urgency: Urgency,
    standing: &mut Standing,
    context: &Context,
) -> Result<(), ClusterError> {
    let quiet = Quiet::of(scene);
    if quiet.is_some() && quiet == standing.quiet {
        return Ok(());
    }
    standing.quiet = None;
    let Scene { policy, compiled, decision, .. } = scene;
    let blocked = scene.blocked();
    context.metrics.count(&compiled.policy.key, decision.counts, &blocked);
    if standing.written.is_some() && standing.written.as_deref() == policy.status.as_ref() {
        // The watch has caught up: one copy is enough.
        standing.written = None;
    }
    let earlier = standing.written.as_deref().or(policy.status.as_ref());
    let status = scene.status(earlier, &blocked, &stamp(context.now()));
    write(policy, standing, status, urgency, context).await?;
    // While the watch lags behind, its next version is to be looked at as well.
    standing.quiet = quiet.filter(|_| standing.written.is_none() && standing.unwritten.is_none());
    Ok(())
}

/// All that the status and the gauges of a policy depend on that finds nobody sick, has
/// nothing in flight, is held back by nobody, and is still the same object: to build them
/// anew each time, and to find that nothing has changed, takes longer than to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quiet {
    selected: usize,
    newest: Option<(u64, State)>,
}

impl Quiet {
    fn of(scene: &Scene<'_>) -> Option<Self> {
        let Scene { policy: _, compiled, observation, decision, ledger, hold } = scene;
        let Decision {
            memory: Memory { timers, verifications, exhausted: _, held_back: _, storm, reached },
            reservations,
            refusals,
            matching,
            counts,
            at: _,
            verdicts: _,
            skipped: _,
            transitions: _,
            storm: _,
            waiting: _,
            questions: _,
            names: _,
            next_check: _,
        } = decision;
        let is_answered = matches!(&observation.breach, Answer::Answered(series) if series.is_empty());
        let nobody_sick = timers.is_empty() && refusals.is_empty() && reservations.is_empty() && storm.is_none();
        let reaches = reached.as_ref().is_some_and(|reached| reached.reach == Reach::Targets);
        let own = || ledger.of(&compiled.policy.key);
        let in_flight = !verifications.is_empty() || own().any(Record::in_flight);
        let is_quiet = hold.is_none() && is_answered && matching.returned == 0 && nobody_sick && reaches && !in_flight;
        let newest = || own().max_by_key(|record| record.sequence).map(|record| (record.sequence, record.state));
        is_quiet.then(|| Self { selected: counts.selected, newest: newest() })
    }
}

/// Writes that the policy cannot work until somebody changes it.
pub(super) async fn stalled(
    policy: &HealingPolicy,
    standing: &mut Standing,
    error: &CompileError,
    context: &Context,
) -> Result<(), ClusterError> {
    let earlier = standing.written.as_deref().or(policy.status.as_ref());
    let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
    let generation = policy.metadata.generation;
    let now = stamp(context.now());
    let message = format!("{error}");
    set_condition(&mut conditions, Ready, Some(false), error.reason(), message.clone(), generation, &now);
    set_condition(&mut conditions, Stalled, Some(true), error.reason(), message, generation, &now);
    for kind in [Observed, Healthy] {
        set_condition(&mut conditions, kind, None, "Stalled", "the policy is not judged", generation, &now);
    }
    for kind in [Healing, Blocked] {
        set_condition(&mut conditions, kind, Some(false), "Stalled", "the policy is not judged", generation, &now);
    }
    let status = HealingPolicyStatus {
        observed_generation: generation,
        conditions,
        targets: None,
        sick: Vec::new(),
        blocked: Vec::new(),
        // What was tried in it is not to be tried again once the policy makes sense.
        storm: earlier.and_then(|status| status.storm.clone()),
        rule: None,
        last_action: earlier.and_then(|status| status.last_action.clone()),
    };
    write(policy, standing, status, Urgency::Now, context).await
}

async fn write(
    policy: &HealingPolicy,
    standing: &mut Standing,
    status: HealingPolicyStatus,
    urgency: Urgency,
    context: &Context,
) -> Result<(), ClusterError> {
    let now = Instant::now();
    let pace = standing.pace.get_or_insert_with(|| Pace::new(now));
    let earlier = standing.written.as_deref().or(policy.status.as_ref());
    let due = due(earlier, &status, urgency, pace.wait(now));
    standing.unwritten = match due {
        Due::Later(wait) => Some(wait),
        Due::Now | Due::Never => None,
    };
    if due != Due::Now {
        return Ok(());
    }
    pace.spend();
    Box::pin(send(policy, standing, status, context)).await
}

async fn send(
    policy: &HealingPolicy,
    standing: &mut Standing,
    status: HealingPolicyStatus,
    context: &Context,
) -> Result<(), ClusterError> {
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<HealingPolicy> = Api::namespaced(context.writes.clone(), &namespace);
    match apply_status(&api, &policy.name_any(), &status).await {
        Ok(_) => {
            tell(policy, standing.written.as_deref().or(policy.status.as_ref()), &status, context);
            standing.written = Some(Box::new(status));
            Ok(())
        }
        // Deleted meanwhile: there is nobody to tell.
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Err(error) => {
            standing.written = None;
            Err(error)
        }
    }
}

/// When a status is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Now,
    /// After this time, with what else changes until then.
    Later(Duration),
    /// It says what is written already.
    Never,
}

fn due(
    earlier: Option<&HealingPolicyStatus>,
    status: &HealingPolicyStatus,
    urgency: Urgency,
    wait: Option<Duration>,
) -> Due {
    match (urgency, wait) {
        _ if earlier.is_some_and(|earlier| says_the_same(earlier, status)) => Due::Never,
        (Urgency::InItsTurn, Some(wait)) => Due::Later(wait),
        (Urgency::Now, _) | (Urgency::InItsTurn, None) => Due::Now,
    }
}

/// Whether nothing has changed but how many series were returned, and which of them name
/// nobody: what becomes of other people's pods is no news of this policy.
fn says_the_same(earlier: &HealingPolicyStatus, status: &HealingPolicyStatus) -> bool {
    let without = |status: &HealingPolicyStatus| {
        let mut status = status.clone();
        let observed = |one: &&mut Condition| one.type_ == Observed.as_str() && one.status == "True";
        status.conditions.iter_mut().filter(observed).for_each(|one| one.message.clear());
        status
    };
    earlier == status || without(earlier) == without(status)
}

/// A line for every condition that changed, and an Event when the policy does not work.
fn tell(
    policy: &HealingPolicy,
    earlier: Option<&HealingPolicyStatus>,
    status: &HealingPolicyStatus,
    context: &Context,
) {
    let name = policy.name_any();
    let namespace = policy.namespace().unwrap_or_default();
    for condition in &status.conditions {
        let before = earlier.and_then(|status| status.conditions.iter().find(|one| one.type_ == condition.type_));
        let unready = condition.type_ == Ready.as_str() && condition.status == "False";
        let same = |before: &Condition| {
            (&before.status, &before.reason) == (&condition.status, &condition.reason)
                && (!unready || before.message == condition.message)
        };
        if before.is_some_and(same) {
            continue;
        }
        let line = format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
        let bad = matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Ready" | "Observed" | "Healthy", "False") | ("Stalled" | "Blocked", "True")
        );
        if unready {
            let note = format!("{}: {}", condition.reason, condition.message);
            let news = News { warning: true, reason: "NotReady", action: "Judge".to_owned(), note };
            context.announcer.tell(&news, &policy.object_ref(&()), None);
        }
        if bad {
            warn!(namespace, policy = name, "{line}");
        } else {
            info!(namespace, policy = name, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use prunella_core::action::Scope;
    use prunella_core::decide::{Inputs, Reached, Refused};
    use prunella_core::ledger::{Ledger, Outcome};
    use prunella_core::observation::{Observation, Series, UnknownReason};
    use prunella_core::policy::{Mode, SubjectCap};
    use prunella_core::refusal::{Reason, Refusal};
    use prunella_core::target::Object;

    use super::super::{Places, compile};
    use super::*;
    use crate::sources::Sources;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// All that the status of a policy is built from, in one that finds nobody sick.
    struct Quietness {
        observation: Observation,
        decision: Decision,
        ledger: Ledger,
        hold: Option<(String, String)>,
    }

    /// What is made of it after a change.
    fn quiet_after(change: impl FnOnce(&mut Quietness)) -> Option<Quiet> {
        let policy: HealingPolicy = serde_json::from_value(serde_json::json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "condition": {"promql": {"query": "up{namespace=\"shop\"} > 5"}},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                "steps": [{"action": {"deletePod": {}}}],
            },
        }))
        .unwrap();
        let cap = SubjectCap { count: 5, window: SignedDuration::from_hours(1) };
        let compiled = compile::compile(&policy, &Sources::new(), &Places::default(), cap).unwrap();
        let breach = Answer::Answered(Vec::new());
        let observation = Observation { at: NOW, breach, evidence: None, history: None, freshness: [].into() };
        let ledger = Ledger { records: Vec::new() };
        let memory = Memory { reached: Some(Reached { at: NOW, reach: Reach::Targets }), ..Memory::default() };
        let decision = prunella_core::decide(Inputs {
            policy: &compiled.policy,
            observation: &observation,
            targets: &[],
            ledger: &ledger,
            memory: &memory,
            held: false,
            phase: SignedDuration::ZERO,
            now: NOW,
        });
        let mut all = Quietness { observation, decision, ledger, hold: None };
        change(&mut all);
        let Quietness { observation, decision, ledger, hold } = &all;
        let scene = Scene { policy: &policy, compiled: &compiled, observation, decision, ledger, hold: hold.clone() };
        Quiet::of(&scene)
    }

    fn record(policy: &str, sequence: u64, state: State) -> Record {
        let web = Object { kind: "Pod".to_owned(), name: "web-1".to_owned(), uid: "uid-web-1".into() };
        Record {
            name: format!("{policy}-{sequence}"),
            sequence,
            policy: prunella_core::policy::PolicyKey { namespace: "shop".to_owned(), name: policy.to_owned() },
            hash: String::new(),
            mode: Mode::Enforce,
            action: "DeletePod".to_owned(),
            scope: Scope::Successor,
            target: web.clone(),
            subject: web,
            created: NOW,
            sick_since: NOW,
            verify_by: None,
            rung: 1,
            attempt: 1,
            state,
            waiting: false,
            reason: None,
            finished: None,
        }
    }

    #[test]
    fn a_status_is_left_as_it_is_only_where_all_that_it_tells_is_the_same() {
        let quiet = quiet_after(|_| {});
        assert!(quiet.is_some());
        let finished = |outcome| State::Finished(outcome);
        assert_eq!(quiet_after(|all| all.ledger.records.push(record("other", 7, State::Running))), quiet);
        let ended = |outcome| quiet_after(|all| all.ledger.records.push(record("web", 1, finished(outcome))));
        let again = quiet_after(|all| {
            all.ledger.records.push(record("web", 1, finished(Outcome::Failed)));
            all.ledger.records.push(record("web", 2, finished(Outcome::Failed)));
        });
        let more = quiet_after(|all| all.decision.counts.selected += 1);
        let all_differ = [quiet, ended(Outcome::Failed), ended(Outcome::Succeeded), again, more];
        for (place, one) in all_differ.iter().enumerate() {
            assert!(one.is_some() && !all_differ[..place].contains(one), "{place}: {one:?}");
        }
    }

    #[test]
    fn a_status_is_built_anew_wherever_it_has_more_to_tell() {
        let series = Series { labels: [].into(), value: 1.0 };
        for (what, told) in [
            ("hold", quiet_after(|all| all.hold = Some(("shop".to_owned(), "sale".to_owned())))),
            ("in flight", quiet_after(|all| all.ledger.records.push(record("web", 1, State::Pending)))),
            ("unknown", quiet_after(|all| all.observation.breach = Answer::unknown(UnknownReason::Timeout, ""))),
            ("breach", quiet_after(|all| all.observation.breach = Answer::Answered(vec![series]))),
            ("never reached", quiet_after(|all| all.decision.memory.reached = None)),
            (
                "reaches nobody",
                quiet_after(|all| all.decision.memory.reached = Some(Reached { at: NOW, reach: Reach::NoSeries })),
            ),
            (
                "refused",
                quiet_after(|all| {
                    let refusal = Refusal { reason: Reason::Cooldown, until: None };
                    all.decision.refusals.push(Refused { target: "uid".into(), refusal, due: true });
                }),
            ),
        ] {
            assert_eq!(told, None, "{what}");
        }
    }

    #[test]
    fn what_is_written_already_is_never_written_again_and_what_is_urgent_never_waits() {
        let quiet = HealingPolicyStatus { observed_generation: Some(1), ..HealingPolicyStatus::default() };
        let other = HealingPolicyStatus { observed_generation: Some(2), ..HealingPolicyStatus::default() };
        let wait = Duration::from_secs(4);
        for (earlier, urgency, left, expected) in [
            (Some(&quiet), Urgency::InItsTurn, None, Due::Never),
            (Some(&quiet), Urgency::Now, Some(wait), Due::Never),
            (Some(&other), Urgency::InItsTurn, None, Due::Now),
            (Some(&other), Urgency::InItsTurn, Some(wait), Due::Later(wait)),
            (Some(&other), Urgency::Now, Some(wait), Due::Now),
            (None, Urgency::InItsTurn, None, Due::Now),
        ] {
            assert_eq!(due(earlier, &quiet, urgency, left), expected, "{urgency:?} {left:?}");
        }
    }

    #[test]
    fn what_becomes_of_other_peoples_pods_is_no_news() {
        let observed = |status: &str, message: &str| {
            let mut conditions = Vec::new();
            let now: Time = NOW.into();
            set_condition(&mut conditions, Observed, Some(status == "True"), "Word", message.to_owned(), None, &now);
            HealingPolicyStatus { conditions, ..HealingPolicyStatus::default() }
        };
        for (earlier, now, expected) in [
            (observed("True", "3 series"), observed("True", "4 series"), Due::Never),
            (observed("False", "timeout"), observed("False", "refused"), Due::Now),
            (observed("False", "timeout"), observed("True", "4 series"), Due::Now),
        ] {
            assert_eq!(due(Some(&earlier), &now, Urgency::InItsTurn, None), expected);
        }
    }
}
