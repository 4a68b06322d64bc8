//! Which labels of a selector reach the result unchanged. Only by those may a
//! selector be narrowed down to one target: in `cpu * on (node) group_left ()
//! load`, asking `load` for the target's `pod` would find nothing, always.

use std::collections::BTreeSet;

use promql_parser::parser::{BinaryExpr, LabelModifier, VectorMatchCardinality};

/// The labels whose value in the result is the selector's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    /// These and no others.
    Only(BTreeSet<String>),
    /// All but these.
    Except(BTreeSet<String>),
}

impl Carried {
    pub(super) fn all() -> Self {
        Self::Except(BTreeSet::new())
    }

    pub(super) fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    pub(super) fn contains(&self, label: &str) -> bool {
        match self {
            Self::Only(labels) => labels.contains(label),
            Self::Except(labels) => !labels.contains(label),
        }
    }

    /// Without `labels`.
    #[must_use]
    pub(super) fn without(mut self, labels: &[String]) -> Self {
        match &mut self {
            Self::Only(kept) => kept.retain(|label| !labels.contains(label)),
            Self::Except(dropped) => dropped.extend(labels.iter().cloned()),
        }
        self
    }

    /// Nothing but `labels`.
    #[must_use]
    pub(super) fn within(self, labels: &[String]) -> Self {
        Self::Only(labels.iter().filter(|label| self.contains(label)).cloned().collect())
    }

    /// Through an aggregation's `by` or `without`; with neither, nothing is left.
    #[must_use]
    pub(super) fn grouped(self, grouping: Option<&LabelModifier>) -> Self {
        match grouping {
            Some(LabelModifier::Include(labels)) => self.within(&labels.labels),
            Some(LabelModifier::Exclude(labels)) => self.without(&labels.labels),
            None => Self::none(),
        }
    }

    /// Into both sides of a match between vectors.
    pub(super) fn matched(self, binary: &BinaryExpr) -> (Self, Self) {
        let modifier = binary.modifier.as_ref();
        let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
        match modifier.map(|modifier| &modifier.card) {
            Some(VectorMatchCardinality::ManyToOne(extra)) => {
                (self.clone().without(&extra.labels), self.one_side(matching, &extra.labels))
            }
            Some(VectorMatchCardinality::OneToMany(extra)) => {
                (self.clone().one_side(matching, &extra.labels), self.without(&extra.labels))
            }
            // `and` and `unless` keep all labels of their left side.
            Some(VectorMatchCardinality::ManyToMany) => (self.clone(), self.one_side(matching, &[])),
            Some(VectorMatchCardinality::OneToOne) | None => {
                let both = self.one_side(matching, &[]);
                (both.clone(), both)
            }
        }
    }

    fn one_side(self, matching: Option<&LabelModifier>, extra: &[String]) -> Self {
        match matching {
            Some(LabelModifier::Include(labels)) => {
                self.within(&labels.labels.iter().chain(extra).cloned().collect::<Vec<_>>())
            }
            Some(LabelModifier::Exclude(labels)) => {
                let dropped: Vec<_> = labels.labels.iter().filter(|label| !extra.contains(label)).cloned().collect();
                self.without(&dropped)
            }
            None => self,
        }
    }
}
