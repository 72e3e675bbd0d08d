//! Drives the check cores through their public methods, on a virtual clock.
#![expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
mod dns;
mod schedule;
mod trust;

use std::time::{Duration, Instant};

fn start() -> Instant {
    Instant::now()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}
