//! A new configuration, applied by its difference to the old one: what did not change is not
//! touched. Its checks keep their verdicts, its sessions stay up, its routes are not sent again.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::notice::{Level, Notice};
use super::peers::{BfdLook, Ongoing, listened_for};
use super::{Output, Speaker, paths, units};
use crate::bfd::driver::Command as BfdCommand;
use crate::bgp::connection::Config as SessionConfig;
use crate::bgp::down::DownReason;
use crate::bgp::peer::BfdVerdict;
use crate::bgp::transport::Transport;
use crate::check::CheckId;
use crate::check::driver::Command as CheckCommand;
use crate::config::{Config, Peer};
use crate::route::{PeerName, ServiceName};

impl Speaker {
    pub(super) fn reload(&mut self, config: Config, now: Instant) {
        if !self.phase.is_running() {
            return;
        }
        let old = std::mem::replace(&mut self.config, config);
        self.remove_services(&old, now);
        // Policy before services: a new service is exported by the new policy at once.
        if old.policy != self.config.policy {
            let prefixes = self.rib.set_policy(self.config.policy.clone());
            self.export(&prefixes, now);
        }
        for name in self.config.services.keys().cloned().collect::<Vec<_>>() {
            match old.services.get(&name) {
                None => self.add_service(&name, now),
                Some(before) if Some(before) != self.config.services.get(&name) => {
                    self.reconfigure_service(&name, now);
                }
                Some(_) => {}
            }
        }
        self.watch_units(&units::followed(&old));
        self.reload_peers(&old, now);
        self.received.touch_all(); // VIPs may have come and gone
        self.notice(Notice::new(Level::Info, "configuration reloaded"));
    }

    /// Withdraws what no service, or another one, owns from now on.
    fn remove_services(&mut self, old: &Config, now: Instant) {
        for (name, before) in &old.services {
            let after = self.config.services.get(name);
            let stay: BTreeSet<IpAddr> =
                after.iter().flat_map(|config| &config.vips).copied().collect();
            let gone = before.vips.iter().copied().filter(|vip| !stay.contains(vip));
            let gone: Vec<IpAddr> = gone.collect();
            let is_gone = after.is_none();
            for vip in gone {
                self.announce(vip, None, now);
                self.owners.remove(&vip);
                self.leaving.insert(vip);
            }
            if is_gone && let Some(entry) = self.services.remove(name) {
                self.gates.retain(|(_, service)| service != name);
                self.end_hooks(name, &entry);
                for check in entry.checks.into_keys() {
                    self.stop_check(name, check);
                }
            }
        }
    }

    fn stop_check(&mut self, service: &ServiceName, check: crate::route::CheckName) {
        let id = CheckId { service: service.clone(), check };
        self.outputs.push_back(Output::Check(CheckCommand::Stop(id)));
    }

    fn reconfigure_service(&mut self, name: &ServiceName, now: Instant) {
        let Some(config) = self.config.services.get(name).cloned() else { return };
        self.owners.extend(config.vips.iter().map(|vip| (*vip, name.clone())));
        let Some(entry) = self.services.get_mut(name) else { return };
        entry.gate.configure(config.gate, now);
        let is_other = self.change_unit(name, config.unit.as_ref(), now);
        let Some(entry) = self.services.get_mut(name) else { return };
        let result = entry.service.configure(config);
        entry.waiting.retain(|check| !result.stopped.contains(check));
        entry.waiting.extend(result.started.iter().cloned());
        // What begins anew may have to wait for a VIP; the last probe of what had its name before
        // must not be its first outcome.
        let ended: Vec<_> = result.stopped.into_iter().chain(result.started).collect();
        for check in &ended {
            entry.checks.remove(check);
        }
        for check in ended {
            self.stop_check(name, check);
        }
        self.tell_checks(name); // its VIPs may be others
        if is_other {
            self.renew_checks(name, now);
        } else if result.service_changed {
            self.handle_verdict(name, now);
        } else {
            self.handle_gate(name, now);
        }
    }

