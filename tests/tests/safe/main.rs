//! Safety: states that can be watched, a ladder that ends, guardrails, sources with wrong answers,
//! restarts of the controller, and tenants without rights. The controller runs as a pod with its
//! own `ServiceAccount`. Each test has its own namespace.

mod again;
mod guardrails;
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
mod states;
mod tenant;
mod words;
