//! Does a service deserve its VIPs now? Its checks' verdicts and what it requires of them decide.
pub mod admin;
pub mod damping;
pub mod gate;
pub mod health;
pub mod hooks;
pub mod unit;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::check::schedule::Mode;
use crate::check::{Check, Failure, Outcome};
use crate::process::Surroundings;
use crate::route::{CheckName, Degradation, GroupName, Weight};
use crate::units::UnitName;
use health::{Health, Thresholds, Verdict};

/// A service as the operator wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The addresses it owns
    pub vips: Vec<IpAddr>,
    /// Where they are put; `None`: somebody else does
    pub interface: Option<String>,
    /// They stay there while the service is down
    pub keep_address: bool,
    /// How many of its checks must be up; those of a group count as one
    pub require: Require,
    /// How many of a group's checks must be up for the group to be
    pub groups: BTreeMap<GroupName, Require>,
    /// What stands between its verdict and the routers
    pub gate: gate::Config,
    /// The unit of systemd without which it is not announced, whatever its checks say
    pub unit: Option<UnitName>,
    /// How it is announced while it is down, if it is then
    pub degraded: Option<Arc<Degradation>>,
    /// What is run when it is announced, and when it is not any more
    pub hooks: Option<Box<hooks::Config>>,
    /// Its share of the traffic; the routers are not told when `None`
    pub weight: Option<Weight>,
    /// At least one
    pub checks: BTreeMap<CheckName, CheckConfig>,
}

/// A check and what its outcomes are worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckConfig {
    /// What is probed, and when; the prober shares it
    pub check: Arc<Check>,
    /// How many outcomes change its verdict
    pub thresholds: Thresholds,
    /// It counts together with others
    pub group: Option<GroupName>,
}

/// How many of a service's checks must be up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Require {
    /// Every one
    All,
    /// This many
    AtLeast(usize),
}

impl Require {
    /// What follows from these verdicts; `Unknown` as long as those that are unknown decide.
    fn judge(self, verdicts: &[Verdict]) -> Verdict {
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        let (up, unknown) = (count(Verdict::Up), count(Verdict::Unknown));
        let needed = match self {
            Self::All => verdicts.len(),
            Self::AtLeast(number) => number,
        };
        if up >= needed {
            Verdict::Up
        } else if up + unknown < needed {
            Verdict::Down
        } else {
            Verdict::Unknown
        }
    }
}

/// One check of a service and what is known about it.
#[derive(Debug)]
pub struct CheckState {
    health: Health,
    last: Option<Outcome>,
    last_failure: Option<Failure>,
    mode: Mode,
}

impl CheckState {
    fn new(thresholds: Thresholds) -> Box<Self> {
        let (health, mode) = (Health::new(thresholds), Mode::default());
        Box::new(Self { health, last: None, last_failure: None, mode })
    }

    /// Its verdict and how firm that is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Its last outcome.
    #[must_use]
    pub fn last(&self) -> Option<&Outcome> {
        self.last.as_ref()
    }
}

/// What an outcome led to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Consequence {
    /// The check's verdict changed
    pub check_changed: bool,
    /// The service's verdict changed
    pub service_changed: bool,
    /// The check is to be probed at another interval
    pub mode: Option<Mode>,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    config: Config,
    /// Boxed, since a node of a map has room for eleven and most services have one
    checks: BTreeMap<CheckName, Box<CheckState>>,
    verdict: Verdict,
}

