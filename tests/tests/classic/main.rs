//! The five classic rules of `examples/policies`, all of them on one app: for each fault
//! exactly one of them acts, does what it is for, and it helps.
//!
//! In a hurry these are the variants that `make demo` shows. With their own numbers they
//! take minutes and have a line of their own in the menu, `make test-classic`.

#[cfg(feature = "classic")]
mod numbers;

mod app;
mod heal;
#[cfg(not(feature = "classic"))]
mod hurry;
#[cfg(not(feature = "classic"))]
mod policies;
mod rules;
