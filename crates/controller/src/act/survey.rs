//! Stage 1: reads the world around one action from the API server. Needs the client for reads.

mod conflicts;
mod marks;

use futures::future::try_join5;
use kube::core::Selector;
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy, Mode};
use prunella_cluster::action::object;
use prunella_cluster::live::{self, LiveObject, LiveWorkload};
use prunella_cluster::stop::{StopSwitches, stop_switches};
use prunella_cluster::targets::Replaced;
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};
use prunella_core::action::{Action, ActionScope, ReplicaChange};
use prunella_core::execute::{
    ActionWorld, Facts, LiveField, LiveSubject, LiveTarget, PolicyStanding, progresses_until,
};
use prunella_core::ledger::{Overlap, State};
use prunella_core::readiness::ReadyTimes;
use prunella_core::target::{Target, TargetWorkload};

use super::{ActError, Actor};
use crate::records;
use crate::report::action_messages::ActionFindings;
use conflicts::{Conflicts, conflicts};
use marks::marks;

/// An action and the world around it.
pub(super) struct Survey {
    /// The record, as it is now.
    pub(super) action: HealingAction,
    /// The facts in the record.
    pub(super) facts: Facts,
    /// Everything else that the next instruction depends on. `None`: the action is over.
    pub(super) world: Option<ActionWorld>,
    /// The version of the object that the action writes, as it was read.
    pub(super) version: Option<String>,
    /// What was seen beside it, for people.
    pub(super) findings: ActionFindings,
}

/// Reads an action, of which some version was `seen`, and the world around it. `None`: the action
/// is gone.
///
/// All requests run at the same time: a dozen requests one after another would keep the target
/// unhealthy for longer. The world may be read before the record, but never before the record was
/// last changed. If the record is newer than what was seen, the world is read again.
pub(super) async fn survey(seen: &HealingAction, actor: &Actor) -> Result<Option<Survey>, ActError> {
    let facts = records::facts(seen)?;
    let read = async {
        match facts.state {
            State::Finished(_) => None,
            _ => Some(world(seen, &facts, actor).await),
        }
    };
    let (live, read) = tokio::join!(action(seen, actor), read);
    let Some(action) = live.map_err(ActError::Survey)? else { return Ok(None) };
    let facts = records::facts(&action)?;
    if matches!(facts.state, State::Finished(_)) {
        return Ok(Some(Survey { action, facts, world: None, version: None, findings: ActionFindings::default() }));
    }
    let read = match read {
        Some(read) if action.resource_version() == seen.resource_version() => read,
        _ => world(&action, &facts, actor).await,
    };
    let (world, version, findings) = read.map_err(ActError::Survey)?;
    Ok(Some(Survey { action, facts, world: Some(world), version, findings }))
}

/// The action. `None`: it is gone.
async fn action(action: &HealingAction, actor: &Actor) -> Result<Option<HealingAction>, ClusterError> {
    let api: Api<HealingAction> = Api::namespaced(actor.clients.reads.clone(), &action.namespace().unwrap_or_default());
    let live = within(REQUEST_DEADLINE, api.get_opt(&action.name_any())).await?;
    Ok(live.filter(|live| live.uid() == action.uid()))
}