impl Service {
    /// Nothing is known yet about its checks.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let checks = config.checks.iter();
        let checks =
            checks.map(|(name, check)| (name.clone(), CheckState::new(check.thresholds))).collect();
        Self { config, checks, verdict: Verdict::Unknown }
    }

    /// Takes in the outcome of a probe.
    pub fn handle_outcome(&mut self, check: &CheckName, outcome: Outcome) -> Consequence {
        let Some(state) = self.checks.get_mut(check) else { return Consequence::default() };
        let check_changed = state.health.handle_outcome(outcome.result.is_ok());
        if let Err(failure) = &outcome.result {
            state.last_failure = Some(failure.clone());
        }
        state.last = Some(outcome);
        let mode = match (state.health.against(), state.health.verdict()) {
            ((0, _), Verdict::Up) => Mode::Steady,
            ((0, _), Verdict::Down) => Mode::Down,
            _ => Mode::Changing,
        };
        let new_mode = (mode != state.mode).then_some(mode);
        state.mode = mode;
        Consequence { check_changed, service_changed: self.judge(), mode: new_mode }
    }

    /// Forgets what is known about checks that have had no outcome for too long: the host was
    /// suspended, or nothing probes any more. Whether the verdict changed.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut is_forgotten = false;
        for (name, state) in &mut self.checks {
            let Some(config) = self.config.checks.get(name) else { continue };
            let last = state.last.as_ref().map(|outcome| outcome.finished);
            let is_known = state.health.verdict() != Verdict::Unknown;
            if is_known && last.is_some_and(|at| now > at + config.check.patience()) {
                state.health = Health::new(config.thresholds);
                state.mode = Mode::default();
                is_forgotten = true;
            }
        }
        if !is_forgotten {
            return false;
        }
        let before = std::mem::take(&mut self.verdict);
        self.judge();
        self.verdict != before
    }

    /// Forgets what is known about all checks: it is about what is not there any more. Whether the
    /// verdict changed; the checks are to be started anew.
    pub fn forget(&mut self) -> bool {
        for (name, state) in &mut self.checks {
            let Some(config) = self.config.checks.get(name) else { continue };
            state.health = Health::new(config.thresholds);
            state.mode = Mode::default();
            state.last_failure = None;
        }
        std::mem::take(&mut self.verdict) != Verdict::Unknown
    }

    /// Takes over a new configuration. Checks that did not change keep what is known about them;
    /// returns those that begin anew and those that are gone, and whether the verdict changed.
    pub fn configure(&mut self, config: Config) -> Reconfigured {
        let before = std::mem::replace(&mut self.config, config);
        let mut result = Reconfigured::default();
        for (name, check) in &self.config.checks {
            let same = before.checks.get(name).is_some_and(|old| old.check == check.check);
            match self.checks.get_mut(name).filter(|_| same) {
                Some(state) => state.health.set_thresholds(check.thresholds),
                None => {
                    self.checks.insert(name.clone(), CheckState::new(check.thresholds));
                    result.started.push(name.clone());
                }
            }
        }
        let gone = before.checks.keys().filter(|name| !self.config.checks.contains_key(*name));
        result.stopped = gone.cloned().collect();
        self.checks.retain(|name, _| self.config.checks.contains_key(name));
        result.service_changed = self.judge();
        result
    }

    /// Works out the verdict; whether it changed.
    fn judge(&mut self) -> bool {
        let mut verdicts = Vec::with_capacity(self.checks.len());
        let mut groups: BTreeMap<&GroupName, Vec<Verdict>> = BTreeMap::new();
        for (name, check) in &self.checks {
            let config = self.config.checks.get(name);
            match config.and_then(|config| config.group.as_ref()) {
                Some(group) => groups.entry(group).or_default().push(check.health.verdict()),
                None => verdicts.push(check.health.verdict()),
            }
        }
        verdicts.extend(groups.into_iter().map(|(name, members)| {
            let require = self.config.groups.get(name).copied().unwrap_or(Require::All);
            require.judge(&members)
        }));
        let verdict = self.config.require.judge(&verdicts);
        if verdict == Verdict::Unknown {
            return false; // a check that begins anew changes nothing until it knows something
        }
        std::mem::replace(&mut self.verdict, verdict) != verdict
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is known about its checks.
    #[must_use]
    pub fn checks(&self) -> &BTreeMap<CheckName, Box<CheckState>> {
        &self.checks
    }

    /// Whether it deserves its VIPs.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What programs are told of it.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { vips: self.config.vips.clone(), state: self.verdict.name() }
    }

    /// Why it is not up: the failed checks with what they last said, or those still unknown.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let of = |wanted| {
            let checks = self.checks.iter().filter(move |(_, c)| c.health.verdict() == wanted);
            checks.map(|(name, check)| match &check.last_failure {
                Some(failure) => format!("check {name}: {failure}"),
                None => format!("check {name}"),
            })
        };
        let failed: Vec<_> = of(Verdict::Down).collect();
        if self.verdict == Verdict::Up {
            None
        } else if self.verdict == Verdict::Down && !failed.is_empty() {
            Some(failed.join("; "))
        } else {
            let waiting: Vec<_> = of(Verdict::Unknown).collect();
            Some(format!("no result yet of {}", waiting.join(", ")))
        }
    }
}

/// What a new configuration led to.
#[derive(Debug, Default)]
pub struct Reconfigured {
    /// Checks that begin anew
    pub started: Vec<CheckName>,
    /// Checks that are no more
    pub stopped: Vec<CheckName>,
    /// The verdict changed
    pub service_changed: bool,
}
