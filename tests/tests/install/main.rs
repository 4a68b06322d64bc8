//! Installing for real clusters, and getting rid of it again: the documented lines, the
//! image as a file, the alerts on the healer itself, and what happens where a right was
//! left out.

mod alerts;
mod image;
mod priority;
mod rights;
mod uninstall;
