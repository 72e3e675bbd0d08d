//! The services: from outcomes to what is announced, and what is on the host for it.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::histogram::Histogram;
use super::notice::{Level, Notice};
use super::{Output, Speaker};
use crate::check::driver::{Command as CheckCommand, Generation, Report};
use crate::check::{CheckId, Outcome};
use crate::netlink::{Addresses, Presence};
use crate::route::{CheckName, Family, Merit, ServiceName};
use crate::service::Service;
use crate::service::admin::{Keep, Mode};
use crate::service::gate::{Decision, Gate, Obstacle};
use crate::service::health::Verdict;
use crate::service::unit::Following;
use crate::units::{Activity, UnitName};

/// A service and what goes with it.
#[derive(Debug)]
pub(super) struct ServiceEntry {
    pub(super) service: Service,
    /// What stands between its verdict and the routers
    pub(super) gate: Gate,
    /// When that is to be looked at again
    gate_at: Option<Instant>,
    /// Of the verdict
    pub(super) since: Instant,
    /// Boxed, since a node of a map has room for eleven and most services have one
    pub(super) checks: BTreeMap<CheckName, Box<CheckEntry>>,
    /// Checks that wait for the VIPs to be on the host: most probe one, and the first outcome
    /// decides
    pub(super) waiting: BTreeSet<CheckName>,
    /// Which of its VIPs was not known to be on the host when that was last asked
    awaited: usize,
    /// VIPs that are announced
    pub(super) announced: BTreeMap<IpAddr, Announced>,
    /// Whether hooks were last told that it is announced
    pub(super) told_hooks: bool,
    /// What the log was last told to stand in its way
    told: Option<Obstacle>,
}

impl ServiceEntry {
    /// Why it is not announced, as far as that is not a matter of single VIPs.
    pub(super) fn reason(&self, now: Instant) -> Option<String> {
        let obstacle = self.gate.obstacle(now).map(|obstacle| obstacle.to_string());
        obstacle.or_else(|| self.service.reason())
    }

    /// The checks that have had no result for too long.
    fn silent_checks(&self, now: Instant) -> Vec<CheckName> {
        let states = self.service.checks();
        let silent = self.checks.iter().filter(|(name, check)| {
            let last = states.get(*name).and_then(|state| state.last());
            let since = last.map_or(check.started, |last| last.finished.max(check.started));
            let config = self.service.config().checks.get(*name);
            config.is_some_and(|config| now > since + config.check.patience())
        });
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it is still to be known of a VIP whether it is on the host. They become known one by
    /// one, so the search goes on where it ended last: all of them together cost one pass.
    fn awaits_vip(&mut self, addresses: &Addresses) -> bool {
        let vips = &self.service.config().vips;
        let (before, after) = vips.split_at(self.awaited.min(vips.len()));
        let pending = |vip: &IpAddr| *addresses.presence(*vip) == Presence::Pending;
        let found = after.iter().chain(before).position(pending);
        if let Some(distance) = found {
            self.awaited = (before.len() + distance) % vips.len();
        }
        found.is_some()
    }
}

/// What the routers are told of a VIP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) since: Instant,
    /// As the last resort
    pub(super) degraded: bool,
}

/// A check as it was started.
#[derive(Debug)]
pub(super) struct CheckEntry {
    generation: Generation,
    started: Instant,
    /// How often it was started anew because nothing was heard of it
    pub(super) restarts: u64,
    pub(super) durations: Histogram,
}

impl Speaker {
    pub(super) fn handle_probed(&mut self, report: Report, now: Instant) {
        let CheckId { service: name, check } = report.id;
        let Some(entry) = self.services.get_mut(&name) else { return };
        let Some(started) = entry.checks.get_mut(&check) else { return };
        if started.generation != report.generation {
            return; // of the check that had this name before
        }
        let Outcome { started: began, finished, .. } = report.outcome;
        started.durations.observe(finished.saturating_duration_since(began));
        let failure = report.outcome.result.clone().err();
        let consequence = entry.service.handle_outcome(&check, report.outcome);
        let mut notices = Vec::new();
        if let Some(state) = entry.service.checks().get(&check) {
            let (against, needed) = state.health().against();
            let notice = match (consequence.check_changed, &failure) {
                (true, None) => Some((Level::Info, format!("check {check} is up"))),
                (true, Some(_)) => Some((Level::Warn, format!("check {check} is down"))),
                (false, Some(_)) if state.health().verdict() == Verdict::Up => {
                    Some((Level::Info, format!("check {check} failed, {against} of {needed}")))
                }
                (false, _) => None,
            };
            if let Some((level, text)) = notice {
                let notice = Notice::service(level, &name, text);
                let notice = Notice { check: Some(check.clone()), ..notice };
                notices.push(match failure {
                    Some(failure) => notice.because(failure),
                    None => notice,
                });
            }
        }
        if let Some(mode) = consequence.mode {
            let id = CheckId { service: name.clone(), check };
            self.outputs.push_back(Output::Check(CheckCommand::Pace(id, mode)));
        }
        for notice in notices {
            self.notice(notice);
        }
        if consequence.service_changed {
            self.handle_verdict(&name, now);
        }
    }

