//! Healing on a real cluster, with the controller as a pod under its own
//! `ServiceAccount`.

mod dry_run;
mod leak;
mod limits;
mod refusals;
mod schema;
mod unfit;
