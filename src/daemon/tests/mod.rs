//! The parts of the process that can be had without it.
mod hooks;
mod store;
