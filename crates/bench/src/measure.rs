//! The measurements.

pub(crate) mod latency;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod timeline;
