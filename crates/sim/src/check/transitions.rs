//! The transition table, and what each transition claims.

use jiff::Timestamp;
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};

use super::Check;
use crate::api_server::ApiServer;
use crate::objects::ActionObject;
use crate::prometheus::Prometheus;

impl Check {
    /// A record was replaced.
    pub(crate) fn replaced(
        &mut self,
        now: Timestamp,
        decided: Timestamp,
        [before, after]: [&ActionObject; 2],
        api: &ApiServer,
        prometheus: &Prometheus,
    ) {
        let (from, to) = (before.state(), after.state());
        let name = &after.name;
        self.require(is_legal(before, after), now, "the transition table", || format!("{name}: {from:?} → {to:?}"));
        match (from, to) {
            (State::Pending, State::Running) => {
                self.check_alone(now, after, api);
                self.check_cooldown(now, after, api);
                self.check_ladder(now, after, api);
                self.check_still_breached(now, decided, after, prometheus);
            }
            (State::Running, State::Settling) => self.check_executed(now, after, api),
            (_, State::Finished(outcome)) if outcome.without_effect() => {
                self.tally.given_back += 1;
                let changed = self.effects.contains_key(name);
                self.require(!changed, now, "HP-7", || format!("{name} ends as {outcome:?} and has had effect"));
            }
            _ => {}
        }
    }

    /// HP-4: nobody else has the target or its owner in hand.
    fn check_alone(&mut self, now: Timestamp, action: &ActionObject, api: &ApiServer) {
        let begun = |other: &ActionObject| matches!(other.state(), State::Running | State::Settling | State::Verifying);
        let other = rivals(action, api).find(|other| begun(other) && !is_twin(action, other));
        self.require(other.is_none(), now, "HP-4", || {
            let other = other.map_or("", |other| &other.name);
            format!("{} begins on {} beside {other}", action.name, action.spec.target.uid)
        });
    }

    /// HP-14: what is said to be executed was, once, by this action.
    fn check_executed(&mut self, now: Timestamp, action: &ActionObject, api: &ApiServer) {
        let target = action.touches();
        let own = self.effects.get(&action.name).is_some_and(|changed| changed.contains(target));
        let others = self.deleted_by_others.contains(target) || rivals(action, api).any(|other| is_twin(action, other));
        self.require(own || others, now, "HP-14", || {
            format!("{} is executed, but did not change {target}", action.name)
        });
    }
}

/// The other actions on the same object or an owner of it.
fn rivals<'a>(action: &'a ActionObject, api: &'a ApiServer) -> impl Iterator<Item = &'a ActionObject> {
    let touches = |other: &ActionObject| {
        let (own, others) = (action.touches(), other.touches());
        own == others || *own == other.spec.subject.uid || action.spec.subject.uid == *others
    };
    api.actions.values().map(AsRef::as_ref).filter(move |other| other.name != action.name && touches(other))
}

/// Whether two policies reserved within one second: creation times do not tell which
/// was first, and what the names tell may be the other way round. Both may begin; the
/// uid precondition still lets one of them have effect.
pub(super) fn is_twin(action: &ActionObject, other: &ActionObject) -> bool {
    action.created == other.created && action.policy() != other.policy()
}

fn is_legal(before: &ActionObject, after: &ActionObject) -> bool {
    match (before.state(), after.state()) {
        (State::Pending | State::Running, State::Running)
        | (State::Running, State::Settling)
        | (State::Settling, State::Verifying)
        | (
            State::Running | State::Settling | State::Verifying,
            State::Finished(Outcome::Failed | Outcome::Inconclusive),
        )
        | (State::Verifying, State::Finished(Outcome::Succeeded)) => true,
        (State::Pending, State::Finished(outcome)) => outcome.without_effect(),
        (State::Running, State::Finished(Outcome::Expired)) => {
            // The newest try was refused by a disruption budget.
            before.status.blocked
                && after.status.outcome.is_some_and(|(_, reason)| {
                    use OutcomeReason::{BlockedByDisruptionBudget, NotExecuted, TooFewAvailable};
                    matches!(reason, BlockedByDisruptionBudget | NotExecuted | TooFewAvailable)
                })
        }
        _ => false,
    }
}
