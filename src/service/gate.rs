//! From a verdict to what becomes of the VIPs. A healthy service is announced unless something
//! stands in the way: the operator's wish, that it has flapped, that it came up just now.
use std::fmt;
use std::time::{Duration, Instant};

use super::admin::{Admin, Keep, Mode, Wishes};
use super::damping::{self, Damping};
use super::health::Verdict;
use super::unit::{Following, News};
use crate::units::{State, UnitName};

/// What the operator wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// For how long packets may come after a withdrawal
    pub drain_time: Duration,
    /// Between coming up and being announced
    pub announce_delay: Duration,
    /// It is announced while it is down, as the last resort
    pub degrades: bool,
    /// What follows when it goes down too often
    pub damping: Option<damping::Config>,
}

/// What is done with the VIPs, on this host and at the routers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Announced
    Announce,
    /// Announced as the last resort
    Degrade,
    /// Not announced, but on the host: packets may come
    Serve,
    /// Not announced; whether they are on the host is left as it is until more is known
    Wait,
    /// Not announced, and no business of this host
    Withdraw,
}

impl Decision {
    /// Whether the routers are told.
    #[must_use]
    pub fn is_announced(self) -> bool {
        matches!(self, Self::Announce | Self::Degrade)
    }

    /// Whether packets for the VIPs are taken in.
    #[must_use]
    pub fn is_served(self) -> bool {
        matches!(self, Self::Announce | Self::Degrade | Self::Serve)
    }
}

/// What stands in the way of a service that may be healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// The operator has taken it out
    Admin {
        /// For how long
        keep: Keep,
        /// The wish
        admin: Admin,
        /// Packets may still come for so long
        left: Duration,
    },
    /// The unit that it follows does not run, is asked to stop, or was not heard of yet
    Unit {
        /// Which unit
        unit: UnitName,
        /// What it is like
        state: State,
        /// Packets may still come for so long
        left: Duration,
    },
    /// It went down too often
    Flapped {
        /// So many times
        times: u32,
        /// in this time
        within: Duration,
        /// It is held down for so long
        left: Duration,
    },
    /// It came up just now
    Delayed {
        /// It is announced after that
        left: Duration,
    },
}

impl Obstacle {
    /// In one word, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Admin { admin: Admin { mode: Mode::Down, .. }, .. } => "admin-down",
            Self::Admin { admin: Admin { mode: Mode::Drain, .. }, .. } => "drain",
            Self::Unit { .. } => "unit",
            Self::Flapped { .. } => "damping",
            Self::Delayed { .. } => "announce-delay",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the tenth of a second.
        let rounded =
            |left: &Duration| Duration::from_secs_f64((left.as_secs_f64() * 10.0).floor() / 10.0);
        match self {
            Self::Admin { admin, left, .. } => {
                match admin.mode {
                    Mode::Down => f.write_str("admin down")?,
                    Mode::Drain if left.is_zero() => f.write_str("drained")?,
                    Mode::Drain => f.write_str("draining")?,
                }
                admin.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
            }
            Self::Unit { unit, state, .. } => f.write_str(&state.describe(unit)),
            Self::Flapped { times, within, left } => {
                let left = rounded(left);
                write!(f, "went down {times} times within {within:?}, held down for {left:?}")
            }
            Self::Delayed { left } => {
                write!(f, "came up just now, announced in {:?}", rounded(left))
            }
        }
    }
}

/// The way of a service's VIPs to the routers.
#[derive(Clone, Debug)]
pub struct Gate {
    config: Config,
    verdict: Verdict,
    wishes: Wishes,
    unit: Option<Following>,
    damping: Damping,
    /// From when on no packets are expected, while it is being drained
    drained_at: Option<Instant>,
    /// Not announced before
    delayed_until: Option<Instant>,
    decision: Decision,
}