/// Reads the world around the action, and the version of the object that it writes.
async fn world(
    action: &HealingAction,
    facts: &Facts,
    actor: &Actor,
) -> Result<(ActionWorld, Option<String>, ActionFindings), ClusterError> {
    let namespace = action.namespace().unwrap_or_default();
    let key = records::policy_of(action);
    let target = object(&action.spec.target);
    let LiveReads { policy, found, workload, conflicts, stop } =
        Box::pin(read(action, facts, &namespace, actor)).await?;

    let terminating_until = found.as_ref().and_then(LiveObject::terminating_until);
    let held = stop.held || actor.view.is_held(&namespace);
    let standing = policy_standing(policy.as_ref(), held);
    let before_effect = matches!(facts.state, State::Pending | State::Running);
    let removes_pod = before_effect && !facts.action.scope().is_workload();
    let known_policy = policy.as_ref();
    let minimum = known_policy.filter(|_| removes_pod);
    let minimum = minimum.and_then(|policy| records::min_available(&policy.spec.limits.min_available));
    let selector = known_policy.map(|policy| Selector::try_from(policy.spec.target.selector.clone())).transpose();
    let chosen_by = selector.as_ref().ok().and_then(Option::as_ref);
    let known = actor.view.target(&namespace, &target, chosen_by);
    let live_target = match (found, &selector) {
        (None, _) => LiveTarget::Gone,
        // An invalid selector selects nothing.
        (Some(_), Err(_)) => LiveTarget::NotSelected,
        (Some(found), Ok(_)) => match found.standing(chosen_by) {
            LiveTarget::Present if stop.opted_out.is_some_and(|opt_out| opt_out.holds(actor.authority.now())) => {
                LiveTarget::OptedOut
            }
            LiveTarget::Present if found.is_protected() && facts.action.keeps_protected_pods() => LiveTarget::OptedOut,
            LiveTarget::Present => marks(known.as_ref(), facts.action.scope(), known_policy, actor.authority.now()),
            other => other,
        },
    };
    let pods = replaced(action, facts, &namespace, actor);
    let subject = object(&action.spec.subject);
    let cached = actor.view.workload(&namespace, &subject);
    let lacks_readiness_probe = cached.as_ref().is_some_and(|workload| !workload.has_readiness_probe);
    let world = ActionWorld {
        policy: standing,
        target: live_target,
        subject: live_subject(facts, subject.native_kind() == "DaemonSet", &workload, live_target, pods),
        field: if is_taken_over(facts, known.as_ref()) { LiveField::Disowned } else { workload.field },
        terminating_until,
        ready_times: ready_times(cached.as_ref(), pods),
        rollout_progress: cached.and_then(|workload| workload.rollout_progress),
        replicas: workload.wanted.unwrap_or(0),
        overlap: conflicts.overlap.unwrap_or(Overlap::None),
        too_few_available: conflicts.too_few_available(minimum, known.as_ref()),
        firing: actor.handover.is_firing(&key, &action.spec.policy.uid, &target.uid, actor.authority.now()),
        verdict: actor.handover.verdict(&key, &action.name_any()),
    };
    let since = facts.began.or_else(|| Some(action.creation_timestamp()?.0)).unwrap_or(jiff::Timestamp::MAX);
    let findings = ActionFindings {
        changed_by: workload.changed_by.and_then(|writer| writer.since(since)),
        controller: workload.controller,
        terminating_until,
        scaled_to_zero: workload.scaled_to_zero,
        without_readiness_probe: lacks_readiness_probe,
        rolls_out: progresses_until(facts, &world).is_some_and(|until| actor.authority.now() < until),
        not_ready: None,
    };
    Ok((world, workload.version, findings))
}

/// What is read from the API server at once.
struct LiveReads {
    policy: Option<HealingPolicy>,
    /// The target. `None`: it is gone, or it does not matter any more.
    found: Option<LiveObject>,
    workload: LiveWorkload,
    conflicts: Conflicts,
    /// The stop switches, before an effect.
    stop: StopSwitches,
}

async fn read(
    action: &HealingAction,
    facts: &Facts,
    namespace: &str,
    actor: &Actor,
) -> Result<LiveReads, ClusterError> {
    let target = object(&action.spec.target);
    let subject = object(&action.spec.subject);
    let reads = &actor.clients.reads;
    let is_workload = facts.action.scope().is_workload();
    let before_effect = matches!(facts.state, State::Pending | State::Running);
    // After the effect the target is gone or terminating, or it is one of many pods: then only its
    // workload matters.
    let target_matters = match facts.state {
        State::Pending | State::Running => true,
        State::Settling => !is_workload,
        State::Verifying | State::Finished(_) => false,
    };
    let subject_matters = is_workload || !before_effect;
    let is_one_object = target.uid == subject.uid && subject_matters;
    let target_read = async {
        if target_matters && !is_one_object { live::target(reads, namespace, &target).await } else { Ok(None) }
    };
    let subject_read = async {
        if subject_matters {
            live::workload(reads, namespace, &subject, &facts.action, &facts.uid).await
        } else {
            Ok(LiveWorkload::of_no_concern(LiveSubject::Restored))
        }
    };
    let conflicts_read =
        async { if before_effect { conflicts(action, namespace, actor).await } else { Ok(Conflicts::default()) } };
    // Right before the effect. Until then the caches are enough, and four requests less for each
    // action matter when many targets fail at once.
    let effect_follows = facts.state == State::Running;
    let stop_read = async {
        if effect_follows {
            stop_switches(reads, namespace, &actor.authority.namespace, &target, &subject).await
        } else {
            Ok(StopSwitches::default())
        }
    };
    let policy_read = policy(action, namespace, actor);
    let (policy, found, mut workload, conflicts, stop) =
        Box::pin(try_join5(policy_read, target_read, subject_read, conflicts_read, stop_read)).await?;
    let found = if is_one_object { workload.found.take() } else { found };
    Ok(LiveReads { policy, found: found.filter(|_| target_matters), workload, conflicts, stop })
}

