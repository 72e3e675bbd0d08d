//! Drives the BFD cores through their public methods, on a virtual clock.
#![expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
mod arrival;
mod authentication;
mod echo;
mod packet;
mod restart;
mod schedule;
mod session;
mod sessions;
mod simulation;
mod socket;

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use super::packet::{Diag, Packet, State};
use super::session::Config;

const STATES: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];
/// The shortest time there is: just before a moment, nothing of that moment has happened.
const TICK: Duration = Duration::from_nanos(1);

fn start() -> Instant {
    Instant::now()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn mult(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).expect("a multiplier is not zero")
}

fn discriminator(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("a discriminator is not zero")
}

/// Detect Mult, and Desired Min TX and Required Min RX in milliseconds.
fn config(detect_mult: u8, desired_min_tx: u64, required_min_rx: u64) -> Config {
    Config {
        detect_mult: mult(detect_mult),
        desired_min_tx: millis(desired_min_tx),
        required_min_rx: millis(required_min_rx),
        passive: false,
        demand: None,
        echo: None,
    }
}

/// What a peer with the discriminator 2 says to our session 1, at intervals of a second.
fn said(state: State) -> Packet {
    Packet {
        diag: Diag::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        authentication_present: false,
        demand: false,
        detect_mult: mult(3),
        my_discriminator: discriminator(2),
        your_discriminator: Some(discriminator(1)),
        desired_min_tx: secs(1),
        required_min_rx: millis(300),
        required_min_echo_rx: Duration::ZERO,
    }
}
