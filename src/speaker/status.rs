//! What the daemon is like now, for `vipcast status`, metrics and whoever asks over D-Bus: plain
//! data, the same in memory and as JSON. Fields may be added; none changes its meaning.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::Speaker;
use super::histogram::Histogram;
use super::missed::WAITING;
use super::peers::PeerEntry;
use super::received::Accepted;
use super::services::ServiceEntry;
use crate::bgp::adj_rib_out::Pending;
use crate::bgp::down::DownReason;
use crate::bgp::peer::State;
use crate::check::Outcome;
use crate::config;
use crate::netlink::Presence;
use crate::route::{Asn, CheckName, PeerName, ServiceName};
use crate::service::admin::{Keep, Mode};
use crate::service::gate::Obstacle;
use crate::service::health::Verdict;
use crate::service::unit::Following;
use crate::units::{Activity, State as UnitState, UnitName};

/// The daemon. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Of the program
    pub version: String,
    /// When this was true
    pub time: String,
    /// It is on its way out
    pub stopping: bool,
    /// Our AS number
    pub local_asn: Asn,
    /// BGP Identifier; `None` while no address is known that reaches a peer
    pub router_id: Option<Ipv4Addr>,
    /// Routes in the kernel from before the start that no peer has announced yet
    #[serde(default)]
    pub kept_routes: usize,
    /// Why passive peers cannot connect, if they cannot
    pub listen_error: Option<String>,
    /// Why routers on an interface cannot find us, if they cannot
    #[serde(default)]
    pub advertise_error: Option<String>,
    /// Why nothing is known of units, if systemd cannot be asked
    #[serde(default)]
    pub units_error: Option<String>,
    /// Why the last reload was refused; the configuration before it is in force
    pub reload_error: Option<String>,
    /// Why metrics are not served where they should be, if they are not
    pub metrics_error: Option<String>,
    /// By name
    pub peers: Vec<PeerStatus>,
    /// By name
    pub services: Vec<ServiceStatus>,
}

/// A peer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// As configured
    pub name: PeerName,
    /// As configured
    pub description: Option<String>,
    /// As configured, or as found on its interface; `None` while it is not known
    pub address: Option<IpAddr>,
    /// The interface on which alone it is reached, as configured
    #[serde(default)]
    pub interface: Option<String>,
    /// Idle, Connect, Active, OpenSent, OpenConfirm or Established (RFC 4271 §8.2.2)
    pub state: String,
    /// Whether the session is up
    pub established: bool,
    /// What alone keeps it from being up
    #[serde(default)]
    pub waiting: Option<String>,
    /// Since when the session is up, or is not
    pub since: String,
    /// The peer's AS number, while the session is up
    pub remote_asn: Option<Asn>,
    /// The peer's BGP Identifier, while the session is up
    pub remote_router_id: Option<Ipv4Addr>,
    /// The peer's name for itself, while the session is up
    #[serde(default)]
    pub remote_host_name: Option<String>,
    /// Our end of the session
    pub local_address: Option<IpAddr>,
    /// The negotiated families
    pub families: Vec<String>,
    /// The negotiated hold time in seconds, 0 for none
    pub hold_time: Option<u64>,
    /// How many prefixes the peer has from us
    pub prefixes_announced: usize,
    /// Why the last session ended
    pub last_down: Option<Down>,
    /// Why the last attempt since then failed, while there is no session
    pub last_failure: Option<Down>,
    /// The last such failure in which either end said why by NOTIFICATION
    pub last_notification: Option<Down>,
    /// When the next attempt to connect comes
    pub next_attempt: Option<String>,
    /// Its BFD session, if it has one
    pub bfd: Option<BfdStatus>,
    /// Sessions that came up since the start
    pub sessions: u64,
    /// Sessions that ended since the start, by kind
    #[serde(default)]
    pub session_downs: BTreeMap<String, u64>,
    /// Prefixes the peer announced to us since the start
    pub prefixes_received: u64,
    /// What is taken in of that, if anything is to be
    #[serde(default)]
    pub accepted: Option<Accepted>,
    /// UPDATEs with defects that RFC 7606 lets pass
    pub defective_updates: u64,
    /// For metrics: from decisions to octets in the socket
    #[serde(skip)]
    pub decision_to_wire: Histogram,
}

