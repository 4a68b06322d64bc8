//! Actions on a whole workload: restart, scale, and raising the minimum of an autoscaler.

mod autoscaled;
mod crash;
mod replica_set;
mod restart;
mod scale;
mod strangers;
mod taken_back;
mod unknown_owner;
mod workload;
