//! Hooks: what services' programs are told. They decide nothing, and nothing waits for them but the
//! end of the daemon, for a while.
use std::time::{Duration, Instant};

use super::notice::{Level, Notice};
use super::services::ServiceEntry;
use super::{Output, Speaker};
use crate::netlink::Presence;
use crate::process::Environment;
use crate::route::ServiceName;
use crate::service::hooks::{Hook, Report, Run};

impl Speaker {
    /// Tells the programs of services what became of them, when all has come of it: what is announced
    /// again at once has never been away.
    pub(super) fn settle_hooks(&mut self, now: Instant) {
        for name in std::mem::take(&mut self.hooks_due) {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let is_taken_out = self.phase.is_running() && entry.gate.wishes().strongest().is_some();
            // As the last resort it is down.
            let is_announced = entry.announced.values().any(|announced| !announced.degraded);
            let was_announced = std::mem::replace(&mut entry.told_hooks, is_announced);
            let Some(hook) = Hook::due(was_announced, is_announced, is_taken_out) else { continue };
            let Some(entry) = self.services.get(&name) else { continue };
            let reason = match hook {
                Hook::Up => String::new(),
                Hook::Down | Hook::Drain => self.reason_of_withdrawal(entry, now),
            };
            let run = run(&name, entry, hook, reason);
            self.push_hook(&name, run);
        }
    }

    /// A service is gone from the configuration.
    pub(super) fn end_hooks(&mut self, name: &ServiceName, entry: &ServiceEntry) {
        if entry.told_hooks {
            let reason = "removed from the configuration".into();
            self.push_hook(name, run(name, entry, Hook::Down, reason));
        }
    }

    pub(super) fn handle_hook_ended(&mut self, report: Report) {
        let Report { service, result, took } = report;
        let Some((hook, next)) = self.hooks.handle_ended(&service) else { return };
        let took = Duration::new(took.as_secs(), took.subsec_millis() * 1_000_000);
        self.notice(match result {
            Ok(()) => Notice::service(Level::Debug, &service, format!("{hook} ran for {took:?}")),
            Err(failure) => {
                let text = format!("{hook} failed after {took:?}");
                Notice::service(Level::Warn, &service, text).because(failure)
            }
        });
        self.outputs.extend(next.map(|run| Output::Hook(Box::new(run))));
    }

    /// The daemon ends, and does not wait for hooks any longer.
    pub(super) fn leave_hooks(&mut self) {
        let left: Vec<Notice> = self
            .hooks
            .under_way()
            .map(|(service, hook)| {
                let text = format!("{hook} has not ended, and is killed with vipcastd");
                Notice::service(Level::Warn, service, text)
            })
            .collect();
        left.into_iter().for_each(|notice| self.notice(notice));
    }

    fn push_hook(&mut self, name: &ServiceName, run: Option<Run>) {
        let run = self.hooks.push(name, run);
        self.outputs.extend(run.map(|run| Output::Hook(Box::new(run))));
    }

    fn reason_of_withdrawal(&self, entry: &ServiceEntry, now: Instant) -> String {
        if !self.phase.is_running() {
            return "vipcastd stops".into();
        }
        let of_vip = || {
            let mut vips = entry.service.config().vips.iter();
            vips.find_map(|vip| match self.addresses.presence(*vip) {
                Presence::Missing(reason) => {
                    Some(format!("VIP {vip} is not on this host: {reason}"))
                }
                Presence::Pending => Some(format!("VIP {vip} is not on this host")),
                Presence::Elsewhere(_) | Presence::Present => None,
            })
        };
        entry.reason(now).or_else(of_vip).unwrap_or_default()
    }
}

/// What a service has run then, if anything.
fn run(name: &ServiceName, entry: &ServiceEntry, hook: Hook, reason: String) -> Option<Run> {
    let config = entry.service.config().hooks.as_ref()?;
    let environment = Environment {
        service: name.clone(),
        check: None,
        surroundings: entry.service.surroundings(),
        reason: Some(reason),
    };
    let program = config.program(hook)?.clone();
    Some(Run { hook, program, environment, timeout: config.timeout })
}
