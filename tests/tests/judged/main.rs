//! Evaluation on a real cluster: storms, replacements with the same name, rollouts in progress,
//! whole workloads as targets, protected pods, pods that start or end slowly, refused evictions, queries that match no target, and many policies
//! that are evaluated at the same time. The API server's request log shows what was done. Each
//! test has its own namespace.

mod app;
mod available;
mod protected;
mod reach;
mod refused;
mod rollout;
mod same_instant;
mod same_name;
mod slow_start;
mod storm;
mod workload;