impl Gate {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            verdict: Verdict::Unknown,
            wishes: Wishes::default(),
            unit: None,
            damping: Damping::new(config.damping),
            drained_at: None,
            delayed_until: None,
            decision: Decision::Wait,
        }
    }

    /// Takes in the verdict on the service.
    pub fn handle_verdict(&mut self, verdict: Verdict, now: Instant) {
        let before = std::mem::replace(&mut self.verdict, verdict);
        // Without its unit it cannot but fail, which is not news.
        if (before, verdict) == (Verdict::Up, Verdict::Down) && !self.is_held_by_unit() {
            self.damping.handle_fall(now);
        }
        if verdict != before {
            let is_up = verdict == Verdict::Up && !self.config.announce_delay.is_zero();
            self.delayed_until = is_up.then_some(now + self.config.announce_delay);
        }
        self.decide(now);
    }

    /// Takes in what the operator wants.
    pub fn set_wishes(&mut self, wishes: Wishes, now: Instant) {
        self.wishes = wishes;
        self.decide(now);
    }

    /// Follows a unit from now on, or none.
    pub fn follow(&mut self, unit: Option<Following>, now: Instant) {
        self.unit = unit;
        self.decide(now);
    }

    /// Takes in what has become of the unit that is followed.
    pub fn set_unit(&mut self, state: State, now: Instant) -> News {
        let Some(unit) = &mut self.unit else { return News::default() };
        let news = unit.handle(state);
        if news.has_crashed && self.verdict == Verdict::Up {
            self.damping.handle_fall(now);
        }
        self.decide(now);
        news
    }

    /// Goes by another configuration. What is under way goes on.
    pub fn configure(&mut self, config: Config, now: Instant) {
        self.config = config;
        self.damping.configure(config.damping);
        let latest = now + config.announce_delay;
        self.delayed_until = self.delayed_until.map(|until| until.min(latest));
        self.decide(now);
    }

    /// Announces a service that came up without a delay: the routers have had its VIPs all the time.
    pub fn skip_delay(&mut self, now: Instant) {
        self.delayed_until = None;
        self.decide(now);
    }

    /// Forgets how often it went down; whether it was held down for that.
    pub fn release(&mut self, now: Instant) -> bool {
        let was_held = self.damping.release(now);
        self.decide(now);
        was_held
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.decide(now);
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let later = |at: Option<Instant>| at.filter(|at| now < *at);
        let all = [later(self.drained_at), self.damping.until(now), later(self.delayed_until)];
        all.into_iter().flatten().min()
    }

    /// What is done with the VIPs.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// What the operator wants.
    #[must_use]
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// The unit that is followed.
    #[must_use]
    pub fn unit(&self) -> Option<&Following> {
        self.unit.as_ref()
    }

    /// What stands in the way, if health alone does not decide.
    #[must_use]
    pub fn obstacle(&self, now: Instant) -> Option<Obstacle> {
        let left =
            |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if let Some((keep, admin)) = self.wishes.strongest() {
            let admin = admin.clone();
            return Some(Obstacle::Admin { keep, admin, left: left(self.drained_at) });
        }
        let is_up = self.verdict == Verdict::Up;
        let in_the_way = |unit: &&Following| unit.holds() || is_up && unit.is_awaited();
        if let Some(following) = self.unit.as_ref().filter(in_the_way) {
            let state = following.state().cloned().unwrap_or(State::UNKNOWN);
            let unit = following.unit().clone();
            return Some(Obstacle::Unit { unit, state, left: left(self.drained_at) });
        }
        if !is_up {
            return None;
        }
        let held = self.damping.until(now);
        if let Some((times, within)) = self.damping.excess().filter(|_| held.is_some()) {
            return Some(Obstacle::Flapped { times, within, left: left(held) });
        }
        let delayed = self.delayed_until.filter(|until| now < *until);
        delayed.map(|until| Obstacle::Delayed { left: left(Some(until)) })
    }

    fn is_held_by_unit(&self) -> bool {
        self.unit.as_ref().is_some_and(Following::holds)
    }

    fn decide(&mut self, now: Instant) {
        let wish = self.wishes.strongest().map(|(_, admin)| admin.mode);
        // What stops with its unit is drained, as if the operator had said so.
        let wish = wish.or_else(|| self.is_held_by_unit().then_some(Mode::Drain));
        let is_awaited = self.unit.as_ref().is_some_and(Following::is_awaited);
        self.drained_at = match (wish, self.drained_at) {
            (Some(Mode::Drain), None) if self.decision.is_served() => {
                Some(now + self.config.drain_time)
            }
            (Some(Mode::Drain), begun) => begun,
            _ => None,
        };
        let is_ahead = |at: Option<Instant>| at.is_some_and(|at| now < at);
        let down = if self.config.degrades { Decision::Degrade } else { Decision::Withdraw };
        self.decision = match (wish, self.verdict) {
            (Some(Mode::Drain), _) if is_ahead(self.drained_at) => Decision::Serve,
            (Some(_), _) => Decision::Withdraw,
            (None, Verdict::Unknown) => Decision::Wait,
            (None, Verdict::Down) => down,
            (None, Verdict::Up) if is_awaited => Decision::Wait,
            (None, Verdict::Up) if self.damping.until(now).is_some() => down,
            (None, Verdict::Up) if is_ahead(self.delayed_until) => Decision::Serve,
            (None, Verdict::Up) => Decision::Announce,
        };
    }
}
