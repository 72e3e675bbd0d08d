//! Drives the service cores through their public methods, on a virtual clock.
#![expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
mod gate;
mod health;
mod service;
mod unit;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::gate::Config;
use super::health::{Thresholds, Verdict};

fn start() -> Instant {
    Instant::now()
}

fn thresholds(rise: u32, fall: u32) -> Thresholds {
    let count = |number| NonZeroU32::new(number).expect("a threshold is not zero");
    Thresholds { rise: count(rise), fall: count(fall) }
}

/// Nothing stands in the way, and nothing is drained for long.
fn gate() -> Config {
    Config {
        drain_time: Duration::from_secs(5),
        announce_delay: Duration::ZERO,
        degrades: false,
        damping: None,
    }
}
