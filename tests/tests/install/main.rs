//! Installing and uninstalling: the documented commands, the image as a file, the alerts about
//! Prunella itself, and a missing right.

mod alerts;
mod image;
mod priority;
mod rights;
mod uninstall;
