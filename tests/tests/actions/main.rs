//! What is done to a whole workload: it is restarted, or scaled.

mod restart;
mod workload;