/// The end of a session or attempt.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Down {
    /// In words
    pub reason: String,
    /// In one word, as in metrics
    pub kind: String,
    /// When
    pub at: String,
}

/// A peer's BFD session.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BfdStatus {
    /// Whether it is up
    pub up: bool,
    /// Since when it is up, or is not
    pub since: String,
    /// Why it went down, once it had been up
    pub reason: Option<String>,
    /// What keeps it from working on this host
    pub error: Option<String>,
    /// Whether BGP waits for it
    #[serde(default)]
    pub strict: bool,
    /// What seems to be wrong, where it has not been up for a while and BGP has, or waits
    #[serde(default)]
    pub diagnosis: Option<String>,
}

impl BfdStatus {
    /// Why it is not up.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let seen = [&self.reason, &self.diagnosis].into_iter().flatten();
        let seen: Vec<&str> = seen.map(String::as_str).collect();
        match &self.error {
            _ if self.up => None,
            Some(error) => Some(error.clone()),
            None if seen.is_empty() => Some("it has not come up".into()),
            None => Some(seen.join("; ")),
        }
    }
}

/// A service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// As configured
    pub name: ServiceName,
    /// Up, down, or not known yet
    pub state: Verdict,
    /// Since when
    pub since: String,
    /// Why it is not up
    pub reason: Option<String>,
    /// What stands between it and the routers, whatever its state
    #[serde(default)]
    pub obstacle: Option<ObstacleStatus>,
    /// The unit that it follows, if it does
    #[serde(default)]
    pub unit: Option<UnitStatus>,
    /// By name
    pub checks: Vec<CheckStatus>,
    /// As configured
    pub vips: Vec<VipStatus>,
}

/// What stands between a service and the routers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ObstacleStatus {
    /// In one word, as in metrics
    pub kind: String,
    /// In words
    pub description: String,
    /// Since when the operator wants it so
    pub since: Option<String>,
    /// For how much longer it lasts, or for how much longer packets may come, in seconds
    pub left: f64,
    /// The command that takes it away
    pub undo: Option<String>,
}

/// A unit of systemd that a service follows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitStatus {
    /// As configured
    pub name: String,
    /// What it does
    pub state: Activity,
    /// Somebody has asked it to stop or to restart
    pub stopping: bool,
    /// In words
    pub description: String,
}

/// A check.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckStatus {
    /// As configured
    pub name: CheckName,
    /// Kind and target
    pub probe: String,
    /// A probe that takes longer has failed, in seconds
    #[serde(default)]
    pub timeout: f64,
    /// Up, down, or not known yet
    pub state: Verdict,
    /// Outcomes in a row that speak against this
    pub against: u32,
    /// Outcomes in a row that would change it
    pub needed: u32,
    /// Its last probe
    pub last: Option<ProbeStatus>,
    /// How often it was started anew because nothing was heard of it
    #[serde(default)]
    pub restarts: u64,
    /// For metrics: how long probes took
    #[serde(skip)]
    pub durations: Histogram,
}

/// The last probe of a check.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbeStatus {
    /// Why it failed; `None`: it did not
    pub error: Option<String>,
    /// When it ended
    pub at: String,
    /// How long it took, in seconds
    pub duration: f64,
}

/// A VIP.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipStatus {
    /// The address
    pub address: IpAddr,
    /// Where it is put; `None`: somebody else does
    pub interface: Option<String>,
    /// Whether it is on this host; `None` where somebody else puts it there
    pub present: Option<bool>,
    /// Since when it is announced to every peer that policy and its session allow, if it is
    pub announcing_since: Option<String>,
    /// It is announced as the last resort
    #[serde(default)]
    pub degraded: bool,
    /// Why it is not announced to anybody
    pub reason: Option<String>,
    /// What each peer has of it; if it is not announced, only those that still have something
    pub peers: Vec<VipPeerStatus>,
}

