//! Which labels of a selector reach the result unchanged, and which are overwritten.
//!
//! Only unchanged labels may narrow a selector to one target. Example: in
//! `cpu * on (node) group_left () load`, `load` has no label `pod`. Narrowed to the
//! target's `pod`, it would never return a series. A label that `label_replace`
//! or `label_join` overwrites does not have the selector's value in the result.

use std::collections::BTreeSet;

use promql_parser::parser::{BinaryExpr, LabelModifier, VectorMatchCardinality};

/// The labels that have the selector's own value in the result, and the labels that
/// `label_replace` or `label_join` overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    unchanged: Unchanged,
    written: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Unchanged {
    /// Only these.
    Only(BTreeSet<String>),
    /// All except these.
    Except(BTreeSet<String>),
}

impl Carried {
    pub(super) fn all() -> Self {
        Self { unchanged: Unchanged::Except(BTreeSet::new()), written: BTreeSet::new() }
    }

    pub(super) fn none() -> Self {
        Self { unchanged: Unchanged::Only(BTreeSet::new()), written: BTreeSet::new() }
    }

    pub(super) fn contains(&self, label: &str) -> bool {
        match &self.unchanged {
            Unchanged::Only(labels) => labels.contains(label),
            Unchanged::Except(labels) => !labels.contains(label),
        }
    }

    /// Whether an aggregation or a match lists `label` among those that it keeps.
    pub(super) fn names(&self, label: &str) -> bool {
        matches!(&self.unchanged, Unchanged::Only(labels) if labels.contains(label))
    }

    /// Whether `label_replace` or `label_join` overwrites `label`.
    pub(super) fn writes(&self, label: &str) -> bool {
        self.written.contains(label)
    }

    /// Enters a `label_replace` or `label_join` that overwrites `label`.
    #[must_use]
    pub(super) fn written(mut self, label: &str) -> Self {
        if self.contains(label) {
            self.written.insert(label.to_owned());
        }
        self.without(&[label.to_owned()])
    }

    /// Without `labels`.
    #[must_use]
    pub(super) fn without(mut self, labels: &[String]) -> Self {
        match &mut self.unchanged {
            Unchanged::Only(kept) => kept.retain(|label| !labels.contains(label)),
            Unchanged::Except(dropped) => dropped.extend(labels.iter().cloned()),
        }
        self
    }

    /// Only `labels`.
    #[must_use]
    pub(super) fn within(self, labels: &[String]) -> Self {
        let kept = labels.iter().filter(|label| self.contains(label)).cloned().collect();
        Self { unchanged: Unchanged::Only(kept), ..self }
    }

    /// Enters an aggregation. `by` and `without` keep labels; with neither, no label is
    /// left.
    #[must_use]
    pub(super) fn grouped(self, grouping: Option<&LabelModifier>) -> Self {
        match grouping {
            Some(LabelModifier::Include(labels)) => self.within(&labels.labels),
            Some(LabelModifier::Exclude(labels)) => self.without(&labels.labels),
            None => self.within(&[]),
        }
    }

    /// Enters both sides of a match between vectors.
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