fn policy_standing(policy: Option<&HealingPolicy>, held: bool) -> PolicyStanding {
    match policy {
        Some(policy) if policy.spec.suspend || held => PolicyStanding::Suspended,
        Some(policy) if policy.spec.mode == Mode::Enforce => PolicyStanding::Enforces,
        Some(_) => PolicyStanding::DryRun,
        None => PolicyStanding::Gone,
    }
}

/// The pods of the workload, as the caches have them: how many replace the target, and how many were
/// there before. They matter from the effect until the workload has its Ready pods again.
fn replaced(action: &HealingAction, facts: &Facts, namespace: &str, actor: &Actor) -> Replaced {
    let (State::Running | State::Settling, Some(since)) = (facts.state, records::replaced_since(action)) else {
        return Replaced::default();
    };
    let (subject, target) = (&action.spec.subject.uid, &action.spec.target.uid);
    actor.view.replaced(namespace, &subject.as_str().into(), &target.as_str().into(), since)
}

/// The state of the workload. A removed pod counts as replaced as soon as there is a replacement,
/// even if other pods of the workload are still not ready that were not ready before: with one
/// action at a time, they are healed after this action. While the removed pod is still ending, the
/// status of the workload may count it, so only the other pods say whether the workload is whole.
fn live_subject(
    facts: &Facts,
    is_daemon_set: bool,
    workload: &LiveWorkload,
    target: LiveTarget,
    pods: Replaced,
) -> LiveSubject {
    let is_restored = match (workload.subject, facts.action.scope(), target) {
        (LiveSubject::Gone, _, _) => return LiveSubject::Gone,
        (_, ActionScope::Replacement, LiveTarget::Terminating) => pods.is_whole(workload.wanted),
        // A deleted pod starts no new generation, so the status may be from before.
        (LiveSubject::Restored, ActionScope::Replacement, LiveTarget::Gone) if workload.wanted.is_some() => {
            pods.is_whole(workload.wanted)
        }
        (LiveSubject::NotRestored, ActionScope::Replacement, _) => pods.replaces(workload.missing),
        // Pods on dead nodes are replaced when their nodes are back. Only a DaemonSet wants a pod on
        // each of them.
        (LiveSubject::NotRestored, ActionScope::NewPods, _) if is_daemon_set => {
            pods.on_dead > 0 && workload.wanted.is_some_and(|wanted| pods.replacements + pods.on_dead >= wanted)
        }
        (subject, _, _) => return subject,
    };
    if is_restored { LiveSubject::Restored } else { LiveSubject::NotRestored }
}

/// How long the owner of the workload lets its pods take to become Ready. Of an owner of a kind that
/// Prunella does not read, only the pods are known.
fn ready_times(workload: Option<&TargetWorkload>, pods: Replaced) -> ReadyTimes {
    workload.map_or(ReadyTimes { startup: pods.startup, progress_deadline: None }, |workload| workload.ready_times)
}

/// Whether an autoscaler owns the replicas now, although there was none when the change was
/// decided, and the change is not made yet.
fn is_taken_over(facts: &Facts, known: Option<&Target>) -> bool {
    let was_free = matches!(&facts.action, Action::Scale(ReplicaChange { autoscaler: None, .. }));
    let is_owned =
        known.and_then(|known| known.workload.as_ref()).is_some_and(|workload| workload.autoscaler.is_some());
    was_free && is_owned && matches!(facts.state, State::Pending | State::Running)
}

/// The policy that reserved the action. `None`: it is gone or being deleted, or another policy has
/// its name now.
async fn policy(action: &HealingAction, namespace: &str, actor: &Actor) -> Result<Option<HealingPolicy>, ClusterError> {
    let api: Api<HealingPolicy> = Api::namespaced(actor.clients.reads.clone(), namespace);
    let policy = within(REQUEST_DEADLINE, api.get_opt(&action.spec.policy.name)).await?;
    Ok(policy.filter(|policy| {
        policy.uid().as_deref() == Some(action.spec.policy.uid.as_str()) && policy.metadata.deletion_timestamp.is_none()
    }))
}

