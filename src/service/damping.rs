//! A service that goes down again and again is held down for longer each time: every route that
//! comes and goes moves flows, and some routers stop listening to it.
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When it is too often, and what follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// So many times it may go down
    pub flaps: u32,
    /// in this time
    pub within: Duration,
    /// Then it is held down for so long since it last went down, and each time twice as long
    pub hold: Duration,
    /// But no longer than this
    pub longest: Duration,
}

/// How often a service has gone down of late.
#[derive(Clone, Debug, Default)]
pub struct Damping {
    config: Option<Config>,
    /// The last few times, no more than what is needed to see that it was too often
    falls: VecDeque<Instant>,
    /// How often it was held down, as long as it goes on
    holds: u32,
    until: Option<Instant>,
}

impl Damping {
    /// Nothing has happened yet; without a configuration nothing ever follows.
    #[must_use]
    pub fn new(config: Option<Config>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Goes by another configuration. What was wrong by the one before may be right by this.
    pub fn configure(&mut self, config: Option<Config>) {
        if self.config != config {
            *self = Self::new(config);
        }
    }

    /// The service went down.
    pub fn handle_fall(&mut self, now: Instant) {
        let Some(config) = self.config else { return };
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < config.within;
        self.falls.retain(is_recent);
        if self.falls.is_empty() && !self.is_holding(now) {
            self.holds = 0;
        }
        self.falls.push_back(now);
        if self.falls.len() > config.flaps as usize {
            self.falls.pop_front();
            let hold =
                config.hold.saturating_mul(1_u32.checked_shl(self.holds).unwrap_or(u32::MAX));
            self.until = Some(now + hold.min(config.longest));
            self.holds = self.holds.saturating_add(1);
        }
    }

    /// Forgets all that happened; whether the service was held down.
    pub fn release(&mut self, now: Instant) -> bool {
        let was_holding = self.is_holding(now);
        *self = Self::new(self.config);
        was_holding
    }

    /// Until when the service is held down, if it is.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// What was too often: how many times, in what time.
    #[must_use]
    pub fn excess(&self) -> Option<(u32, Duration)> {
        self.config.map(|config| (config.flaps + 1, config.within))
    }

    fn is_holding(&self, now: Instant) -> bool {
        self.until(now).is_some()
    }
}
