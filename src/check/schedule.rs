//! When each probe is due.
//!
//! Every check keeps to a grid of its own: a probe that takes long, or begins late, does not shift
//! the ones after it. The first round begins at once, one check shortly after the other; the
//! second is spread at random over the interval, so that checks never fire together. A check
//! never has two probes at a time: points of its grid that pass while one runs are left out.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::CheckId;

/// Between the first probes of two checks that are added together.
const STAGGER: Duration = Duration::from_micros(200);

/// How often a check is probed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// While the verdict stands
    pub steady: Duration,
    /// While outcomes speak against the verdict, and until there is one
    pub changing: Duration,
    /// While the verdict is down
    pub down: Duration,
    /// Up to this much later, at random, in percent of the interval
    pub jitter_percent: u8,
}

/// Which of its intervals a check goes by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "see the fields of Pace")]
pub enum Mode {
    Steady,
    #[default]
    Changing,
    Down,
}

impl Pace {
    /// The longest of the intervals.
    #[must_use]
    pub fn longest(self) -> Duration {
        self.steady.max(self.changing).max(self.down)
    }

    fn interval(self, mode: Mode) -> Duration {
        match mode {
            Mode::Steady => self.steady,
            Mode::Changing => self.changing,
            Mode::Down => self.down,
        }
    }
}

#[derive(Debug)]
struct Entry {
    pace: Pace,
    mode: Mode,
    /// The last point of the grid
    grid: Instant,
    /// The place in the queue, unless a probe runs
    due: Option<Instant>,
    /// How many probes have begun, as far as two
    begun: u8,
    /// The next one is wanted as soon as this one has ended
    hastened: bool,
}

/// All checks.
#[derive(Debug)]
pub struct Schedule {
    entries: BTreeMap<CheckId, Entry>,
    queue: BTreeSet<(Instant, CheckId)>,
    /// The first probe of the check that was added last
    last_first: Option<Instant>,
    random: fastrand::Rng,
}

impl Schedule {
    /// Nothing to do yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            last_first: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Adds a check, or replaces the one of this name; its first probe is due at once.
    pub fn insert(&mut self, id: CheckId, pace: Pace, now: Instant) {
        self.remove(&id);
        let due = self.last_first.map_or(now, |last| now.max(last + STAGGER));
        self.last_first = Some(due);
        self.queue.insert((due, id.clone()));
        let mode = Mode::default();
        let (grid, due) = (due, Some(due));
        self.entries.insert(id, Entry { pace, mode, grid, due, begun: 0, hastened: false });
    }

    /// Forgets a check.
    pub fn remove(&mut self, id: &CheckId) {
        if let Some(due) = self.entries.remove(id).and_then(|entry| entry.due) {
            self.queue.remove(&(due, id.clone()));
        }
    }

    /// Goes by another interval from now on.
    pub fn set_mode(&mut self, id: &CheckId, mode: Mode, now: Instant) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.mode != mode) else {
            return;
        };
        let before = entry.pace.interval(entry.mode);
        entry.mode = mode;
        let interval = entry.pace.interval(mode);
        if interval == before {
            return;
        }
        if entry.begun == 0 {
            return; // the first probe stays where it is
        }
        entry.grid = now;
        if let Some(due) = entry.due {
            self.queue.remove(&(due, id.clone()));
            self.enqueue(id, now);
        }
    }

    /// The probe ended: the next one takes its place on the grid.
    pub fn handle_finished(&mut self, id: &CheckId, now: Instant) {
        if self.entries.get(id).is_some_and(|entry| entry.due.is_none()) {
            self.enqueue(id, now);
        }
        if self.entries.get(id).is_some_and(|entry| entry.hastened) {
            self.hasten(id, now);
        }
    }

    /// Puts in a probe at once, between two points of the grid: what it asks about has changed. One
    /// that is under way may not have seen that, so another follows it.
    pub fn hasten(&mut self, id: &CheckId, now: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.hastened = entry.due.is_none();
        if let Some(due) = entry.due.filter(|due| *due > now) {
            if entry.begun > 0 {
                // The point that it waits for is still to come.
                entry.grid -= entry.pace.interval(entry.mode);
            }
            entry.due = Some(now);
            self.queue.remove(&(due, id.clone()));
            self.queue.insert((now, id.clone()));
        }
    }

    /// The next check whose probe is due; [`Self::handle_finished`] must follow it.
    pub fn poll_due(&mut self, now: Instant) -> Option<CheckId> {
        let (due, _) = self.queue.first()?;
        if *due > now {
            return None;
        }
        let (_, id) = self.queue.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.due = None;
            entry.begun = (entry.begun + 1).min(2);
        }
        Some(id)
    }

    /// When to call [`Self::poll_due`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    fn enqueue(&mut self, id: &CheckId, now: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let interval = entry.pace.interval(entry.mode);
        if entry.begun < 2 {
            // The second probe is where this check takes its own place within the interval.
            entry.grid -= interval.mul_f64(self.random.f64());
        }
        let passed = now.saturating_duration_since(entry.grid).as_nanos();
        let missed = passed / interval.as_nanos().max(1);
        entry.grid += interval * u32::try_from(missed).unwrap_or(u32::MAX) + interval;
        let jitter = f64::from(entry.pace.jitter_percent) / 100.0 * self.random.f64();
        let due = entry.grid + interval.mul_f64(jitter);
        entry.due = Some(due);
        self.queue.insert((due, id.clone()));
    }
}
