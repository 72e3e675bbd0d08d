//! How regularly packets come or go.
use std::time::{Duration, Instant};

/// The intervals between packets since a moment that matters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    last: Option<Instant>,
    count: u32,
    total: Duration,
    shortest: Duration,
    longest: Duration,
}

impl Pace {
    /// Takes in a packet.
    pub fn handle_packet(&mut self, at: Instant) {
        let Some(last) = self.last.replace(at) else { return };
        let interval = at.saturating_duration_since(last);
        if self.count == u32::MAX {
            return;
        }
        let is_first = self.count == 0;
        self.count += 1;
        self.total += interval;
        self.shortest = if is_first { interval } else { self.shortest.min(interval) };
        self.longest = self.longest.max(interval);
    }

    /// What the intervals were like; `None` when there was none.
    #[must_use]
    pub fn intervals(&self) -> Option<Intervals> {
        let mean = self.total.checked_div(self.count)?;
        Some(Intervals { shortest: self.shortest, mean, longest: self.longest })
    }
}

/// Intervals that were measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intervals {
    /// The smallest
    pub shortest: Duration,
    /// Their sum, divided by how many there were
    pub mean: Duration,
    /// The largest
    pub longest: Duration,
}
