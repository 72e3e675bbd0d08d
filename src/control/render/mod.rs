//! [`Status`] and [`PeerRoutes`] as a person reads them: what is wrong stands out, and says why.
mod bfd;

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::route::{CheckName, ServiceName};
use crate::service::health::Verdict;
use crate::speaker::received::Accepted;
use crate::speaker::routes::{NotSent, PeerRoutes, SentRoute};
use crate::speaker::status::{
    CheckStatus, Down, PeerStatus, ServiceStatus, Status, UnitStatus, VipStatus,
};
use crate::units::Activity;

pub use bfd::bfd;

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With colours, for a terminal
    pub colour: bool,
}

/// Draws a status. With `only`, just these services, and no peers.
#[must_use]
pub fn status(status: &Status, only: &[ServiceName], style: Style) -> String {
    let mut page = Page { text: String::new(), style, now: status.time.parse().ok() };
    if only.is_empty() {
        page.head(status);
        let width = status.peers.iter().map(|peer| peer.name.as_ref().len()).max().unwrap_or(0);
        for peer in &status.peers {
            page.peer(peer, width);
        }
    }
    for service in &status.services {
        if only.is_empty() || only.contains(&service.name) {
            page.service(service);
        }
    }
    page.text
}

/// Draws the routes of peers.
#[must_use]
pub fn routes(peers: &[PeerRoutes], style: Style) -> String {
    let mut page = Page { text: String::new(), style, now: None };
    for peer in peers {
        page.now = peer.time.parse().ok();
        page.routes(peer);
    }
    page.text
}

/// What became of a probe.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Of which service
    pub service: ServiceName,
    /// Of which check
    pub check: CheckName,
    /// Kind and target
    pub probe: String,
    /// How long it took, in seconds, and why it failed, if it did; `None`: nothing was heard of it
    pub result: Option<(f64, Option<String>)>,
}

/// Draws probes, in the order of their services.
#[must_use]
pub fn probed(all: &[Probed], style: Style) -> String {
    let mut page = Page { text: String::new(), style, now: None };
    let mut service = None;
    for probed in all {
        if service.replace(&probed.service) != Some(&probed.service) {
            page.line(0, probed.service.as_ref());
        }
        let (mark, text) = match &probed.result {
            None => (Mark::Open, "no result in good time".into()),
            Some((took, None)) => (Mark::Good, format!("ok in {:.1}ms", took * 1000.0)),
            Some((took, Some(error))) => {
                (Mark::Bad, format!("failed after {:.1}ms: {error}", took * 1000.0))
            }
        };
        page.marked(4, mark, &format!("check {}  {}", probed.check, probed.probe));
        page.line(6, &text);
    }
    page.text
}

/// What the columns of a route are.
const HEAD: [&str; 7] = ["prefix", "next hop", "AS_PATH", "origin", "MED", "LOCAL_PREF", "sent"];

struct Page {
    text: String,
    style: Style,
    now: Option<Timestamp>,
}

#[derive(Clone, Copy)]
enum Mark {
    Good,
    Bad,
    Open,
}