/// What a peer has of a VIP.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipPeerStatus {
    /// Which peer
    pub peer: PeerName,
    /// Policy wants the peer to have it
    pub selected: bool,
    /// The prefixes that announce it, as far as the peer has been sent them
    pub prefixes: Vec<IpNet>,
    /// Why the peer has none, or still has some
    pub reason: Option<String>,
}

/// Turns instants into dates.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// One moment
    pub now: Instant,
    /// The same moment
    pub wall: SystemTime,
}

impl Clock {
    /// The date of an instant, to the millisecond.
    #[must_use]
    pub fn date(&self, at: Instant) -> String {
        let wall = match at.checked_duration_since(self.now) {
            Some(ahead) => self.wall + ahead,
            None => self.wall - self.now.duration_since(at),
        };
        let date = Timestamp::try_from(wall).and_then(|date| date.round(Unit::Millisecond));
        date.map_or_else(|_| String::new(), |date| format!("{date:.3}"))
    }
}

impl Speaker {
    /// Describes everything.
    #[must_use]
    pub fn status(&self, clock: Clock) -> Status {
        let peers = self.peers.iter().filter_map(|(name, entry)| {
            let status = peer_status(name, entry, self.config.peers.get(name)?, clock);
            Some(PeerStatus { accepted: self.received.status(name), ..status })
        });
        let listen_error: Vec<_> = self.cannot_listen.values().cloned().collect();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            time: clock.date(clock.now),
            stopping: !self.phase.is_running(),
            local_asn: self.config.bgp.local_asn,
            router_id: self.router_id,
            kept_routes: self.received.kept(),
            listen_error: (!listen_error.is_empty()).then(|| listen_error.join("; ")),
            advertise_error: self.cannot_advertise.clone(),
            units_error: self.cannot_watch_units.clone(),
            reload_error: None,
            metrics_error: None,
            peers: peers.collect(),
            services: self.services.iter().map(|(n, e)| self.service_status(n, e, clock)).collect(),
        }
    }

    /// How many peers are established, and of how many; the same of services that are up.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let established = |entry: &&PeerEntry| entry.peer.state() == State::Established;
        let taken_out = |entry: &&ServiceEntry| entry.gate.wishes().strongest().is_some();
        let up = |entry: &&ServiceEntry| entry.service.verdict() == Verdict::Up;
        Summary {
            peers_up: self.peers.values().filter(established).count(),
            peers: self.peers.len(),
            services_up: self.services.values().filter(up).count(),
            taken_out: self.services.values().filter(taken_out).count(),
            services: self.services.len(),
        }
    }

    /// Describes one service, if there is such a one.
    #[must_use]
    pub fn describe_service(&self, name: &ServiceName, clock: Clock) -> Option<ServiceStatus> {
        Some(self.service_status(name, self.services.get(name)?, clock))
    }

    fn service_status(
        &self,
        name: &ServiceName,
        entry: &ServiceEntry,
        clock: Clock,
    ) -> ServiceStatus {
        let checks = entry.service.checks().iter().filter_map(|(name, state)| {
            let (against, needed) = state.health().against();
            let config = entry.service.config().checks.get(name)?;
            Some(CheckStatus {
                name: name.clone(),
                probe: config.check.probe.to_string(),
                timeout: config.check.timeout.as_secs_f64(),
                state: state.health().verdict(),
                against,
                needed,
                last: state.last().map(|outcome| probe_status(outcome, clock)),
                restarts: entry.checks.get(name).map_or(0, |check| check.restarts),
                durations: entry.checks.get(name).map(|c| c.durations.clone()).unwrap_or_default(),
            })
        });
        let vips = entry.service.config().vips.iter();
        let obstacle = entry.gate.obstacle(clock.now);
        ServiceStatus {
            name: name.clone(),
            state: entry.service.verdict(),
            since: clock.date(entry.since),
            reason: entry.service.reason(),
            obstacle: obstacle.map(|obstacle| obstacle_status(name, &obstacle)),
            unit: entry.gate.unit().map(unit_status),
            checks: checks.collect(),
            vips: vips.map(|vip| self.vip_status(*vip, entry, clock)).collect(),
        }
    }

    fn vip_status(&self, vip: IpAddr, entry: &ServiceEntry, clock: Clock) -> VipStatus {
        let interface = entry.service.config().interface.clone();
        let presence = self.addresses.presence(vip);
        let announced = entry.announced.get(&vip);
        let announcing_since = announced.map(|announced| clock.date(announced.since));
        let reason = match (&announcing_since, presence) {
            (Some(_), Presence::Elsewhere(reason)) => {
                Some(format!("still on another interface: {reason}"))
            }
            (Some(_), _) => None,
            (None, _) if !self.phase.is_running() => Some("the daemon is stopping".into()),
            (None, Presence::Missing(reason)) if interface.is_some() => Some(reason.clone()),
            (None, _) => {
                entry.gate.obstacle(clock.now).map(|obstacle| obstacle.to_string()).or_else(|| {
                    Some(match entry.service.verdict() {
                        Verdict::Up => "not yet on the interface".into(),
                        Verdict::Down => "the service is down".into(),
                        Verdict::Unknown => "no result of its checks yet".into(),
                    })
                })
            }
        };
        let peers = self.peers.iter();
        VipStatus {
            address: vip,
            present: interface.is_some().then_some(*presence == Presence::Present),
            interface,
            peers: match announcing_since {
                Some(_) => peers.map(|(name, peer)| self.vip_peer(vip, name, peer)).collect(),
                None => peers.filter_map(|(name, peer)| self.vip_left(vip, name, peer)).collect(),
            },
            announcing_since,
            degraded: announced.is_some_and(|announced| announced.degraded),
            reason,
        }
    }

    /// What a peer has of a VIP that is announced, or why it has nothing.
    fn vip_peer(&self, vip: IpAddr, name: &PeerName, entry: &PeerEntry) -> VipPeerStatus {
        let prefixes = self.rib.prefixes_for(vip, name);
        let rib = entry.peer.rib();
        let sent: Vec<IpNet> = prefixes.iter().copied().filter(|p| rib.is_sent(*p)).collect();
        let pending = || prefixes.iter().find_map(|prefix| rib.pending(*prefix));
        let reason = if !sent.is_empty() {
            None
        } else if prefixes.is_empty() {
            Some("no advertisement selects this pool and this peer".into())
        } else {
            Some(entry.describe(pending().unwrap_or(Pending::Due)))
        };
        VipPeerStatus { peer: name.clone(), selected: !prefixes.is_empty(), prefixes: sent, reason }
    }

    /// What a peer still has of a VIP that is not announced.
    fn vip_left(&self, vip: IpAddr, name: &PeerName, entry: &PeerEntry) -> Option<VipPeerStatus> {
        let rib = entry.peer.rib();
        let prefixes = self.rib.prefixes_for(vip, name).into_iter();
        let is_leaving = |prefix: &IpNet| rib.pending(*prefix) == Some(Pending::Leaving);
        let prefixes: Vec<IpNet> = prefixes.filter(is_leaving).collect();
        let reason = Some(entry.describe(Pending::Leaving));
        let left = VipPeerStatus { peer: name.clone(), selected: true, prefixes, reason };
        (!left.prefixes.is_empty()).then_some(left)
    }
}

