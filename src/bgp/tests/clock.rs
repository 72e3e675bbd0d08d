//! The virtual clock of these tests: one instant to start from, everything else is added to it.
#![expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]

use std::time::{Duration, Instant};

/// Where a test's time begins.
pub(super) fn start() -> Instant {
    Instant::now()
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