#[cfg(test)]
mod tests {
    use prunella_core::action::{PodRemoval, ProtectedPod, Removal, Restart};
    use prunella_core::policy::PolicyMode;

    use super::*;

    fn settling(action: Action) -> Facts {
        Facts {
            uid: "uid-action".into(),
            state: State::Settling,
            mode: PolicyMode::Enforce,
            action,
            start_by: jiff::Timestamp::UNIX_EPOCH,
            began: None,
            executed_after: None,
            refused: None,
            settle_by: None,
            verify_by: None,
            verify_within: jiff::SignedDuration::ZERO,
            ready_within: None,
        }
    }

    #[test]
    fn a_removed_pod_counts_as_replaced_only_when_that_was_seen() {
        let removal = PodRemoval { removal: Removal::Evict, grace: None, protected: ProtectedPod::Skip };
        let facts = settling(Action::DeletePod(removal));
        let pods = |replacements, ready_before, unready_before| Replaced {
            replacements,
            ready_before,
            unready_before,
            ..Replaced::default()
        };
        // An owner of an unknown kind: how many pods it wants is not known.
        let unknown = || LiveWorkload::of_no_concern(LiveSubject::NotRestored);
        // By its status, one of three pods is missing, or none.
        let short = || LiveWorkload { wanted: Some(3), missing: 1, ..unknown() };
        let whole = || LiveWorkload { subject: LiveSubject::Restored, missing: 0, ..short() };
        for (workload, target, pods, expected) in [
            (unknown(), LiveTarget::Gone, pods(0, 2, 0), LiveSubject::NotRestored),
            (unknown(), LiveTarget::Gone, pods(1, 0, 0), LiveSubject::Restored),
            (unknown(), LiveTarget::Terminating, pods(0, 2, 0), LiveSubject::NotRestored),
            (unknown(), LiveTarget::Terminating, pods(1, 0, 0), LiveSubject::Restored),
            // The status is from before the removal.
            (whole(), LiveTarget::Gone, pods(0, 2, 0), LiveSubject::NotRestored),
            (whole(), LiveTarget::Gone, pods(1, 2, 0), LiveSubject::Restored),
            (short(), LiveTarget::Gone, pods(0, 2, 0), LiveSubject::NotRestored),
            // A replacement is Ready. The missing pod was not Ready before the removal either.
            (short(), LiveTarget::Gone, pods(1, 1, 1), LiveSubject::Restored),
            (short(), LiveTarget::Gone, pods(1, 1, 0), LiveSubject::NotRestored),
            // The status counts the removed pod while it is still ending.
            (whole(), LiveTarget::Terminating, pods(0, 2, 0), LiveSubject::NotRestored),
            (whole(), LiveTarget::Terminating, pods(1, 2, 0), LiveSubject::Restored),
            (short(), LiveTarget::Terminating, pods(0, 3, 0), LiveSubject::Restored),
            (short(), LiveTarget::Terminating, pods(1, 1, 1), LiveSubject::Restored),
        ] {
            let seen = live_subject(&facts, false, &workload, target, pods);
            assert_eq!(seen, expected, "{workload:?} {target:?} {pods:?}");
        }
        let gone = LiveWorkload::of_no_concern(LiveSubject::Gone);
        assert_eq!(live_subject(&facts, false, &gone, LiveTarget::Terminating, pods(1, 2, 0)), LiveSubject::Gone);
    }

    #[test]
    fn a_daemon_set_is_restarted_when_all_pods_on_ready_nodes_are_new() {
        let facts = settling(Action::RolloutRestart(Restart));
        let workload = LiveWorkload { wanted: Some(3), ..LiveWorkload::of_no_concern(LiveSubject::NotRestored) };
        for (is_daemon_set, replacements, on_dead, expected) in [
            (true, 2, 1, LiveSubject::Restored),
            (true, 1, 1, LiveSubject::NotRestored),
            (true, 3, 0, LiveSubject::NotRestored),
            (false, 2, 1, LiveSubject::NotRestored),
        ] {
            let pods = Replaced { replacements, on_dead, ..Replaced::default() };
            let seen = live_subject(&facts, is_daemon_set, &workload, LiveTarget::Gone, pods);
            assert_eq!(seen, expected, "{is_daemon_set} {pods:?}");
        }
    }
}