fn obstacle_status(service: &ServiceName, obstacle: &Obstacle) -> ObstacleStatus {
    let (since, left, undo) = match obstacle {
        Obstacle::Admin { keep, admin, left } => {
            let undo = match (admin.mode, keep) {
                (Mode::Down, _) => format!("vipcast admin {service} up"),
                (Mode::Drain, Keep::Persistent) => format!("vipcast undrain {service}"),
                (Mode::Drain, Keep::Runtime) => format!("vipcast undrain --runtime {service}"),
            };
            (Some(admin.since.clone()), left, Some(undo))
        }
        Obstacle::Unit { unit, state, left } => (None, left, unit_undo(unit, state.activity)),
        Obstacle::Flapped { left, .. } => (None, left, Some(format!("vipcast release {service}"))),
        Obstacle::Delayed { left } => (None, left, None),
    };
    let (kind, description) = (obstacle.kind().into(), obstacle.to_string());
    ObstacleStatus { kind, description, since, left: left.as_secs_f64(), undo }
}

fn unit_status(following: &Following) -> UnitStatus {
    let (unit, state) = (following.unit(), following.state().unwrap_or(&UnitState::UNKNOWN));
    UnitStatus {
        name: unit.to_string(),
        state: state.activity,
        stopping: state.stopping,
        description: state.describe(unit),
    }
}

