//! The other actions in flight that conflict with an action.

use std::collections::BTreeSet;

use kube::api::{ListParams, VersionMatch};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use prunella_api::HealingAction;
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};
use prunella_core::availability::{MinAvailable, shortage, siblings};
use prunella_core::ledger::{Overlap, Record};
use prunella_core::target::{Target, Uid};

use super::super::Actor;
use crate::records;

/// Selects actions without an outcome. The history may have a hundred times as many.
const IN_FLIGHT: &str = "status.outcome=";

/// The conflicts of an action with other actions in flight.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// The conflict with actions on the same target or its owner.
    pub(super) overlap: Option<Overlap>,
    /// The pods that other actions remove from the same workload.
    siblings: BTreeSet<Uid>,
    /// The conflict with these actions.
    of_siblings: Option<Overlap>,
}

impl Conflicts {
    /// The conflict with the actions that remove other pods, if too few pods of the workload would
    /// stay Ready. `None`: enough would.
    pub(super) fn too_few_available(&self, minimum: Option<MinAvailable>, target: Option<&Target>) -> Option<Overlap> {
        let disrupted = self.siblings.iter().collect();
        shortage(minimum?, target?, &disrupted)?;
        Some(self.of_siblings.unwrap_or(Overlap::None))
    }
}

/// Reads the other actions in flight. The list comes from the API server, not from the watched
/// records, because it must have the reservations of another leader too.
///
/// The list is at least as new as the last change of this record. So if two actions have started,
/// the one that changed last sees the other. A list of the newest version would prove no more, and
/// it may wait for changes of other kinds of objects.
pub(super) async fn conflicts(
    action: &HealingAction,
    namespace: &str,
    actor: &Actor,
) -> Result<Conflicts, ClusterError> {
    let Ok(own) = records::record(action) else {
        return Ok(Conflicts { overlap: Some(Overlap::Ahead), ..Conflicts::default() });
    };
    let api: Api<DeserializeGuard<HealingAction>> = Api::namespaced(actor.clients.reads.clone(), namespace);
    let since_own_change = ListParams {
        resource_version: action.resource_version(),
        version_match: Some(VersionMatch::NotOlderThan),
        ..ListParams::default().fields(IN_FLIGHT)
    };
    let listed = within(REQUEST_DEADLINE, api.list(&since_own_change)).await?;
    let all = listed.items.iter().filter_map(|one| one.0.as_ref().ok());
    let in_flight: Vec<Record> = all.filter_map(|one| records::record(one).ok()).collect();
    // This action is in flight, so a list without it may lack others too.
    if in_flight.iter().any(|one| one.name == own.name) {
        let (siblings, of_siblings) = siblings(&own, &in_flight);
        let siblings = siblings.into_iter().cloned().collect();
        Ok(Conflicts { overlap: Some(own.overlap(&in_flight)), siblings, of_siblings: Some(of_siblings) })
    } else {
        Err(ClusterError::NotListed(own.name))
    }
}
