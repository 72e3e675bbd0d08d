//! Wakes the thread at a moment of the monotonic clock.
//!
//! A timer of the kernel with an absolute time, since the time until a deadline is wrong as soon as
//! the thread is held up between computing it and going to sleep; and since the kernel rounds how
//! long a thread of normal priority sleeps, but not its timers.
#![expect(clippy::disallowed_methods, reason = "driver: clock and a timer")]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};

/// How often the two clocks are read to find out how they are related.
const READINGS: usize = 16;

/// One timer, readable when its time has come.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// The same moment as [`Instant`] and as the kernel has it
    origin: (Instant, Duration),
    /// What the timer is set to
    at: Option<Instant>,
}

impl Alarm {
    /// Not set.
    pub(super) fn new() -> nix::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { timer, origin: origin()?, at: None })
    }

    /// Sets it to a moment, or to none; one that has passed is now.
    pub(super) fn set(&mut self, at: Option<Instant>) -> nix::Result<()> {
        if self.at == at {
            return Ok(());
        }
        match at {
            Some(at) => {
                let (instant, kernel) = self.origin;
                let at = kernel + at.saturating_duration_since(instant);
                let once = Expiration::OneShot(TimeSpec::from(at));
                self.timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.at = at;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// [`Instant`] does not tell what the kernel calls it, so both are read, several times: the closest
/// pair of readings is that in which nothing came between them.
fn origin() -> nix::Result<(Instant, Duration)> {
    let mut best: Option<(Duration, (Instant, Duration))> = None;
    for _ in 0..READINGS {
        let before = Instant::now();
        let kernel = Duration::from(clock_gettime(Clock::CLOCK_MONOTONIC)?);
        let after = Instant::now();
        let apart = after - before;
        if best.is_none_or(|(closest, _)| apart < closest) {
            best = Some((apart, (before, kernel)));
        }
    }
    best.map(|(_, origin)| origin).ok_or(nix::Error::EAGAIN)
}
