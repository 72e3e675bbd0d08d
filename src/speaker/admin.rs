//! The operator's wishes about services: stronger than their health.
use std::time::Instant;

use super::Speaker;
use super::notice::{Level, Notice};
use crate::route::ServiceName;
use crate::service::admin::{Admin, Keep, Wishes};

impl Speaker {
    /// What the operator wants with a service.
    #[must_use]
    pub fn wishes(&self, service: &ServiceName) -> Wishes {
        self.wishes.get(service).cloned().unwrap_or_default()
    }

    pub(super) fn handle_wish(
        &mut self,
        service: &ServiceName,
        keep: Keep,
        admin: Option<Admin>,
        now: Instant,
    ) {
        self.wishes.entry(service.clone()).or_default().set(keep, admin);
        self.wishes.retain(|_, wishes| wishes.strongest().is_some());
        self.apply_wishes(service, now);
    }

    /// Lets the wishes about a service take effect.
    pub(super) fn apply_wishes(&mut self, service: &ServiceName, now: Instant) {
        let wishes = self.wishes(service);
        if let Some(entry) = self.services.get_mut(service) {
            entry.gate.set_wishes(wishes, now);
        }
        self.handle_gate(service, now);
    }

    pub(super) fn release(&mut self, service: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(service) else { return };
        if entry.gate.release(now) {
            let text = "released by the operator, not held down any more";
            self.notice(Notice::service(Level::Info, service, text));
        }
        self.handle_gate(service, now);
    }
}
