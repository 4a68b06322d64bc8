//! Stage 1: the world around one action, read live. Needs the client for reads.

use futures::future::try_join4;
use kube::api::{ListParams, VersionMatch};
use kube::core::{DeserializeGuard, Selector};
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy, Mode};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, live, within};
use prunella_core::action::{Action, Scope};
use prunella_core::execute::{Facts, LiveField, LiveSubject, LiveTarget, PolicyStanding, World};
use prunella_core::ledger::{Overlap, Record, State};
use prunella_core::target::{NotHealable, Object, Target};

use super::ExecuteError;
use crate::context::Context;
use crate::ledger;

/// What has no outcome yet. The history may be a hundred times as much.
const IN_FLIGHT: &str = "status.outcome=";

/// An action and the world around it.
pub(super) struct Survey {
    /// The record, as it is now.
    pub(super) action: HealingAction,
    /// What it says.
    pub(super) facts: Facts,
    /// Everything else that the next step depends on; `None` when the action is over.
    pub(super) world: Option<World>,
    /// The version that was read of the object that the action writes.
    pub(super) version: Option<String>,
}

/// Looks at an action, of which some version was `seen`; `None` when it is gone.
///
/// All is read at once: what a dozen requests one after another take is time in which the
/// target stays sick. The world may be read before the record is, but never before the
/// record became what it is: when it is another by now than what was seen, the world is
/// read anew.
pub(super) async fn survey(seen: &HealingAction, context: &Context) -> Result<Option<Survey>, ExecuteError> {
    let facts = ledger::facts(seen)?;
    let read = async {
        match facts.state {
            State::Finished(_) => None,
            _ => Some(world(seen, &facts, context).await),
        }
    };
    let (live, read) = tokio::join!(action(seen, context), read);
    let Some(action) = live.map_err(ExecuteError::Survey)? else { return Ok(None) };
    let facts = ledger::facts(&action)?;
    if matches!(facts.state, State::Finished(_)) {
        return Ok(Some(Survey { action, facts, world: None, version: None }));
    }
    let read = match read {
        Some(read) if action.resource_version() == seen.resource_version() => read,
        _ => world(&action, &facts, context).await,
    };
    let (world, version) = read.map_err(ExecuteError::Survey)?;
    Ok(Some(Survey { action, facts, world: Some(world), version }))
}

/// The action itself; `None` when it is gone.
async fn action(action: &HealingAction, context: &Context) -> Result<Option<HealingAction>, ClusterError> {
    let api: Api<HealingAction> = Api::namespaced(context.reads.clone(), &action.namespace().unwrap_or_default());
    let live = within(REQUEST_DEADLINE, api.get_opt(&action.name_any())).await?;
    Ok(live.filter(|live| live.uid() == action.uid()))
}

/// Everything but the action, and the version that was read of the object that it writes.
async fn world(
    action: &HealingAction,
    facts: &Facts,
    context: &Context,
) -> Result<(World, Option<String>), ClusterError> {
    let namespace = action.namespace().unwrap_or_default();
    let key = ledger::policy_of(action);
    let target = ledger::object(&action.spec.target);
    let subject = ledger::object(&action.spec.subject);
    let scope = facts.action.scope();
    // Once executed, the target is gone for good or going, or it is one of many: its
    // workload is what counts.
    let target_counts = match facts.state {
        State::Pending | State::Running => true,
        State::Settling => !scope.is_workload(),
        State::Verifying | State::Finished(_) => false,
    };
    let subject_counts = scope.is_workload() || !matches!(facts.state, State::Pending | State::Running);
    let is_own_subject = target.uid == subject.uid;
    let target_read = async {
        if target_counts && !(is_own_subject && subject_counts) {
            live::target(&context.reads, &namespace, &target).await
        } else {
            Ok(None)
        }
    };
    let subject_read = async {
        if subject_counts {
            live::workload(&context.reads, &namespace, &subject, &facts.action, &facts.uid).await
        } else {
            Ok(live::Workload::of_no_concern(LiveSubject::Restored))
        }
    };
    let overlap = async {
        match facts.state {
            State::Pending | State::Running => overlap(action, &namespace, context).await,
            _ => Ok(Overlap::None),
        }
    };
    let policy = policy(action, &namespace, context);
    let reads = try_join4(policy, target_read, subject_read, overlap);
    let (policy, found, workload, overlap) = Box::pin(reads).await?;

    let standing = match &policy {
        Some(policy) if policy.spec.suspend || context.is_held(&namespace) => PolicyStanding::Suspended,
        Some(policy) if policy.spec.mode == Mode::Enforce => PolicyStanding::Enforces,
        Some(_) => PolicyStanding::DryRun,
        None => PolicyStanding::Gone,
    };
    let selector = policy.map(|policy| Selector::try_from(policy.spec.target.selector));
    let chosen_by = selector.as_ref().and_then(|selector| selector.as_ref().ok());
    let known = known(&namespace, &target, chosen_by, context);
    let found = if is_own_subject && subject_counts { workload.found } else { found };
    let target_stands = match found.filter(|_| target_counts) {
        None => LiveTarget::Gone,
        // A selector that is none chooses nothing.
        Some(_) if matches!(selector, Some(Err(_))) => LiveTarget::NotSelected,
        Some(found) => match found.standing(chosen_by) {
            LiveTarget::Present => marked(known.as_ref(), scope, context),
            other => other,
        },
    };
    // Who was not ready before is not what this action waits for: with one action at a time
    // the others are healed after it.
    let live_subject = match (workload.subject, action.creation_timestamp()) {
        (LiveSubject::NotRestored, Some(removed)) if scope == Scope::Successor => {
            let replaced = context.world.replaced(&namespace, &subject.uid, &target.uid, removed.0);
            let is_restored = replaced.replacements > 0 && workload.missing <= replaced.unready_before;
            if is_restored { LiveSubject::Restored } else { LiveSubject::NotRestored }
        }
        (subject, _) => subject,
    };
    let world = World {
        policy: standing,
        target: target_stands,
        subject: live_subject,
        field: if taken_over(facts, known.as_ref()) { LiveField::Disowned } else { workload.field },
        progress_deadline: workload.progress_deadline,
        overlap,
        firing: context.board.is_firing(&key, &action.spec.policy.uid, &target.uid, context.now()),
        verdict: context.board.verdict(&key, &action.name_any()),
    };
    Ok((world, workload.version))
}

