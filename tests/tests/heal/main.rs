//! Healing on a real cluster, with the controller as a pod under its own
//! `ServiceAccount`.

mod leak;
