//! What is done to a whole workload: it is restarted, or scaled, or its autoscaler is
//! told to.

mod autoscaled;
mod crash;
mod replica_set;
mod restart;
mod scale;
mod strangers;
mod workload;
