//! The annotations with which owners stop healing: `prunella.dev/heal` opts one object out,
//! and `prunella.dev/hold` stops all actions in a namespace.

use jiff::Timestamp;
use kube::ResourceExt;
use prunella_core::target::OptOut;

/// On an object, its controller or its namespace: `disabled`, or an RFC 3339 time at which
/// the opt-out ends. Any other value opts out without an end, because a typing error must
/// not allow actions.
pub const HEAL_ANNOTATION: &str = "prunella.dev/heal";

/// On a namespace: no action starts there. On the controller's own namespace: no action starts
/// anywhere. The value is the reason, for people.
pub const HOLD_ANNOTATION: &str = "prunella.dev/hold";

/// The longest reason of a hold, in characters. The rest is cut off.
const HOLD_REASON_CHARS: usize = 128;

/// The opt-out on an object.
#[must_use]
pub fn opt_out(object: &impl ResourceExt) -> Option<OptOut> {
    let value = object.annotations().get(HEAL_ANNOTATION)?;
    Some(OptOut { until: value.trim().parse::<Timestamp>().ok() })
}

/// The annotations of a namespace that stop healing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMarks {
    /// The opt-out for all its objects.
    pub opt_out: Option<OptOut>,
    /// The reason of a hold. `None`: no hold.
    pub held: Option<String>,
}

impl NamespaceMarks {
    /// The marks of a namespace. `None`: it has none.
    #[must_use]
    pub fn of(namespace: &impl ResourceExt) -> Option<Self> {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let reason = |value: &String| value.chars().map(printable).take(HOLD_REASON_CHARS).collect();
        let held = namespace.annotations().get(HOLD_ANNOTATION).map(reason);
        let marks = Self { opt_out: opt_out(namespace), held };
        (marks.opt_out.is_some() || marks.held.is_some()).then_some(marks)
    }
}

/// The longer of two opt-outs, because each owner may opt out.
#[must_use]
pub fn longer(one: Option<OptOut>, other: Option<OptOut>) -> Option<OptOut> {
    match (one, other) {
        (Some(one), Some(other)) => {
            Some(OptOut { until: one.until.zip(other.until).map(|(one, other)| one.max(other)) })
        }
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::ObjectMeta;

    fn annotated(key: &str, value: &str) -> Namespace {
        let annotations = Some([(key.to_owned(), value.to_owned())].into());
        Namespace { metadata: ObjectMeta { annotations, ..ObjectMeta::default() }, ..Namespace::default() }
    }

    #[test]
    fn an_opt_out_ends_at_its_time_and_any_other_value_never_ends() {
        let until = |value| opt_out(&annotated(HEAL_ANNOTATION, value)).map(|found| found.until);
        assert_eq!(until("disabled"), Some(None));
        assert_eq!(until("2026-11-21T10:00:00Z"), Some(Some("2026-11-21T10:00:00Z".parse().unwrap())));
        for typo in ["enabled", "true", "", "2026-11-21", "tomorrow"] {
            assert_eq!(until(typo), Some(None), "{typo:?} is not consent");
        }
        assert_eq!(opt_out(&annotated("other", "disabled")), None);
    }

    #[test]
    fn the_longer_of_two_opt_outs_counts() {
        let until = |second| Some(OptOut { until: Some(Timestamp::from_second(second).unwrap()) });
        let for_good = Some(OptOut { until: None });
        assert_eq!(longer(until(1), until(2)), until(2));
        assert_eq!(longer(until(1), for_good), for_good);
        assert_eq!(longer(None, until(1)), until(1));
        assert_eq!(longer(None, None), None);
    }

    #[test]
    fn a_namespace_without_marks_is_not_stored() {
        assert_eq!(NamespaceMarks::of(&annotated("other", "x")), None);
        let held = NamespaceMarks::of(&annotated(HOLD_ANNOTATION, "migration")).and_then(|marks| marks.held);
        assert_eq!(held.as_deref(), Some("migration"));
    }
}
