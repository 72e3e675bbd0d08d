//! How regularly packets come or go, and how long they take.
use std::time::{Duration, Instant};

/// The intervals between packets since a moment that matters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    last: Option<Instant>,
    spread: Spread,
}

impl Pace {
    /// Takes in a packet.
    pub fn handle_packet(&mut self, at: Instant) {
        if let Some(last) = self.last.replace(at) {
            self.spread.add(at.saturating_duration_since(last));
        }
    }

    /// What the intervals were like; `None` when there was none.
    #[must_use]
    pub fn intervals(&self) -> Option<Intervals> {
        self.spread.intervals()
    }
}

/// Times that were measured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spread {
    count: u32,
    total: Duration,
    shortest: Duration,
    longest: Duration,
}

impl Spread {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        if self.count == u32::MAX {
            return;
        }
        let is_first = self.count == 0;
        self.count += 1;
        self.total += time;
        self.shortest = if is_first { time } else { self.shortest.min(time) };
        self.longest = self.longest.max(time);
    }

    /// What they were like; `None` when there was none.
    #[must_use]
    pub fn intervals(&self) -> Option<Intervals> {
        let mean = self.total.checked_div(self.count)?;
        Some(Intervals { shortest: self.shortest, mean, longest: self.longest })
    }
}

/// Times, summed up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intervals {
    /// The smallest
    pub shortest: Duration,
    /// Their sum, divided by how many there were
    pub mean: Duration,
    /// The largest
    pub longest: Duration,
}
