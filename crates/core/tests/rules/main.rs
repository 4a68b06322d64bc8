//! The rules of the judgement and of the execution, by the harm that each keeps off.

mod actions;
mod decide;
mod edges;
mod execute;
mod judgement;
mod ladder;
mod properties;
mod storm;
mod support;
