//! A status says what is known, in the words of the records.

mod answers;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kube::core::Selector;
use prunella_api::TargetKind;
use prunella_core::action::{ActionScope, ActionSpec, PodRemoval, ProtectedPod, Removal};
use prunella_core::availability::{MinAvailable, Shortage};
use prunella_core::decide::{BreachPhase, BusyWith, Counts, Matching, Memory, Reach, Refused, Timer};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, Record};
use prunella_core::observation::{Answer, Labels, UnknownReason};
use prunella_core::policy::{
    LadderStep, MaxUnhealthy, NoDataRule, Policy, PolicyKey, PolicyLimits, PolicyMode, QueryTraits, SeriesMatch,
    StormRule, SubjectCap,
};
use prunella_core::refusal::Refusal;
use prunella_core::target::{NotHealable, Object, Uid};
use prunella_signals::ValueUnit;
use serde_json::json;

use super::conditions::and_others;
use super::*;
use crate::report::wording;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A policy with one pod `web-1`, and what is known about it.
struct Case {
    compiled: CompiledPolicy,
    decision: Decision,
    ledger: Ledger,
    hold: Option<Hold>,
    budget: Option<String>,
    breach: Answer,
    sparse: Option<String>,
}

impl Case {
    /// The pod is firing or pending, and this guardrail refuses.
    fn refused(phase: BreachPhase, reason: Reason) -> Self {
        let pod = pod();
        let refusal = Refusal::until(reason, NOW);
        let memory =
            Memory { timers: [(pod.uid.clone(), Timer::restored(phase, NOW, 7.0))].into(), ..Memory::default() };
        let decision = Decision {
            at: NOW,
            memory,
            reservations: Vec::new(),
            verdicts: Vec::new(),
            refusals: vec![Refused { target: pod.uid.clone(), refusal, due: phase == BreachPhase::Firing }],
            skipped: BTreeMap::new(),
            transitions: Vec::new(),
            storm: None,
            busy: BTreeMap::new(),
            below_floor: BTreeMap::new(),
            too_young: BTreeMap::new(),
            below_min_age: BTreeMap::new(),
            removals: BTreeMap::new(),
            waiting: BTreeSet::new(),
            questions: Vec::new(),
            matching: Matching::default(),
            names: [(pod.uid, pod.name)].into(),
            owners: BTreeMap::new(),
            counts: Counts { selected: 1, ..Counts::default() },
            next_check: SignedDuration::from_secs(30),
        };
        Self {
            compiled: compiled(),
            decision,
            ledger: Ledger::default(),
            hold: None,
            budget: None,
            breach: Answer::Answered(Vec::new()),
            sparse: None,
        }
    }

    /// The policy's newest action is in this state.
    fn with_action(mut self, state: State, reason: Option<OutcomeReason>) -> Self {
        self.ledger.records.push(Record {
            name: "web-1".to_owned(),
            sequence: 1,
            policy: self.compiled.policy.key.clone(),
            digest: String::new(),
            mode: PolicyMode::Enforce,
            action: "DeletePod".to_owned(),
            scope: ActionScope::Replacement,
            target: pod(),
            subject: Object::known("Deployment", "web", "deployment"),
            created: NOW,
            executed_after: None,
            unhealthy_since: NOW,
            breached: Labels::new(),
            verify_by: (state == State::Verifying).then_some(NOW),
            step_name: "evict".to_owned(),
            step: 1,
            attempt: 1,
            state,
            waiting: false,
            reason,
            finished: None,
        });
        self
    }

    fn held(mut self) -> Self {
        self.hold = Some(Hold::Annotation { namespace: "shop".to_owned(), why: "a migration".to_owned() });
        self
    }

    fn status(&self) -> HealingPolicyStatus {
        let policy = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "condition": {"promql": {"query": "up == 0"}},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                "steps": [{"name": "evict", "action": {"deletePod": {}}}],
            },
        });
        let inputs = StatusInputs {
            policy: &serde_json::from_value(policy).unwrap(),
            compiled: &self.compiled,
            observation: &Observation {
                at: NOW,
                breach: self.breach.clone(),
                evidence: None,
                history: None,
                freshness: BTreeMap::new(),
                operands: None,
            },
            decision: &self.decision,
            ledger: &self.ledger,
            hold: self.hold.clone(),
            budget: self.budget.clone(),
            sparse: self.sparse.clone(),
        };
        inputs.status(None, &inputs.blocked(), &Time(NOW))
    }

    /// The status and the reason of a condition.
    fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.status().conditions;
        conditions.into_iter().find(|one| one.type_ == kind).map(|one| (one.status, one.reason)).unwrap_or_default()
    }

    fn message(&self, kind: &str) -> String {
        let conditions = self.status().conditions;
        conditions.into_iter().find(|one| one.type_ == kind).map(|one| one.message).unwrap_or_default()
    }
}

