//! A policy that can be evaluated: every default is filled in and every rule is checked.

use kube::core::Selector;
use prunella_api::TargetKind;
use prunella_core::policy::Policy;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A policy that can be evaluated.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    /// The rules of the judgement.
    pub(crate) policy: Policy,
    /// Which objects may be healed.
    pub(crate) selector: Selector,
    /// Of which kind they are.
    pub(crate) kind: TargetKind,
    /// Whether system-critical pods may be healed.
    pub(crate) system_critical: bool,
    /// The query of the condition.
    pub(crate) query: String,
    /// What the values of the query measure.
    pub(crate) unit: ValueUnit,
    /// What to check if the query finds nothing, because the source restricts it to the namespace.
    pub(crate) restriction: Option<String>,
    /// Settings that are valid but probably not what was meant.
    pub(crate) warnings: Vec<String>,
}

pub(crate) use prunella_signals::ValueUnit;

/// A digest of anything that serialises, the same in every process: JSON with the fields in
/// the order of the types.
pub(crate) fn digest(value: &impl Serialize) -> String {
    // The types given here have string keys only, so they always serialise.
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(json).iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
