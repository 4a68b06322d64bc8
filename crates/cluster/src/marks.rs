//! What owners write on their objects to hold healing back: the annotations
//! `prunella.dev/heal` (leave this alone) and `prunella.dev/hold` (stop here).

use jiff::Timestamp;
use kube::ResourceExt;
use prunella_core::target::OptOut;

/// On an object, its controller or its namespace: `disabled`, or an RFC 3339 time
/// until which it holds. Any other value holds too: a slip of the pen must not be
/// taken for consent.
pub const HEAL_ANNOTATION: &str = "prunella.dev/heal";

/// On a namespace: nothing is begun there; on the controller's own: nowhere. The
/// value is the reason, for people.
pub const HOLD_ANNOTATION: &str = "prunella.dev/hold";

/// The most characters of a reason that are told on.
const WORDS_AT_MOST: usize = 128;

/// The opt-out written on an object, if any.
#[must_use]
pub fn opt_out(object: &impl ResourceExt) -> Option<OptOut> {
    let value = object.annotations().get(HEAL_ANNOTATION)?;
    Some(OptOut { until: value.trim().parse::<Timestamp>().ok() })
}

/// What is written on a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMarks {
    /// Its objects are to be left alone.
    pub opt_out: Option<OptOut>,
    /// Nothing is to be begun, in these words.
    pub held: Option<String>,
}

impl NamespaceMarks {
    /// The marks of a namespace; `None` when there are none.
    #[must_use]
    pub fn of(namespace: &impl ResourceExt) -> Option<Self> {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let words = |why: &String| why.chars().map(printable).take(WORDS_AT_MOST).collect();
        let held = namespace.annotations().get(HOLD_ANNOTATION).map(words);
        let marks = Self { opt_out: opt_out(namespace), held };
        (marks.opt_out.is_some() || marks.held.is_some()).then_some(marks)
    }
}

/// The longer of two opt-outs: each owner's word counts.
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
    fn an_opt_out_holds_until_its_time_and_any_other_word_for_good() {
        let until = |value| opt_out(&annotated(HEAL_ANNOTATION, value)).map(|found| found.until);
        assert_eq!(until("disabled"), Some(None));
        assert_eq!(until("2026-11-21T10:00:00Z"), Some(Some("2026-11-21T10:00:00Z".parse().unwrap())));
        for slip in ["enabled", "true", "", "2026-11-21", "tomorrow"] {
            assert_eq!(until(slip), Some(None), "{slip:?} is not consent");
        }
        assert_eq!(opt_out(&annotated("other", "disabled")), None);
    }

    #[test]
    fn of_two_owners_words_the_longer_counts() {
        let until = |second| Some(OptOut { until: Some(Timestamp::from_second(second).unwrap()) });
        let for_good = Some(OptOut { until: None });
        assert_eq!(longer(until(1), until(2)), until(2));
        assert_eq!(longer(until(1), for_good), for_good);
        assert_eq!(longer(None, until(1)), until(1));
        assert_eq!(longer(None, None), None);
    }

    #[test]
    fn a_namespace_without_marks_takes_no_memory() {
        assert_eq!(NamespaceMarks::of(&annotated("other", "x")), None);
        let held = NamespaceMarks::of(&annotated(HOLD_ANNOTATION, "migration")).and_then(|marks| marks.held);
        assert_eq!(held.as_deref(), Some("migration"));
    }
}