fn pod() -> Object {
    Object::known("Pod", "web-1", "pod")
}

fn compiled() -> CompiledPolicy {
    let minutes = SignedDuration::from_mins;
    let policy = Policy {
        key: PolicyKey { namespace: "shop".to_owned(), name: "web".to_owned() },
        mode: PolicyMode::Enforce,
        interval: SignedDuration::from_secs(30),
        breach_for: minutes(1),
        clear_for: minutes(1),
        on_no_data: NoDataRule::Hold,
        series: SeriesMatch::Label("pod".to_owned()),
        namespace_label: "namespace".to_owned(),
        pinned: true,
        query: QueryTraits::default(),
        min_age: minutes(1),
        signal_window: minutes(1),
        longest_gap: minutes(1),
        suspended: false,
        reset_at: None,
        digest: "digest".to_owned(),
        steps: vec![LadderStep {
            name: "evict".to_owned(),
            action: ActionSpec::DeletePod(PodRemoval {
                removal: Removal::Evict,
                grace: None,
                protected: ProtectedPod::Skip,
            }),
            attempts: 1,
            verify_within: minutes(2),
            ready_within: None,
        }],
        limits: PolicyLimits {
            cooldown: minutes(5),
            max_actions: 3,
            window: minutes(60),
            max_concurrent: 1,
            ladder_reset: minutes(60),
            subject_cap: SubjectCap { count: 5, window: minutes(60) },
            min_available: MinAvailable::Percent(75),
            max_unhealthy: MaxUnhealthy::Percent(50),
            on_storm: StormRule::Probe,
            storm_cooldown: minutes(5),
        },
    };
    CompiledPolicy {
        policy,
        selector: Selector::default(),
        kind: TargetKind::Pod,
        system_critical: false,
        query: "up == 0".to_owned(),
        unit: ValueUnit::Plain,
        restriction: None,
        warnings: Vec::new(),
    }
}

#[test]
fn the_newest_action_says_how_and_why_it_ended() {
    let case = || Case::refused(BreachPhase::Firing, Reason::Cooldown);
    let running = case().with_action(State::Running, None).status().last_action.unwrap();
    assert_eq!((running.outcome, running.outcome_reason, running.message), (None, None, None));

    let failed = State::Finished(Outcome::Failed);
    let ended = case().with_action(failed, Some(OutcomeReason::NotReady)).status().last_action.unwrap();
    assert_eq!((ended.outcome.as_deref(), ended.outcome_reason.as_deref()), (Some("Failed"), Some("NotReady")));
    let message = "Failed: the new pods were not ready at the end of verify.within";
    assert_eq!(ended.message.as_deref(), Some(message));
}

#[test]
fn a_guardrail_holds_back_a_firing_target_and_not_a_pending_one() {
    for (phase, by) in [(BreachPhase::Firing, Some("OptedOut")), (BreachPhase::Pending, None)] {
        let unhealthy = Case::refused(phase, Reason::OptedOut).status().unhealthy.pop().unwrap();
        assert_eq!(unhealthy.blocked_by.as_deref(), by, "{phase:?}");
        assert_eq!(unhealthy.blocked_until.is_some(), by.is_some(), "{phase:?}");
    }
}

#[test]
fn a_running_action_says_what_it_waits_for() {
    let running = |reason| Case::refused(BreachPhase::Firing, reason).with_action(State::Running, None);
    let mut suspended = running(Reason::Suspended);
    suspended.compiled.policy.suspended = true;
    let waits = "it waits, at most until 10m after its start";
    for (case, parts) in [
        (running(Reason::TargetBusy), vec!["Pod/web-1: running"]),
        (running(Reason::TargetBusy).held(), vec![waits, "prunella.dev/hold on namespace shop", "a migration"]),
        (suspended, vec![waits, "spec.suspend is true"]),
        (running(Reason::OptedOut), vec![waits, "prunella.dev/heal"]),
        (running(Reason::NotHealable(NotHealable::NodeNotReady)), vec![waits, "its node is not ready"]),
        (running(Reason::NotHealable(NotHealable::Starting)), vec![waits, "may still be starting"]),
        (
            Case::refused(BreachPhase::Firing, Reason::TargetBusy).with_action(State::Verifying, None),
            vec!["checking until 1970-01-01T00:00:00Z whether it helped"],
        ),
    ] {
        let message = case.message("Healing");
        assert!(parts.iter().all(|part| message.contains(part)), "expected {parts:?}: {message}");
        assert_eq!(message.contains(waits), parts.contains(&waits), "{message}");
    }
}

