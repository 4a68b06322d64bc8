//! What keeps healing safe, with the controller running as a pod under its own
//! `ServiceAccount`: stages that can be watched, a ladder that ends, brakes, sources that
//! lie, restarts, and tenants who would like to write what is not theirs. Each test has
//! a namespace of its own.

mod brakes;
mod history;
mod ladder;
mod late_crds;
mod liar;
mod newcomer;
mod quiet;
mod restart;
mod silence;
mod source;
mod sources;
mod stages;
mod tenant;
mod words;