    /// Goes by no outcome that is too old. A daemon that was suspended must not announce what was
    /// healthy before, nor take what its probes missed meanwhile for a failure. What is not heard of
    /// any more is started anew, and so is what has never been.
    pub(super) fn expire_checks(&mut self, now: Instant) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let service_changed = entry.service.expire(now);
            for check in entry.silent_checks(now) {
                let text = format!("check {check} has had no result for too long, starting anew");
                let notice = Notice::service(Level::Warn, &name, text);
                self.notice(Notice { check: Some(check.clone()), ..notice });
                self.start_check(&name, check, now);
            }
            if service_changed {
                self.handle_verdict(&name, now);
            }
        }
    }

    /// Has all checks probed now, or those of one service.
    pub(super) fn probe_now(&mut self, only: Option<&ServiceName>) {
        let services = self.services.iter();
        for (service, entry) in services.filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            for check in entry.checks.keys() {
                let id = CheckId { service: service.clone(), check: check.clone() };
                self.outputs.push_back(Output::Check(CheckCommand::Hasten(id)));
            }
        }
    }

    /// The verdict on a service changed.
    pub(super) fn handle_verdict(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        entry.since = now;
        let reason = entry.service.reason();
        let (level, text) = match entry.service.verdict() {
            Verdict::Up => (Level::Info, "up"),
            Verdict::Down => (Level::Warn, "down"),
            Verdict::Unknown => (Level::Info, "not known to be up or down"),
        };
        let notice = Notice::service(level, name, text);
        self.notice(match reason {
            Some(reason) => notice.because(reason),
            None => notice,
        });
        self.tell_checks(name);
        let Some(entry) = self.services.get_mut(name) else { return };
        entry.gate.handle_verdict(entry.service.verdict(), now);
        self.skip_delay(name, now);
        self.handle_gate(name, now);
    }

    /// Announces a service at once where the routers have kept its VIPs from before the start.
    pub(super) fn skip_delay(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let mut vips = entry.service.config().vips.iter();
        let is_start = self.deferral.is_some();
        if is_start && vips.any(|vip| self.kept.contains(&Family::of_address(*vip))) {
            entry.gate.skip_delay(now);
        }
    }

    /// Something happened that may open or close the gate of a service.
    pub(super) fn handle_gate(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let timeout = entry.gate.poll_timeout(now);
        if let Some(before) = std::mem::replace(&mut entry.gate_at, timeout) {
            self.gates.remove(&(before, name.clone()));
        }
        self.gates.extend(timeout.map(|at| (at, name.clone())));
        let obstacle = entry.gate.obstacle(now);
        if let Some(notice) = gate_notice(name, obstacle.as_ref(), entry.told.as_ref()) {
            self.notice(notice);
        }
        if let Some(entry) = self.services.get_mut(name) {
            entry.told = obstacle;
        }
        self.evaluate_service(name, now);
    }

    /// The time of gates has come.
    pub(super) fn handle_gate_timeouts(&mut self, now: Instant) {
        while self.gates.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.gates.pop_first() else { return };
            if let Some(entry) = self.services.get_mut(&name) {
                entry.gate_at = None;
                entry.gate.handle_timeout(now);
            }
            self.handle_gate(&name, now);
        }
    }

    /// When the time of a gate comes.
    pub(super) fn next_gate(&self) -> Option<Instant> {
        self.gates.first().map(|(at, _)| *at)
    }

    /// Works out what follows for all VIPs of a service.
    pub(super) fn evaluate_service(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get(name) else { return };
        for vip in entry.service.config().vips.clone() {
            self.evaluate_vip(vip, now);
        }
        self.start_waiting(name, now);
    }

    /// Starts the checks of a service, once it is known where its VIPs are.
    pub(super) fn start_waiting(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let config = entry.service.config();
        let puts_vips = config.interface.is_some() && config.keep_address;
        if entry.waiting.is_empty() || puts_vips && entry.awaits_vip(&self.addresses) {
            return;
        }
        for check in std::mem::take(&mut entry.waiting) {
            self.start_check(name, check, now);
        }
    }

    /// Works out whether a VIP is wanted on the host, and whether it is announced.
    pub(super) fn evaluate_vip(&mut self, vip: IpAddr, now: Instant) {
        let Some(entry) = self.owners.get(&vip).and_then(|name| self.services.get(name)) else {
            return;
        };
        let config = entry.service.config();
        let decision =
            if self.phase.is_running() { entry.gate.decision() } else { Decision::Withdraw };
        let present = match &config.interface {
            None => {
                self.leaving.remove(&vip);
                self.addresses.disown(vip);
                true
            }
            Some(interface) => {
                if decision.is_served() || config.keep_address && self.phase.is_running() {
                    self.leaving.remove(&vip);
                    self.addresses.want(vip, interface, now);
                } else if decision == Decision::Wait {
                    self.addresses.leave_undecided(vip);
                } else {
                    self.leaving.insert(vip);
                }
                self.addresses.presence(vip).is_there()
            }
        };
        let merit = match (decision, &config.degraded) {
            (Decision::Announce, _) => Some(Merit::Healthy(config.weight)),
            (Decision::Degrade, Some(worse)) => {
                Some(Merit::LastResort(config.weight, worse.clone()))
            }
            _ => None,
        };
        self.announce(vip, merit.filter(|_| present), now);
    }

    /// Announces a VIP or withdraws it, to whom policy says.
    pub(super) fn announce(&mut self, vip: IpAddr, merit: Option<Merit>, now: Instant) {
        let degraded = merit.as_ref().map(|merit| matches!(merit, Merit::LastResort(..)));
        let prefixes = match merit {
            Some(merit) => self.rib.announce(vip, merit),
            None => self.rib.withdraw(vip),
        };
        self.export(&prefixes, now);
        let Some(name) = self.owners.get(&vip).cloned() else { return };
        let Some(entry) = self.services.get_mut(&name) else { return };
        let before = entry.announced.get(&vip).copied();
        let text = match (degraded, before.map(|before| before.degraded)) {
            (now, before) if now == before => return,
            (Some(true), _) => format!("announcing {vip} as the last resort"),
            (Some(false), _) => format!("announcing {vip}"),
            (None, _) => format!("withdrawing {vip}"),
        };
        match degraded {
            Some(degraded) => {
                let since = before.map_or(now, |before| before.since);
                entry.announced.insert(vip, Announced { since, degraded });
            }
            None => drop(entry.announced.remove(&vip)),
        }
        let reason = entry.reason(now).filter(|_| degraded != Some(false));
        self.hooks_due.insert(name.clone());
        let notice = Notice::service(Level::Info, &name, text);
        let notice = Notice { prefix: Some(vip), ..notice };
        self.notice(match reason {
            Some(reason) => notice.because(reason),
            None => notice,
        });
    }

    pub(super) fn add_service(&mut self, name: &ServiceName, now: Instant) {
        let Some(config) = self.config.services.get(name).cloned() else { return };
        self.owners.extend(config.vips.iter().map(|vip| (*vip, name.clone())));
        let mut gate = Gate::new(config.gate);
        let known = |unit: &UnitName| self.units.get(unit).cloned();
        let unit = config.unit.clone().map(|unit| Following::new(unit.clone(), known(&unit)));
        gate.follow(unit, now);
        let entry = ServiceEntry {
            waiting: config.checks.keys().cloned().collect(),
            awaited: 0,
            gate,
            gate_at: None,
            told: None,
            told_hooks: false,
            service: Service::new(config),
            since: now,
            checks: BTreeMap::new(),
            announced: BTreeMap::new(),
        };
        self.services.insert(name.clone(), entry);
        self.apply_wishes(name, now);
    }

    /// Starts a check of a service, in place of what had its name before.
    pub(super) fn start_check(&mut self, name: &ServiceName, check: CheckName, now: Instant) {
        self.next_generation += 1;
        let generation = Generation(self.next_generation);
        let Some(entry) = self.services.get_mut(name) else { return };
        let Some(config) = entry.service.config().checks.get(&check) else { return };
        let definition = config.check.clone();
        let restarts = entry.checks.get(&check).map_or(0, |before| before.restarts + 1);
        let durations = Histogram::default();
        let started = CheckEntry { generation, started: now, restarts, durations };
        entry.checks.insert(check.clone(), Box::new(started));
        let id = CheckId { service: name.clone(), check };
        if definition.probe.follows_service() {
            self.tell_checks(name);
        }
        let command = CheckCommand::Start(id, definition, generation);
        self.outputs.push_back(Output::Check(command));
    }

    /// Tells the checks of a service about it, where there are some that want to know.
    pub(super) fn tell_checks(&mut self, name: &ServiceName) {
        let Some(entry) = self.services.get(name) else { return };
        let mut checks = entry.service.config().checks.values();
        if checks.any(|config| config.check.probe.follows_service()) {
            let command = CheckCommand::Tell(name.clone(), entry.service.surroundings());
            self.outputs.push_back(Output::Check(command));
        }
    }

    /// Whether every service has a verdict, and every VIP that follows from one is on the host or
    /// known not to be.
    pub(super) fn is_known(&mut self) -> bool {
        let addresses = &self.addresses;
        self.services.values_mut().all(|entry| match entry.gate.decision() {
            Decision::Wait => false,
            Decision::Withdraw => true,
            Decision::Announce | Decision::Degrade | Decision::Serve => {
                entry.service.config().interface.is_none() || !entry.awaits_vip(addresses)
            }
        })
    }
}

