//! The records of actions: how many, in which order, for which breach, and how their state changes.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::ledger::{ActionFacts, Ledger, uid};
use super::within;
use crate::api_server::AuditEntry;

/// How many records a policy may create within a minute, if its `maxActions` is not higher. The numbers are
/// those of docs/design/guardrails.md, and not read from the code that they judge.
const RECORDS_AT_LEAST: usize = 10;
const RECORDS_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How old the news may be that led to an action: two scrapes, an evaluation, and the answers.
const NEWS: SignedDuration = SignedDuration::from_secs(60);
/// How long before its request a process may have read the policy.
const READ: SignedDuration = SignedDuration::from_secs(15);
/// Times are stored in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl Ledger {
    pub(super) fn check_record(&mut self, entry: &AuditEntry) {
        let Some(after) = &entry.after else {
            let open = self.actions.get(&entry.name).is_some_and(|action| !action.is_finished());
            self.require(!open, entry.at, "a record in flight stays", || entry.name.clone());
            return;
        };
        let text = |pointer: &str| after.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let state = state(after);
        let is_blocked = after.pointer("/status/blockedBy").is_some();
        if let Some(action) = self.actions.get_mut(&entry.name) {
            let before = action.clone();
            (action.state, action.is_blocked) = (state, is_blocked);
            let after = action.clone();
            self.check_transition(entry, &before, &after);
            return;
        }
        let action = ActionFacts {
            name: entry.name.clone(),
            uid: uid(entry),
            policy: text("/spec/policy/name"),
            kind: text("/spec/actionName"),
            target: text("/spec/target/uid"),
            subject: text("/spec/subject/uid"),
            sequence: after.pointer("/spec/sequence").and_then(Value::as_i64).unwrap_or(0),
            created: entry.at,
            state,
            is_blocked,
            effects: Vec::new(),
        };
        self.check_created(entry, &action);
        self.actions.insert(entry.name.clone(), action);
    }

    fn check_created(&mut self, entry: &AuditEntry, action: &ActionFacts) {
        let (at, name) = (entry.at, &action.name);
        let Some(policy) = self.policies.get(&action.policy).cloned() else { return };
        let own: Vec<_> = self.actions.values().filter(|other| other.policy == action.policy).cloned().collect();
        let lately = |other: &&ActionFacts, window: SignedDuration| other.created.duration_until(at) < window;
        let counted =
            own.iter().filter(|other| lately(other, policy.window - SECOND) && !other.is_without_effect()).count();
        self.require(counted < policy.max_actions, at, "HP-1", || {
            format!("{name}: {counted} of {} were spent within {:#}", policy.max_actions, policy.window)
        });
        let recorded = own.iter().filter(|other| lately(other, RECORDS_WINDOW - SECOND)).count();
        let most = policy.max_actions.max(RECORDS_AT_LEAST);
        self.require(recorded < most, at, "HP-9", || format!("{name}: {recorded} records within a minute"));
        // What waits for a disruption budget yields its slot.
        let in_flight = own.iter().filter(|other| !other.is_finished() && !other.is_blocked).count();
        self.require(in_flight < policy.max_concurrent, at, "maxConcurrent", || {
            format!("{name}: {in_flight} of {} are in flight", policy.max_concurrent)
        });
        let highest = self.highest.insert(action.policy.clone(), action.sequence).unwrap_or(0);
        self.require(action.sequence > highest, at, "one sequence", || format!("{name} comes after {highest}"));
        let sent = entry.by.as_ref().map_or(at, |by| by.sent);
        self.check_breach(sent, action, policy.breach_for);
        let since = policy.suspended.filter(|since| since.duration_until(sent) > NEWS);
        self.require(since.is_none(), at, "HP-3", || format!("{name} is recorded while its policy is suspended"));
    }

    /// HP-2: the target leaked for at least `for`, up to news that are fresh.
    fn check_breach(&mut self, sent: Timestamp, action: &ActionFacts, breach_for: SignedDuration) {
        let leaks = self.sicknesses.iter().filter(|one| one.uid == action.target);
        let since = leaks.clone().find(|one| within(sent, one.since, one.until, NEWS)).map(|one| one.since);
        let was_ever = leaks.count() > 0;
        let name = &action.name;
        self.require(was_ever, sent, "the innocent", || format!("{name}: {} has never leaked", action.target));
        let held = since.map(|since| since.duration_until(sent));
        let enough = !was_ever || held.is_some_and(|held| held + SECOND >= breach_for);
        self.require(enough, sent, "HP-2", || match held {
            Some(held) => format!("{name}: {} had leaked for {held:#}, not {breach_for:#}", action.target),
            None => format!("{name}: {} has not leaked for {NEWS:#}", action.target),
        });
    }

    fn check_transition(&mut self, entry: &AuditEntry, before: &ActionFacts, after: &ActionFacts) {
        let (from, to, name) = (&before.state, &after.state, &after.name);
        let legal = from == to
            || match from.as_str() {
                "Pending" => to == "Running" || after.is_without_effect(),
                "Running" => matches!(to.as_str(), "Settling" | "Failed" | "Inconclusive" | "Expired"),
                "Settling" => matches!(to.as_str(), "Verifying" | "Failed" | "Inconclusive"),
                "Verifying" => matches!(to.as_str(), "Succeeded" | "Failed" | "Inconclusive"),
                _ => false,
            };
        self.require(legal, entry.at, "the transition table", || format!("{name}: {from} → {to}"));
        if from != to && after.is_without_effect() {
            self.require(after.effects.is_empty(), entry.at, "HP-7", || format!("{name} is {to}, and had effect"));
        }
        if from != to && to == "Running" {
            self.check_cooldown(entry, after);
            self.check_condition(entry, after);
        }
        if from != to && to == "Settling" {
            self.check_executed(entry, after);
        }
    }

    /// HP-2: the breach that it starts for is of the condition that the policy has now.
    fn check_condition(&mut self, entry: &AuditEntry, action: &ActionFacts) {
        let Some(policy) = self.policies.get(&action.policy).cloned() else { return };
        let sent = entry.by.as_ref().map_or(entry.at, |by| by.sent);
        let held = policy.edited.duration_until(action.created);
        let holds = held + SECOND >= policy.breach_for || policy.edited.duration_until(sent) < READ;
        self.require(holds, entry.at, "HP-2", || {
            format!(
                "{} starts for a condition that had been there for {held:#}, not {:#}",
                action.name, policy.breach_for
            )
        });
    }

    /// HP-5: what was begun on the same pod, or on its whole workload, is long enough ago. Of two that were
    /// recorded within one second none is the first.
    fn check_cooldown(&mut self, entry: &AuditEntry, action: &ActionFacts) {
        let Some(cooldown) = self.policies.get(&action.policy).map(|policy| policy.cooldown) else { return };
        let counts = |other: &&ActionFacts| {
            let same = other.target == action.target || other.is_on_whole() && other.subject == action.subject;
            let earlier = other.created.as_second() < action.created.as_second();
            same && earlier && other.name != action.name && !other.is_without_effect() && other.state != "Pending"
        };
        let last = self.actions.values().filter(counts).max_by_key(|other| other.created).cloned();
        let waited = last.as_ref().map(|last| last.created.duration_until(action.created));
        let kept = waited.is_none_or(|waited| waited + SECOND >= cooldown);
        self.require(kept, entry.at, "HP-5", || {
            let last = last.map(|last| last.name).unwrap_or_default();
            format!("{} begins {:#} after {last}; cooldown is {cooldown:#}", action.name, waited.unwrap_or_default())
        });
    }

    /// HP-14: what is said to be executed was, by this action, or by others.
    fn check_executed(&mut self, entry: &AuditEntry, action: &ActionFacts) {
        let gone = self.pods.get(&action.target).is_none_or(|pod| pod.is_leaving);
        let done = !action.effects.is_empty() || !action.is_on_whole() && gone;
        self.require(done, entry.at, "HP-14", || format!("{} is executed, and changed nothing", action.name));
    }
}

/// The state that a record is in.
fn state(action: &Value) -> String {
    let has = |field: &str| action.pointer(&format!("/status/{field}")).is_some();
    match action.pointer("/status/outcome").and_then(Value::as_str) {
        Some(outcome) => outcome.to_owned(),
        None if has("settledAt") => "Verifying".to_owned(),
        None if has("executedAt") => "Settling".to_owned(),
        None if has("startedAt") => "Running".to_owned(),
        None => "Pending".to_owned(),
    }
}
