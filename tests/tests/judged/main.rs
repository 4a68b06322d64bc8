//! How it is judged, on a real cluster and with the API server's request log as the
//! witness: storms, successors that carry a name on, rollouts under way, whole workloads
//! as targets, those whom nothing condemns, queries that reach nobody, and many policies
//! that are asked together. Each test has a namespace of its own.

mod app;
mod protected;
mod reach;
mod rollout;
mod storm;
mod successor;
mod together;
mod workload;