#[test]
fn a_budget_that_allows_no_eviction_is_named_with_its_numbers() {
    let mut case = Case::refused(BreachPhase::Firing, Reason::TargetBusy).with_action(State::Running, None);
    case.decision.refusals.clear();
    case.ledger.records[0].waiting = true;
    case.budget = Some("The disruption budget web needs 2 healthy pods and has 2 currently".to_owned());
    let message = case.message("Blocked");
    for words in ["1 action waits", "budget web needs 2 healthy pods and has 2 currently. ", "AlwaysAllow"] {
        assert!(message.contains(words), "expected {words}: {message}");
    }
}

#[test]
fn a_silent_watch_holds_and_is_named() {
    let mut case = Case::refused(BreachPhase::Firing, Reason::Held);
    case.hold = Some(Hold::SilentWatch { resource: "pods".to_owned() });
    let silent = "the API server has not answered the watch of pods for 2 minutes";
    for condition in ["Ready", "Blocked"] {
        let message = case.message(condition);
        assert!(message.contains(silent) && !message.contains("prunella.dev/hold"), "{condition}: {message}");
    }
}

#[test]
fn a_source_that_somebody_must_change_makes_the_policy_not_ready() {
    for (reason, ready) in [
        (UnknownReason::SourceNotReady, "False"),
        (UnknownReason::Unauthorized, "False"),
        (UnknownReason::Malformed, "False"),
        (UnknownReason::Unreachable, "True"),
        (UnknownReason::Timeout, "True"),
        (UnknownReason::PartialAnswer, "True"),
    ] {
        let mut case = Case::refused(BreachPhase::Pending, Reason::ObservationUnknown);
        case.breach = Answer::unknown(reason, "no org id");
        let conditions = case.status().conditions;
        let found = conditions.iter().find(|one| one.type_ == "Ready").unwrap();
        assert_eq!(found.status, ready, "{reason}");
        assert_eq!(found.message.contains("no org id"), ready == "False", "{}", found.message);
    }
}

#[test]
fn samples_further_apart_than_the_lookback_are_named() {
    let mut case = Case::refused(BreachPhase::Pending, Reason::NotYetFor);
    let warning = "samples are 60 s apart, lookback is 37.5 s: set scrapeInterval on the source";
    case.sparse = Some(warning.to_owned());
    assert!(case.message("Ready").contains(warning), "{}", case.message("Ready"));
}

#[test]
fn a_namespace_in_another_label_is_answered_with_all_fields_to_set() {
    let policy = Policy { pinned: false, ..compiled().policy };
    for (labels, fix) in [
        (
            &[("kubernetes_namespace", "shop"), ("kubernetes_pod_name", "web-1"), ("job", "pods")][..],
            "set target.namespaceLabel to kubernetes_namespace and target.match.label to kubernetes_pod_name (the source must list kubernetes_namespace",
        ),
        (
            &[("namespace", "monitoring"), ("pod", "ksm"), ("exported_namespace", "shop"), ("exported_pod", "web-1")],
            "set target.namespaceLabel to exported_namespace and target.match.label to exported_pod",
        ),
        (&[("namespace", "shop"), ("exported_pod", "web-1")], "set target.match.label to exported_pod"),
        (
            &[("namespace", "shop"), ("job", "pods")],
            "it has no label pod: if the metric has that label, keep it in the query",
        ),
        (&[("namespace", "bank"), ("pod", "web-1")], "it belongs to the namespace bank"),
        (&[("pod", "web-1")], "add namespace=\"shop\" to every selector"),
    ] {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        let (reason, message) = wording::unreached(&policy, &Reach::NoTarget(labels)).unwrap();
        assert!(reason == "NoSeriesMatchesTargets" && message.contains(fix), "expected {fix}: {message}");
    }
}

#[test]
fn a_pod_that_may_be_the_exporters_is_said_to_be() {
    let policy = Policy { series: SeriesMatch::Label("deployment".to_owned()), ..compiled().policy };
    for (labels, fix) in [
        (
            &[("namespace", "shop"), ("pod", "kube-state-metrics-1"), ("horizontalpodautoscaler", "web")][..],
            "If kube-state-metrics-1 is the exporter, set target.match.label to the label that names the target, for example horizontalpodautoscaler",
        ),
        (&[("namespace", "shop"), ("pod", "web-1")], "target.selector does not select its owner. If web-1 is the"),
    ] {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        let (_, message) = wording::unreached(&policy, &Reach::NoTarget(labels)).unwrap();
        assert!(message.contains(fix), "expected {fix}: {message}");
    }
}