impl Page {
    /// Writing to a `String` does not fail.
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{}", "", text.trim_end());
    }

    fn marked(&mut self, indent: usize, mark: Mark, text: &str) {
        let (symbol, colour) = match mark {
            Mark::Good => ("●", 32),
            Mark::Bad => ("×", 31),
            Mark::Open => ("○", 33),
        };
        if self.style.colour {
            self.line(indent, &format!("\u{1b}[{colour};1m{symbol}\u{1b}[0m {text}"));
        } else {
            self.line(indent, &format!("{symbol} {text}"));
        }
    }

    /// What is learned from a peer, and of what is not used the first few with the reason.
    fn accepted(&mut self, indent: usize, accepted: &Accepted, established: bool) {
        const SHOWN: usize = 5;
        let prefixes = plural(accepted.prefixes, "prefix", "prefixes");
        let (of, installed) = (accepted.announcements, accepted.installed);
        let text = match established {
            true => format!("{prefixes} accepted of {of} announced, {installed} installed"),
            false => format!("{prefixes} kept from the last session, {installed} installed"),
        };
        self.line(indent, &text);
        let not_installed = accepted.prefixes.saturating_sub(installed);
        for route in accepted.routes.iter().filter(|route| !route.installed).take(SHOWN) {
            let reason = route.reason.as_deref().unwrap_or_default();
            let text = format!("{} by {} not installed: {reason}", route.prefix, route.next_hop);
            self.line(indent + 2, &text);
        }
        if let Some(more) = not_installed.checked_sub(SHOWN).filter(|more| *more != 0) {
            self.line(indent + 2, &format!("and {more} more (vipcast status --json)"));
        }
    }

    fn head(&mut self, status: &Status) {
        let router_id = match status.router_id {
            Some(id) => format!("router ID {id}"),
            None => "no router ID: no IPv4 address reaches a peer (set router-id)".into(),
        };
        self.line(0, &format!("vipcastd {}, AS {}, {router_id}", status.version, status.local_asn));
        if status.stopping {
            self.marked(0, Mark::Open, "stopping");
        }
        if let Some(error) = &status.reload_error {
            let text = "the last reload failed, the configuration before it is in force:";
            self.marked(0, Mark::Bad, text);
            for line in error.lines() {
                self.line(2, line);
            }
        }
        if status.kept_routes > 0 {
            let routes = plural(status.kept_routes, "route", "routes");
            let text = format!("{routes} from before the start, until the routers announce theirs");
            self.marked(0, Mark::Open, &text);
        }
        for error in [
            &status.listen_error,
            &status.advertise_error,
            &status.metrics_error,
            &status.units_error,
        ]
        .into_iter()
        .flatten()
        {
            self.marked(0, Mark::Bad, error);
        }
        self.line(0, "");
    }

    fn peer(&mut self, peer: &PeerStatus, width: usize) {
        let name = format!("{:width$}", peer.name.as_ref());
        let place = place(peer.address, peer.interface.as_deref());
        let known = peer.remote_host_name.as_ref().map_or_else(String::new, |n| format!(" ({n})"));
        let mut first = format!("{name}  {place}{known}  {}", peer.state);
        let since = self.ago(&peer.since);
        if peer.established {
            let prefixes = plural(peer.prefixes_announced, "prefix", "prefixes");
            let _ = write!(first, " for {since}, {prefixes} announced");
        } else {
            let _ = write!(first, ", no session for {since}");
        }
        if let Some(description) = &peer.description {
            let _ = write!(first, "  ({description})");
        }
        let mark = if peer.established { Mark::Good } else { Mark::Bad };
        self.marked(0, mark, &first);
        let indent = width + 4;
        if let Some(down) = &peer.last_down {
            let ago = self.ago(&down.at);
            self.line(indent, &format!("last session ended {ago} ago: {}", down.reason));
        }
        if !peer.established {
            if let Some(failure) = &peer.last_failure {
                let ago = self.ago(&failure.at);
                self.line(indent, &format!("last attempt failed {ago} ago: {}", failure.reason));
            }
            let said = peer.last_notification.as_ref();
            let is_last = |said: &&Down| {
                peer.last_failure.as_ref().is_some_and(|failure| failure.reason == said.reason)
            };
            if let Some(said) = said.filter(|said| !is_last(said)) {
                let ago = self.ago(&said.at);
                self.line(indent, &format!("last NOTIFICATION {ago} ago: {}", said.reason));
            }
            if let Some(waiting) = &peer.waiting {
                self.line(indent, waiting);
            }
            if let Some(next) = &peer.next_attempt {
                let wait = self.until(next);
                self.line(indent, &format!("next attempt in {wait}"));
            }
        }
        if let Some(accepted) =
            peer.accepted.as_ref().filter(|a| peer.established || a.prefixes > 0)
        {
            self.accepted(indent, accepted, peer.established);
        }
        if let Some(bfd) = &peer.bfd {
            let state = if bfd.up { "up" } else { "down" };
            let mut text = format!("BFD {state} for {}", self.ago(&bfd.since));
            if let Some(why) = bfd.why().filter(|_| peer.waiting.is_none()) {
                let _ = write!(text, ": {why}");
            }
            self.line(indent, &text);
        }
    }

    fn service(&mut self, service: &ServiceStatus) {
        if !self.text.is_empty() {
            self.line(0, "");
        }
        let since = self.ago(&service.since);
        let (mark, state) = verdict(service.state);
        let mut text = format!("{}  {state} for {since}", service.name);
        if let Some(reason) = &service.reason {
            let _ = write!(text, ": {reason}");
        }
        let mark = if service.obstacle.is_some() { Mark::Open } else { mark };
        self.marked(0, mark, &text);
        if let Some(obstacle) = &service.obstacle {
            let since = obstacle.since.as_ref().map(|at| format!("{} ago", self.ago(at)));
            let undo = obstacle.undo.as_ref().map(|command| format!("undo: {command}"));
            let notes: Vec<String> = since.into_iter().chain(undo).collect();
            let mut text = obstacle.description.clone();
            if !notes.is_empty() {
                let _ = write!(text, " ({})", notes.join("; "));
            }
            self.line(4, &text);
        }
        if let Some(unit) = &service.unit {
            self.unit(unit);
        }
        for check in &service.checks {
            self.check(check);
        }
        for vip in &service.vips {
            self.vip(vip, service.obstacle.is_some());
        }
    }

    fn unit(&mut self, unit: &UnitStatus) {
        let (mark, state) = match unit.state {
            Activity::Active if unit.stopping => (Mark::Open, "active, asked to stop"),
            Activity::Active => (Mark::Good, "active"),
            Activity::Reloading => (Mark::Good, "reloading"),
            Activity::Activating => (Mark::Open, "activating"),
            Activity::Deactivating => (Mark::Open, "deactivating"),
            Activity::Inactive => (Mark::Bad, "inactive"),
            Activity::Failed => (Mark::Bad, "failed"),
            Activity::NotFound => (Mark::Bad, "there is no such unit"),
            Activity::Unknown => (Mark::Open, "not known"),
        };
        self.marked(4, mark, &format!("unit {}  {state}", unit.name));
    }

    fn check(&mut self, check: &CheckStatus) {
        let (mark, state) = verdict(check.state);
        self.marked(4, mark, &format!("check {}  {state}, {}", check.name, check.probe));
        let Some(last) = &check.last else {
            self.line(6, "no result yet");
            return;
        };
        let ago = self.ago(&last.at);
        let took = format!("{:.1}ms", last.duration * 1000.0);
        let mut text = match &last.error {
            None => format!("ok {ago} ago, took {took}"),
            Some(error) => format!("failed {ago} ago after {took}: {error}"),
        };
        if check.against > 0 {
            let would = if check.state == Verdict::Up { "down" } else { "up" };
            let _ = write!(text, " ({} of {} to be {would})", check.against, check.needed);
        }
        self.line(6, &text);
    }

    fn vip(&mut self, vip: &VipStatus, is_held_back: bool) {
        let address = vip.address;
        let on = match (&vip.interface, vip.present) {
            (Some(interface), Some(true)) => format!("on {interface}"),
            (Some(interface), _) => format!("not on {interface}"),
            (None, _) => "put on the host by others".into(),
        };
        let Some(since) = &vip.announcing_since else {
            let reason = vip.reason.as_deref().unwrap_or("no reason known");
            let text = format!("{address}  {on}, not announced: {reason}");
            self.marked(4, if is_held_back { Mark::Open } else { Mark::Bad }, &text);
            for peer in &vip.peers {
                let reason = peer.reason.as_deref().unwrap_or("no reason known");
                let text = format!("{} still has {}: {reason}", peer.peer, joined(&peer.prefixes));
                self.line(6, &text);
            }
            return;
        };
        let selected = vip.peers.iter().filter(|peer| peer.selected).count();
        let has = vip.peers.iter().filter(|peer| !peer.prefixes.is_empty()).count();
        let mark = match has {
            0 => Mark::Bad,
            has if has < selected => Mark::Open,
            _ => Mark::Good,
        };
        let mark = if vip.degraded && has > 0 { Mark::Open } else { mark };
        let how = if vip.degraded { "announced as the last resort" } else { "announced" };
        let mut text = format!("{address}  {on}, {how} to {has} of ");
        text += &plural(selected, "peer", "peers");
        if has > 0 {
            let _ = write!(text, " for {}", self.ago(since));
        }
        self.marked(4, mark, &text);
        if let Some(reason) = &vip.reason {
            self.line(6, reason);
        }
        let width = vip.peers.iter().map(|peer| peer.peer.as_ref().len()).max().unwrap_or(0);
        for peer in &vip.peers {
            let name = format!("{:width$}", peer.peer.as_ref());
            let text = match &peer.reason {
                Some(reason) => format!("to {name}  not announced: {reason}"),
                None => format!("to {name}  as {}", joined(&peer.prefixes)),
            };
            self.line(6, &text);
        }
    }

    fn routes(&mut self, peer: &PeerRoutes) {
        if !self.text.is_empty() {
            self.line(0, "");
        }
        let mark = match (peer.established, peer.not_sent.is_empty()) {
            (false, _) => Mark::Bad,
            (true, false) => Mark::Open,
            (true, true) => Mark::Good,
        };
        let sent = plural(peer.sent.len(), "route", "routes");
        let place = place(peer.address, peer.interface.as_deref());
        let mut first = format!("{}  {place}  {}, {sent} sent", peer.name, peer.state);
        if !peer.not_sent.is_empty() {
            let _ = write!(first, ", {} not sent", peer.not_sent.len());
        }
        self.marked(0, mark, &first);
        let rows: Vec<_> = peer.sent.iter().map(|route| self.row(route)).collect();
        let mut widths = HEAD.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        if !rows.is_empty() {
            self.cells(&HEAD.map(String::from), widths);
        }
        for (row, route) in rows.iter().zip(&peer.sent) {
            self.cells(row, widths);
            let standard = route.communities.iter();
            let all = standard.chain(&route.extended_communities).chain(&route.large_communities);
            let all: Vec<&str> = all.map(String::as_str).collect();
            if !all.is_empty() {
                self.line(6, &all.join(" "));
            }
            if let Some(pending) = &route.pending {
                self.line(6, pending);
            }
        }
        let width = peer.not_sent.iter().map(|route| route.prefix.to_string().len()).max();
        for NotSent { prefix, reason } in &peer.not_sent {
            let prefix = format!("{:width$}", prefix.to_string(), width = width.unwrap_or(0));
            self.marked(4, Mark::Bad, &format!("{prefix}  not sent: {reason}"));
        }
    }

    fn row(&self, route: &SentRoute) -> [String; 7] {
        let path: Vec<String> = route.as_path.iter().map(ToString::to_string).collect();
        let number = |number: Option<u32>| number.map_or_else(|| "-".into(), |n| n.to_string());
        [
            route.prefix.to_string(),
            route.next_hop.to_string(),
            if path.is_empty() { "-".into() } else { path.join(" ") },
            route.origin.clone(),
            number(route.med),
            number(route.local_pref),
            format!("{} ago", self.ago(&route.since)),
        ]
    }

    fn cells(&mut self, cells: &[String; 7], widths: [usize; 7]) {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        self.line(4, &padded.collect::<Vec<_>>().join("  "));
    }

    fn ago(&self, at: &str) -> String {
        self.distance(at, false)
    }

    fn until(&self, at: &str) -> String {
        self.distance(at, true)
    }

    /// "0.4s", "12s", "3m 12s", "5h 3m", "12d 4h"
    fn distance(&self, at: &str, ahead: bool) -> String {
        let (Some(now), Ok(at)) = (self.now, at.parse::<Timestamp>()) else { return "?".into() };
        let distance = if ahead { at.duration_since(now) } else { now.duration_since(at) };
        let seconds = distance.as_secs().max(0);
        match seconds {
            0..10 => format!("{:.1}s", distance.as_secs_f64().max(0.0)),
            10..60 => format!("{seconds}s"),
            60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
            3600..86400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
            _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
        }
    }
}

/// Where a peer is.
fn place(address: Option<IpAddr>, interface: Option<&str>) -> String {
    match (address, interface) {
        (Some(address), None) => address.to_string(),
        (Some(address), Some(interface)) => format!("{address} on {interface}"),
        (None, interface) => format!("on {}", interface.unwrap_or("?")),
    }
}

fn verdict(verdict: Verdict) -> (Mark, &'static str) {
    match verdict {
        Verdict::Up => (Mark::Good, "up"),
        Verdict::Down => (Mark::Bad, "down"),
        Verdict::Unknown => (Mark::Open, "unknown"),
    }
}

fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn joined(prefixes: &[IpNet]) -> String {
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
