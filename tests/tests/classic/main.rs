//! The five rules of `examples/policies`, all on one app: for each fault exactly one of them
//! acts, and the action helps.
//!
//! Usually these are the versions of `make demo`, with short times. With their real times they
//! take minutes: `make test-classic`.

#[cfg(feature = "classic")]
mod numbers;

mod app;
mod heal;
#[cfg(not(feature = "classic"))]
mod hurry;
#[cfg(not(feature = "classic"))]
mod policies;
mod rules;
