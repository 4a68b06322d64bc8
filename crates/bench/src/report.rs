//! The runs, their figures and bounds, and the page with them.

pub(crate) mod figures;
pub(crate) mod page;
pub(crate) mod run;
pub(crate) mod runs;
mod text;
pub(crate) mod timeline;
