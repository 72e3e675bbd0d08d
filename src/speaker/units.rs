//! The units of systemd that services follow: what becomes of them is known before any check fails.
use std::collections::BTreeSet;
use std::time::Instant;

use super::notice::{Level, Notice};
use super::{Output, Speaker};
use crate::config::Config;
use crate::route::ServiceName;
use crate::service::admin::{Keep, Mode};
use crate::service::unit::Following;
use crate::units::{State, UnitName};

/// The units that services of a configuration follow.
pub(super) fn followed(config: &Config) -> BTreeSet<UnitName> {
    config.services.values().filter_map(|service| service.unit.clone()).collect()
}

impl Speaker {
    /// Has those units watched that are followed now, if they are others than these.
    pub(super) fn watch_units(&mut self, before: &BTreeSet<UnitName>) {
        let wanted = followed(&self.config);
        if wanted != *before {
            self.units.retain(|unit, _| wanted.contains(unit));
            self.outputs.push_back(Output::WatchUnits(wanted));
        }
    }

    /// systemd says what a unit is like.
    pub(super) fn handle_unit(&mut self, unit: &UnitName, state: &State, now: Instant) {
        let services = self.config.services.iter();
        let followers = services.filter(|(_, service)| service.unit.as_ref() == Some(unit));
        let followers: Vec<_> = followers.map(|(name, _)| name.clone()).collect();
        if !followers.is_empty() {
            self.units.insert(unit.clone(), state.clone());
        }
        for name in followers {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let news = entry.gate.set_unit(state.clone(), now);
            if news.is_other {
                let text = format!("{}; its checks start anew", state.describe(unit));
                self.notice(Notice::service(Level::Info, &name, text));
                self.renew_checks(&name, now);
            }
            if news.is_back {
                self.lift_drain(&name, now);
            }
            self.handle_gate(&name, now);
        }
    }

    /// Follows the unit that is configured now, if it is another one; whether what is known of the
    /// service's health is about something else.
    pub(super) fn change_unit(
        &mut self,
        name: &ServiceName,
        unit: Option<&UnitName>,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.services.get_mut(name) else { return false };
        let before = entry.gate.unit();
        if before.map(Following::unit) == unit {
            return false;
        }
        let was_held = before.is_some_and(Following::holds);
        // As long as nobody has said what it is like, it is no reason to withdraw what is announced.
        let state = |unit| self.units.get(unit).cloned().unwrap_or(State::UNKNOWN);
        let following = unit.map(|unit| Following::new(unit.clone(), Some(state(unit))));
        entry.gate.follow(following, now);
        was_held
    }

    pub(super) fn handle_unit_trouble(&mut self, trouble: Option<String>) {
        self.notice(match &trouble {
            Some(trouble) => Notice::new(Level::Error, trouble),
            None => Notice::new(Level::Info, "systemd tells of units now"),
        });
        self.cannot_watch_units = trouble;
    }

    /// Forgets what is known of the health of a service, and has all its checks probed at once: the
    /// first result decides, as after a start.
    pub(super) fn renew_checks(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        // The others begin when it is known where the VIPs are.
        let started: Vec<_> = entry.checks.keys().cloned().collect();
        if entry.service.forget() {
            self.handle_verdict(name, now);
        } else {
            self.handle_gate(name, now);
        }
        for check in started {
            if let Some(entry) = self.services.get_mut(name) {
                entry.checks.remove(&check); // it is no restart for want of news
            }
            self.start_check(name, check, now);
        }
    }

    /// A drain for the time of a restart, as by `ExecStop=vipcast drain --runtime`, is over.
    fn lift_drain(&mut self, name: &ServiceName, now: Instant) {
        let wishes = self.wishes(name);
        if wishes.get(Keep::Runtime).is_some_and(|admin| admin.mode == Mode::Drain) {
            self.handle_wish(name, Keep::Runtime, None, now);
        }
    }
}
