//! What is asserted of whatever a router can send: the bodies of the targets in `fuzz_targets/`.
//!
//! The fuzzer makes up the inputs; `tests/hostile/corpus.rs`, which includes this file, feeds the same
//! functions with the corpus and with every case of the hostile router, on any toolchain.
mod bfd;
mod connection;
mod input;
mod memory;
mod message;
mod octets;
mod open;
mod update;

use std::time::Instant;

pub use bfd::bfd;
pub use connection::connection;
pub use message::message;
pub use open::open;
pub use update::update;

/// Where the time of each input begins; everything else is added to it.
#[expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
fn start() -> Instant {
    Instant::now()
}
