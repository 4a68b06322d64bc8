//! Drives the real binary over HTTP on loopback. Nothing waits for a fixed
//! time: what must come about is polled until a deadline.

mod answers;
mod faults;
mod load;
mod process;
mod shutdown;
mod sticky;