#[test]
fn the_policy_says_that_it_is_a_dry_run() {
    let mut case = Case::refused(BreachPhase::Firing, Reason::AlreadyRecorded).held();
    let note = "dry run: actions are only recorded";
    assert!(!case.message("Ready").contains(note));
    case.compiled.policy.mode = PolicyMode::DryRun;
    let message = case.message("Ready");
    assert!(message.contains(note) && message.contains("prunella.dev/hold"), "{message}");
}

#[test]
fn reasons_with_the_same_word_are_counted_together() {
    let blocked = BTreeMap::from([
        (Reason::NotHealable(NotHealable::NoController), 2),
        (Reason::NotHealable(NotHealable::NodeNotReady), 1),
        (Reason::Cooldown, 4),
    ]);
    let words: Vec<(String, i32)> = by_word(&blocked).into_iter().map(|one| (one.reason, one.count)).collect();
    assert_eq!(words, [("NotHealable".to_owned(), 3), ("Cooldown".to_owned(), 4)]);
    assert_eq!(and_others(&blocked, "NotHealable"), "; other targets: 4 held back by Cooldown");
    assert_eq!(and_others(&BTreeMap::from([(Reason::Cooldown, 4)]), "Cooldown"), "");
}

/// The pods `web-1`, `web-2`, … of which each has one of these refusals.
fn several(reasons: &[Reason]) -> Case {
    let mut case = Case::refused(BreachPhase::Firing, reasons[0]);
    case.decision.refusals.clear();
    for (number, reason) in (1..).zip(reasons) {
        let uid = Uid::from(format!("pod-{number}"));
        case.decision.memory.timers.insert(uid.clone(), Timer::restored(BreachPhase::Firing, NOW, 7.0));
        case.decision.names.insert(uid.clone(), format!("web-{number}"));
        case.decision.refusals.push(Refused { target: uid, refusal: Refusal::open(*reason), due: true });
    }
    case
}

#[test]
fn blocked_counts_all_targets_that_must_not_be_healed_and_lists_the_reasons() {
    let not = Reason::NotHealable;
    let case = several(&[not(NotHealable::NodeNotReady), not(NotHealable::StaticPod), not(NotHealable::StaticPod)]);
    let message = case.message("Blocked");
    for part in ["3 targets: ", "2 StaticPod (", "1 NodeNotReady ("] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn in_a_storm_blocked_says_so_first() {
    let status = several(&[Reason::Cooldown, Reason::Storm]).status();
    let blocked = status.conditions.iter().find(|one| one.type_ == "Blocked").unwrap();
    assert_eq!(blocked.reason, "Storm");
    assert!(blocked.message.ends_with("; other targets: 1 held back by Cooldown"), "{}", blocked.message);
}

#[test]
fn a_hold_is_shown_with_its_words_as_soon_as_a_target_is_pending() {
    let mut case = Case::refused(BreachPhase::Pending, Reason::Held).held();
    case.decision.refusals[0].due = true;
    let message = case.message("Blocked");
    assert!(message.contains("a migration") && message.contains("namespace shop"), "{message}");
    let unhealthy = case.status().unhealthy;
    assert_eq!((unhealthy[0].state.as_str(), unhealthy[0].blocked_by.as_deref()), ("Pending", Some("Held")));
}

#[test]
fn a_busy_target_names_the_action_and_its_policy() {
    let mut case = Case::refused(BreachPhase::Firing, Reason::TargetBusy);
    let with = BusyWith::Action {
        name: "pods-abc-1".to_owned(),
        action: "DeletePod".to_owned(),
        touches: pod(),
        policy: "pods".to_owned(),
    };
    case.decision.busy.insert(pod().uid, with);
    let message = case.message("Blocked");
    assert!(message.contains("HealingAction pods-abc-1 (DeletePod on Pod/web-1) of policy pods"), "{message}");
    case.decision.busy.insert(pod().uid, BusyWith::Removal { policy: "pods".to_owned() });
    assert!(case.message("Blocked").contains("policy pods, which is about to remove a single pod"));
}

#[test]
fn a_started_action_says_that_it_waits_for_ready_pods() {
    let mut case = Case::refused(BreachPhase::Firing, Reason::TargetBusy).with_action(State::Running, None);
    case.decision.below_floor.insert(pod().uid, Shortage { required: 2, wanted: 3 });
    let message = case.message("Healing");
    assert!(message.contains("it waits: ") && message.contains("fewer than 2 of the workload's 3 pods"), "{message}");
}
