//! Stage 1: the world around one action, read live. Needs the client for reads.

use kube::api::ListParams;
use kube::core::{DeserializeGuard, Selector};
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy, Mode};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, live, within};
use prunella_core::action::{Action, Scope};
use prunella_core::execute::{Facts, LiveField, LiveSubject, LiveTarget, PolicyStanding, World};
use prunella_core::ledger::State;
use prunella_core::target::{NotHealable, Object, Target};

use crate::context::Context;
use crate::ledger;

/// The action itself; `None` when it is gone.
pub(super) async fn action(action: &HealingAction, context: &Context) -> Result<Option<HealingAction>, ClusterError> {
    let api: Api<HealingAction> = Api::namespaced(context.reads.clone(), &action.namespace().unwrap_or_default());
    let live = within(REQUEST_DEADLINE, api.get_opt(&action.name_any())).await?;
    Ok(live.filter(|live| live.uid() == action.uid()))
}

/// Everything the next step depends on, and the version that was read of the object that
/// the action writes.
pub(super) async fn world(
    action: &HealingAction,
    facts: &Facts,
    context: &Context,
) -> Result<(World, Option<String>), ClusterError> {
    let namespace = action.namespace().unwrap_or_default();
    let key = ledger::policy_of(action);
    let target = ledger::object(&action.spec.target);
    let policy = policy(action, &namespace, context).await?;
    let standing = match &policy {
        Some(policy) if policy.spec.suspend || context.is_held(&namespace) => PolicyStanding::Suspended,
        Some(policy) if policy.spec.mode == Mode::Enforce => PolicyStanding::Enforces,
        Some(_) => PolicyStanding::DryRun,
        None => PolicyStanding::Gone,
    };
    let selector = policy.map(|policy| Selector::try_from(policy.spec.target.selector));
    let chosen_by = selector.as_ref().and_then(|selector| selector.as_ref().ok());
    let known = known(&namespace, &target, chosen_by, context);
    let scope = facts.action.scope();
    let live_target = match facts.state {
        // Once executed, the target is gone for good or going, or it is one of many: its
        // workload is what counts.
        State::Verifying | State::Finished(_) => LiveTarget::Gone,
        State::Settling if scope.is_workload() => LiveTarget::Gone,
        // A selector that is none chooses nothing.
        _ if matches!(selector, Some(Err(_))) => LiveTarget::NotSelected,
        _ => match live::target(&context.reads, &namespace, &target, chosen_by).await? {
            LiveTarget::Present => marked(known.as_ref(), scope, context),
            other => other,
        },
    };
    let live::Workload { subject, field, progress_deadline, version } = match facts.state {
        State::Pending | State::Running if !scope.is_workload() => live::Workload::of_no_concern(LiveSubject::Restored),
        _ => {
            let subject = ledger::object(&action.spec.subject);
            live::workload(&context.reads, &namespace, &subject, &facts.action, &facts.uid).await?
        }
    };
    let earlier_overlaps = match facts.state {
        State::Pending => earlier_overlaps(action, &namespace, context).await?,
        _ => false,
    };
    let world = World {
        policy: standing,
        target: live_target,
        subject,
        field: if taken_over(facts, known.as_ref()) { LiveField::Disowned } else { field },
        progress_deadline,
        earlier_overlaps,
        firing: context.board.is_firing(&key, &action.spec.policy.uid, &target.uid, context.now()),
        verdict: context.board.verdict(&key, &action.name_any()),
    };
    Ok((world, version))
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

/// Whether an action reserved before this one touches the same objects. Asked of the
/// API server and not of the book: another leader's reservation must not be missed.
async fn earlier_overlaps(action: &HealingAction, namespace: &str, context: &Context) -> Result<bool, ClusterError> {
    let Ok(own) = ledger::record(action) else { return Ok(true) };
    let api: Api<DeserializeGuard<HealingAction>> = Api::namespaced(context.reads.clone(), namespace);
    let listed = within(REQUEST_DEADLINE, api.list(&ListParams::default())).await?;
    let others = listed.items.iter().filter_map(|other| other.0.as_ref().ok());
    Ok(others
        .filter_map(|other| ledger::record(other).ok())
        .any(|other| other.name != own.name && other.precedes(&own) && other.overlaps(&own)))
}
