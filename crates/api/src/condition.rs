//! Condition types, and how to change a list of conditions while keeping
//! `lastTransitionTime` correct.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The conditions of a `HealingPolicy`, a `HealingAction` and a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// Whether the object can do its work. `False` means that the policy cannot work,
    /// never that a target is unhealthy.
    Ready,
    /// Whether the object cannot work until somebody changes it.
    Stalled,
    /// Whether the source gives usable answers.
    Observed,
    /// Whether all selected targets are healthy.
    Healthy,
    /// Whether an action is in flight.
    Healing,
    /// Whether a guardrail holds back an unhealthy target, and which.
    Blocked,
    /// On a `HealingAction`: whether it is in progress. The reason is its state.
    Progressing,
}

impl ConditionType {
    /// The type as written in `status.conditions`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Stalled => "Stalled",
            Self::Observed => "Observed",
            Self::Healthy => "Healthy",
            Self::Healing => "Healing",
            Self::Blocked => "Blocked",
            Self::Progressing => "Progressing",
        }
    }
}

/// The schema of a list of conditions, with the bounds that the Kubernetes API sets.
/// Written out, because the descriptions of the API's own type are not sentences.
pub(crate) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "description": "The type of the condition, for example Ready."
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "The status of the condition: True, False or Unknown."
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the spec that this condition describes."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed."
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "The reason for the status, in one word that programs may rely on."
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "What happened, why, and what to do about it, for people."
                }
            }
        }
    })
}

/// Sets one condition. Keeps the transition time unless the status changed, so that
/// setting the same condition twice changes nothing.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: Option<bool>,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: &Time,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let earlier = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    let since = earlier
        .and_then(|at| conditions.get(at))
        .filter(|condition| condition.status == status)
        .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match earlier.and_then(|at| conditions.get_mut(at)) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}