    fn reload_peers(&mut self, old: &Config, now: Instant) {
        let fixed = self.config.bgp.router_id;
        let router_id_changed = fixed.is_some() && fixed != self.router_id;
        let mut all_ongoing = BTreeMap::new();
        for (name, before) in &old.peers {
            let after = self.config.peers.get(name);
            let keeps = after.is_some_and(|after| keeps_session(before, after));
            if keeps && !router_id_changed {
                self.repace(name, before, now);
            } else {
                let reason = match after {
                    Some(_) => DownReason::ConfigurationChanged,
                    None => DownReason::Deconfigured,
                };
                let ongoing = self.remove_peer(name, before, &reason, now);
                all_ongoing.extend(ongoing.map(|ongoing| (name.clone(), ongoing)));
            }
        }
        if router_id_changed {
            self.router_id = None;
        }
        let new = self.config.peers.keys().filter(|name| !self.peers.contains_key(*name));
        for name in new.cloned().collect::<Vec<_>>() {
            self.add_peer(&name, all_ongoing.remove(&name), now);
        }
        self.update_next_hops(now);
        self.update_paths(now);
        // Keys may have changed in their files.
        let listened = listened_for(&self.config);
        let has_keys = listened.1.iter().any(|peer| peer.authentication.is_some());
        if listened_for(old) != listened || has_keys {
            self.listen();
        }
        let was_watching = old.peers.values().any(paths::needs_neighbours);
        self.watch_neighbours(was_watching);
        if self.router_id.is_none() {
            self.settle_router_id(fixed, now);
        }
    }

    /// Takes over what needs no new session: the pace of attempts, and BFD.
    fn repace(&mut self, name: &PeerName, before: &Peer, now: Instant) {
        let Some(after) = self.config.peers.get(name) else { return };
        let Some(entry) = self.peers.get_mut(name) else { return };
        entry.peer.set_pace(after.bgp.connect_retry_time, after.bgp.passive, now);
        entry.peer.set_bfd_strict(after.bgp.session.bfd_strict, now);
        if let Some(authentication) = &after.bgp.transport.authentication {
            // What they are may have changed even where the files have not.
            self.outputs.push_back(Output::CompareKeys(name.clone(), authentication.clone()));
        }
        if before.accept != after.accept {
            self.reconfigure_receiving(name, now);
        }
        let Some(after) = self.config.peers.get(name) else { return };
        let Some(entry) = self.peers.get_mut(name) else { return };
        // The key may have changed where it is kept.
        let is_signed = after.bfd.as_ref().is_some_and(|bfd| bfd.authentication.is_some());
        if before.bfd != after.bfd || is_signed {
            if !bfd_goes_on(before, after) {
                entry.bfd = BfdLook::new(now);
                entry.peer.handle_bfd(&BfdVerdict::Awaited, now);
            }
            if after.bfd.is_some() {
                self.set_bfd(name, now);
            } else {
                self.outputs.push_back(Output::Bfd(BfdCommand::Remove(name.clone())));
            }
        }
    }

    /// Ends the BGP session. The BFD session goes on if the new configuration has it too: to the
    /// router its end would be a failure of the path.
    fn remove_peer(
        &mut self,
        name: &PeerName,
        before: &Peer,
        reason: &DownReason,
        now: Instant,
    ) -> Option<Ongoing> {
        let mut entry = self.peers.remove(name)?;
        entry.peer.stop(reason, now);
        while let Some(event) = entry.peer.poll_event() {
            entry.restarts.handle_event(&event, now);
        }
        while let Some(action) = entry.peer.poll_action() {
            if let crate::bgp::peer::Action::Close(serial, last_words) = action {
                self.outputs.push_back(Output::Close(name.clone(), serial, last_words));
            }
        }
        self.end_receiving(name, before, now);
        let after = self.config.peers.get(name);
        let goes_on = after.is_some_and(|after| bfd_goes_on(before, after));
        if before.bfd.is_some() && !goes_on {
            self.outputs.push_back(Output::Bfd(BfdCommand::Remove(name.clone())));
        }
        let text = if after.is_some() { "starting anew" } else { "removed" };
        let notice = Notice::peer(Level::Info, name, text).because(reason);
        self.notice(notice);
        goes_on.then_some((entry.bfd, entry.restarts))
    }
}

/// Whether there is a BFD session before and after, and it is the same one.
fn bfd_goes_on(before: &Peer, after: &Peer) -> bool {
    let ends = |peer: &Peer| {
        let Transport { remote, source_address, .. } = &peer.bgp.transport;
        let bfd = peer.bfd.as_ref()?;
        let is_unaffiliated = bfd.session.is_unaffiliated();
        Some((bfd.hops, is_unaffiliated, remote.clone(), *source_address))
    };
    ends(before).is_some() && ends(before) == ends(after)
}

/// Whether the session need not be started anew. To one that is up it does not matter whether it
/// has waited for BFD.
fn keeps_session(before: &Peer, after: &Peer) -> bool {
    let bfd_strict = after.bgp.session.bfd_strict;
    let session = SessionConfig { bfd_strict, ..before.bgp.session.clone() };
    before.bgp.transport.is_like(&after.bgp.transport) && session == after.bgp.session
}