/// What does not run can be started, unless it is on its way already.
fn unit_undo(unit: &UnitName, activity: Activity) -> Option<String> {
    let is_down = matches!(activity, Activity::Inactive | Activity::Failed);
    is_down.then(|| format!("systemctl start {unit}"))
}

fn peer_status(
    name: &PeerName,
    entry: &PeerEntry,
    config: &config::Peer,
    clock: Clock,
) -> PeerStatus {
    let peer = &entry.peer;
    let session = peer.session().map(|(session, _)| session);
    let families = session.map(|s| s.families.iter().map(ToString::to_string).collect());
    let history = peer.history();
    let counters = history.counters();
    let down = |(reason, at): &(DownReason, Instant)| Down {
        reason: reason.to_string(),
        kind: reason.label().into(),
        at: clock.date(*at),
    };
    let bfd = config.bfd.as_ref().map(|_| bfd_status(entry, config, clock));
    let why = bfd.as_ref().and_then(BfdStatus::why).filter(|_| peer.awaits_bfd());
    PeerStatus {
        name: name.clone(),
        description: config.description.clone(),
        address: peer.address().ok().map(|address| address.ip),
        interface: config.bgp.transport.remote.interface().map(str::to_owned),
        state: format!("{:?}", peer.state()),
        established: peer.state() == State::Established,
        waiting: why.map(|why| format!("{WAITING}: {why}")),
        since: clock.date(history.since()),
        remote_asn: session.map(|session| session.remote_asn),
        remote_router_id: session.map(|session| session.remote_router_id),
        remote_host_name: session.and_then(|session| session.remote_host_name.clone()),
        local_address: peer.session().map(|(_, ends)| ends.local.ip),
        families: families.unwrap_or_default(),
        hold_time: session.map(|session| session.hold_time.as_secs()),
        prefixes_announced: peer.rib().sent_count(),
        last_down: history.last_down().map(down),
        last_failure: history.last_failure().map(down),
        last_notification: history.last_notification().map(down),
        next_attempt: peer.next_attempt().map(|at| clock.date(at)),
        bfd,
        sessions: counters.established,
        session_downs: entry.session_downs.iter().map(|(k, n)| ((*k).into(), *n)).collect(),
        prefixes_received: counters.received_prefixes,
        accepted: None,
        defective_updates: counters.defective_updates,
        decision_to_wire: entry.decision_to_wire.clone(),
    }
}

fn bfd_status(entry: &PeerEntry, config: &config::Peer, clock: Clock) -> BfdStatus {
    let look = &entry.bfd;
    let diagnosis = look.missed.as_ref().and_then(|missed| missed.diagnosis);
    BfdStatus {
        up: look.up,
        since: clock.date(look.since),
        reason: look.reason.clone(),
        error: look.trouble.clone().or_else(|| {
            let is_unknown = look.remote.is_none();
            is_unknown.then(|| "it begins when it is known where the router is".into())
        }),
        strict: config.bgp.session.bfd_strict,
        diagnosis: diagnosis.map(|diagnosis| diagnosis.to_string()),
    }
}

fn probe_status(outcome: &Outcome, clock: Clock) -> ProbeStatus {
    let duration: Duration = outcome.finished.saturating_duration_since(outcome.started);
    ProbeStatus {
        error: outcome.result.as_ref().err().map(ToString::to_string),
        at: clock.date(outcome.finished),
        duration: duration.as_secs_f64(),
    }
}

/// The daemon in four numbers, for the status line of systemd.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Summary {
    pub peers_up: usize,
    pub peers: usize,
    pub services_up: usize,
    pub services: usize,
    /// By the operator
    pub taken_out: usize,
}
