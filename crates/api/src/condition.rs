//! Condition types and how a list of conditions is changed without a false
//! `lastTransitionTime`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The conditions of a `HealingPolicy`, a `HealingAction` and a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// Whether the object can do its work. `False` is for a policy that cannot
    /// work, never for a sick target.
    Ready,
    /// Whether it can never work until somebody changes it.
    Stalled,
    /// Whether the source gives answers that may be relied on.
    Observed,
    /// Whether no selected target is sick.
    Healthy,
    /// Whether an action is in flight.
    Healing,
    /// Whether a sick target is left alone, and by which brake.
    Blocked,
    /// On a `HealingAction`: whether it is under way; the reason is its state.
    Progressing,
}

impl ConditionType {
    /// The type as it stands in `status.conditions`.
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

/// The schema of a list of conditions, with the bounds that the Kubernetes API sets and
/// in sentences like all others: those of the API's own type begin in lower case.
pub(crate) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "description": "One thing that can be said of the object, true or not.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "description": "What is said of the object, like Ready."
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it is so: True, False or Unknown."
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the spec of which this is said."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "Since when the status has been what it is."
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in a word that programs may rely on."
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "Why, in words for people, with what to do about it."
                }
            }
        }
    })
}

/// Sets one condition. The transition time is kept unless the status changed, so
/// that setting the same thing twice changes nothing.
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