/// The target as the caches know it.
fn known(namespace: &str, target: &Object, chosen_by: Option<&Selector>, context: &Context) -> Option<Target> {
    let now = context.now();
    let known = match (target.kind.as_str(), chosen_by) {
        ("Pod", _) => context.world.pod(namespace, &target.name, chosen_by, now),
        (kind, Some(selector)) => {
            let all = context.world.workloads(namespace, kind, selector, true, now);
            all.into_iter().find(|one| one.object.name == target.name)
        }
        (_, None) => None,
    };
    known.filter(|known| known.object.uid == target.uid)
}

/// What is not written on the pod itself, or not readable from it: its owners' word, its
/// node, and whom a change of its workload would touch. These are told by the caches, and
/// by the pod's own when it is known.
fn marked(known: Option<&Target>, scope: Scope, context: &Context) -> LiveTarget {
    let Some(known) = known else { return LiveTarget::Present };
    let others_touched = known.workload.as_ref().is_some_and(|workload| !workload.all_selected);
    match known.not_healable {
        _ if known.opted_out.is_some_and(|opt_out| opt_out.holds(context.now())) => LiveTarget::OptedOut,
        Some(why @ NotHealable::NodeNotReady) => LiveTarget::NotHealable(why),
        _ if scope.is_workload() && others_touched => LiveTarget::NotHealable(NotHealable::PodsNotSelected),
        _ => LiveTarget::Present,
    }
}

/// Whether a number of replicas that was nobody's when its change was decided belongs to
/// an autoscaler by now, and the change is not made yet.
fn taken_over(facts: &Facts, known: Option<&Target>) -> bool {
    let own = matches!(facts.action, Action::Scale { autoscaler: None, .. });
    let owned = known.and_then(|known| known.workload.as_ref()).is_some_and(|workload| workload.autoscaler.is_some());
    own && owned && matches!(facts.state, State::Pending | State::Running)
}

/// The policy that reserved the action, unless it is gone, going, or a namesake.
async fn policy(
    action: &HealingAction,
    namespace: &str,
    context: &Context,
) -> Result<Option<HealingPolicy>, ClusterError> {
    let api: Api<HealingPolicy> = Api::namespaced(context.reads.clone(), namespace);
    let policy = within(REQUEST_DEADLINE, api.get_opt(&action.spec.policy.name)).await?;
    Ok(policy.filter(|policy| {
        policy.uid().as_deref() == Some(action.spec.policy.uid.as_str()) && policy.metadata.deletion_timestamp.is_none()
    }))
}

/// How other actions stand in this one's way. Asked of the API server and not of the book:
/// another leader's reservation must not be missed.
///
/// What is listed is at least as new as this record's own last change. So of two actions
/// that are both begun, one at least sees the other: whichever changed last. To ask for the
/// newest there is would prove no more, and keeps waiting for changes of other kinds.
async fn overlap(action: &HealingAction, namespace: &str, context: &Context) -> Result<Overlap, ClusterError> {
    let Ok(own) = ledger::record(action) else { return Ok(Overlap::Ahead) };
    let api: Api<DeserializeGuard<HealingAction>> = Api::namespaced(context.reads.clone(), namespace);
    let since_own_change = ListParams {
        resource_version: action.resource_version(),
        version_match: Some(VersionMatch::NotOlderThan),
        ..ListParams::default().fields(IN_FLIGHT)
    };
    let listed = within(REQUEST_DEADLINE, api.list(&since_own_change)).await?;
    let all = listed.items.iter().filter_map(|one| one.0.as_ref().ok());
    let in_flight: Vec<Record> = all.filter_map(|one| ledger::record(one).ok()).collect();
    // One that lacks this very action, which is in flight or was a moment ago, may lack others.
    if in_flight.iter().any(|one| one.name == own.name) {
        Ok(own.overlap(&in_flight))
    } else {
        Err(ClusterError::NotListed(own.name))
    }
}