/// What is new about what stands in the way of a service.
fn gate_notice(
    name: &ServiceName,
    now: Option<&Obstacle>,
    before: Option<&Obstacle>,
) -> Option<Notice> {
    match (now, before) {
        (Some(Obstacle::Admin { keep, admin, left }), _) => {
            let text = match admin.mode {
                Mode::Down => "admin down".into(),
                Mode::Drain if left.is_zero() => "drained".into(),
                Mode::Drain => format!("draining for {left:?}"),
            };
            let is_news = match before {
                Some(Obstacle::Admin { keep: told_keep, admin: told, left: was_left }) => {
                    (told_keep, told, was_left.is_zero()) != (keep, admin, left.is_zero())
                }
                _ => true,
            };
            let text = match keep {
                Keep::Persistent => text,
                Keep::Runtime => format!("{text}, until vipcastd ends"),
            };
            let notice = Notice::service(Level::Info, name, text);
            let notice = match &admin.reason {
                Some(reason) => notice.because(reason),
                None => notice,
            };
            is_news.then_some(notice)
        }
        (Some(Obstacle::Unit { unit, state, .. }), _) => {
            let is_told =
                matches!(before, Some(Obstacle::Unit { state: told, .. }) if told == state);
            let is_bad = matches!(state.activity, Activity::Failed | Activity::NotFound);
            let level = if is_bad { Level::Warn } else { Level::Info };
            let is_news = state.is_known() && !is_told;
            is_news.then(|| Notice::service(level, name, state.describe(unit)))
        }
        (Some(flapped @ Obstacle::Flapped { .. }), _) => {
            let is_told = matches!(before, Some(Obstacle::Flapped { .. }));
            (!is_told).then(|| Notice::service(Level::Warn, name, flapped))
        }
        (Some(delayed @ Obstacle::Delayed { .. }), _) => {
            let is_told = matches!(before, Some(Obstacle::Delayed { .. }));
            (!is_told).then(|| Notice::service(Level::Info, name, delayed))
        }
        (None, Some(Obstacle::Admin { admin, .. })) => {
            let text = match admin.mode {
                Mode::Drain => "drained no longer",
                Mode::Down => "admin down no longer",
            };
            Some(Notice::service(Level::Info, name, text))
        }
        (None, Some(Obstacle::Unit { unit, state, .. })) => state.is_known().then(|| {
            Notice::service(Level::Info, name, format!("{unit} does not hold it back any more"))
        }),
        (None, _) => None,
    }
}
