//! Sizes, spans of time and percentages, in one syntax for flags, query
//! parameters, answers and the state file.

mod percentage;
mod size;
mod span;

pub(crate) use percentage::Percentage;
pub(crate) use size::Size;
pub(crate) use span::Span;

/// What is wrong with a quantity, worded as what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
