//! When a datagram came, by the stamp that the kernel put on it.
//!
//! Silence is counted from the moment in which a packet came, not from that in which we got to read
//! it: a thread that woke up late, or was stopped, must not take its own delay for the router's.
//!
//! The kernel stamps by the wall clock, which somebody may set; all deadlines are of the monotonic
//! one. So what is taken from the stamp is an age alone, and that is believed only if it lies
//! between the moment in which the socket was last seen empty and now. Any other tells of a clock
//! that was set in between and not of the router: such a datagram came now. So a clock that jumps
//! may delay a verdict by as long as we did not look; it can cause one only by a step forward that
//! is smaller than that, while packets wait.
//!
//! Where many had been waiting, some may have found no room: what the last one says of when the router
//! was last heard is worth nothing then, and it came now, too.
use std::time::{Duration, Instant};

/// Fewer find room in the least buffer that a host gives to those who may not ask for more.
const FIND_ROOM: usize = 128;

/// When a datagram came whose stamp has this age (`None`: it is from the future), if the stamp can
/// be believed. So many have been read since the socket was seen empty, at `empty_at` or later.
pub(super) fn arrival(
    now: Instant,
    empty_at: Instant,
    age: Option<Duration>,
    waited: usize,
) -> Option<Instant> {
    let at = now.checked_sub(age?)?;
    (at >= empty_at && waited < FIND_ROOM).then_some(at)
}
