//! Healing on a real cluster. The controller runs as a pod with its own `ServiceAccount`.

mod crash_loop;
mod dry_run;
mod leak;
mod limits;
mod refusals;
mod schema;
mod steps;
mod unfit;
