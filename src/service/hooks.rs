//! Programs of the operator that are told what becomes of a service: which one is due, and when it may
//! be run.
//!
//! They tell of a state, not of every change: one runs at a time for each service, and of what happens
//! meanwhile only the last counts.
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::check::Failure;
use crate::process::{Environment, Program};
use crate::route::ServiceName;

/// What there is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// Its VIPs begin to be announced
    Up,
    /// They are not any more, and that was nobody's wish
    Down,
    /// They are not any more, by the operator's wish
    Drain,
}

impl Hook {
    /// What follows from whether a service was announced, whether it is now, and whether the operator
    /// has taken it out.
    #[must_use]
    pub fn due(was_announced: bool, is_announced: bool, is_taken_out: bool) -> Option<Self> {
        match (was_announced, is_announced) {
            (false, true) => Some(Self::Up),
            (true, false) if is_taken_out => Some(Self::Drain),
            (true, false) => Some(Self::Down),
            (true, true) | (false, false) => None,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "on-up",
            Self::Down => "on-down",
            Self::Drain => "on-drain",
        })
    }
}

/// The hooks of a service, as the operator wrote them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `on-up`
    pub up: Option<Program>,
    /// `on-down`
    pub down: Option<Program>,
    /// `on-drain`
    pub drain: Option<Program>,
    /// One that takes longer is killed
    pub timeout: Duration,
}

impl Config {
    /// What is run, if anything is.
    #[must_use]
    pub fn program(&self, hook: Hook) -> Option<&Program> {
        match hook {
            Hook::Up => self.up.as_ref(),
            Hook::Down => self.down.as_ref(),
            Hook::Drain => self.drain.as_ref(),
        }
    }
}

/// A hook to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// Which one
    pub hook: Hook,
    /// What is run
    pub program: Program,
    /// What it is told, and of which service
    pub environment: Environment,
    /// When it takes longer it is killed
    pub timeout: Duration,
}

/// The end of a hook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Of which service
    pub service: ServiceName,
    /// It did what it should, or why not
    pub result: Result<(), Failure>,
    /// How long that took
    pub took: Duration,
}

/// The hooks of all services that are under way, and what is to follow.
#[derive(Debug, Default)]
pub struct Queue(BTreeMap<ServiceName, (Hook, Option<Run>)>);

impl Queue {
    /// Something is to be told of a service, by this program or by none; what is to be run now.
    pub fn push(&mut self, service: &ServiceName, run: Option<Run>) -> Option<Run> {
        if let Some((_, next)) = self.0.get_mut(service) {
            // Whatever was to follow is not so any more, also where there is nobody to be told.
            *next = run;
            return None;
        }
        let run = run?;
        self.0.insert(service.clone(), (run.hook, None));
        Some(run)
    }

    /// A hook of a service has ended: which one, and what is to be run now.
    pub fn handle_ended(&mut self, service: &ServiceName) -> Option<(Hook, Option<Run>)> {
        let (ended, next) = self.0.remove(service)?;
        let next = next.and_then(|run| self.push(service, Some(run)));
        Some((ended, next))
    }

    /// The hooks that run.
    pub fn under_way(&self) -> impl Iterator<Item = (&ServiceName, Hook)> {
        self.0.iter().map(|(service, (hook, _))| (service, *hook))
    }
}
