//! What every BFD session is like, for `vipcast bfd`: what the owner knows of it together with what
//! its thread does. Fields may be added; none changes its meaning. Times of a session are seconds.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::status::{BfdStatus, Status};
use crate::bfd::echo;
use crate::bfd::pace::{Intervals, Pace};
use crate::bfd::packet::Diag;
use crate::bfd::session::{self, Remote};
use crate::bfd::sessions::{Hops, Look};
use crate::route::PeerName;

/// A peer that has BFD. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerBfd {
    /// As configured
    pub name: PeerName,
    /// As configured, or as found on its interface; `None` while it is not known
    pub address: Option<IpAddr>,
    /// The interface on which alone it is reached, as configured
    pub interface: Option<String>,
    /// When this was true
    pub time: String,
    /// What comes of it, as in the status
    #[serde(flatten)]
    pub status: BfdStatus,
    /// The session, once there is one
    pub session: Option<Session>,
}

/// A session.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The peer may be behind routers (RFC 5883)
    pub multihop: bool,
    /// UDP, to which both ends send
    pub port: u16,
    /// The smallest TTL that packets may arrive with
    pub minimum_ttl: u8,
    /// How packets are signed, if they are
    pub authentication: Option<String>,
    /// This end
    pub local: End,
    /// The peer, while it is heard
    pub remote: Option<End>,
    /// The last reason that the peer gave for its state, in words, if it gave one
    pub remote_diagnostic: Option<String>,
    /// Packets that went out
    pub sent: u64,
    /// Packets that came and were not dropped
    pub received: u64,
    /// Packets that came from the peer's address and were dropped, by reason
    pub dropped: BTreeMap<String, u64>,
    /// How often it came up
    pub ups: u64,
    /// How often it was Up and then was not
    pub downs: u64,
    /// The Echo function, if it is to be used
    pub echo: Option<Echo>,
}

/// What comes of Echo packets (RFC 5880 §6.4).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Echo {
    /// The router has no BFD; they are all there is (RFC 9747)
    pub unaffiliated: bool,
    /// What they are good for now
    pub state: EchoState,
    /// At which they are sent, before jitter, while they are
    pub interval: Option<f64>,
    /// How many went out
    pub sent: u64,
    /// How many came back
    pub returned: u64,
    /// For how long they were on their way
    pub round_trip: Option<Measured>,
}

/// What Echo packets are good for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EchoState {
    /// They come back, and it is failure when they do not
    Active,
    /// They are sent, and none has come back
    Unanswered,
    /// The session is not up, or the router wants none
    Idle,
    /// The router's hardware address is not known, or the host does not permit it
    Impossible,
}

/// One end of a session. The names are those of RFC 5880 §4.1, where it has one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct End {
    /// AdminDown, Down, Init or Up
    pub state: String,
    /// Why it was last changed for the worse, in words
    pub diagnostic: String,
    /// What it calls itself
    pub discriminator: u32,
    /// How many packets the other end may miss
    pub detect_multiplier: u8,
    /// Desired Min TX Interval
    pub desired_min_tx: f64,
    /// Required Min RX Interval
    pub required_min_rx: f64,
    /// Whether its BFD does not end with its control plane (C)
    pub control_plane_independent: bool,
    /// Whether it asks the other end to be silent but for answers (D)
    pub demand: bool,
    /// What it sends at by what both ends want, before jitter
    pub transmit_interval: Option<f64>,
    /// After this time without a packet it takes the other end for dead
    pub detection_time: Option<f64>,
    /// What was measured between its packets, since the session last came up or ceased to be
    pub measured: Option<Measured>,
}

/// Intervals between packets.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Measured {
    pub shortest: f64,
    pub mean: f64,
    pub longest: f64,
}

/// Puts together what the owner and the BFD thread know.
#[must_use]
pub fn describe(status: &Status, looks: &[Look]) -> Vec<PeerBfd> {
    let peers = status.peers.iter().filter_map(|peer| {
        let look = looks.iter().find(|look| look.peer == peer.name);
        Some(PeerBfd {
            name: peer.name.clone(),
            address: peer.address,
            interface: peer.interface.clone(),
            time: status.time.clone(),
            status: peer.bfd.clone()?,
            session: look.map(Session::of),
        })
    });
    peers.collect()
}

impl Session {
    fn of(look: &Look) -> Self {
        let (config, session) = (&look.config, &look.session);
        let dropped = look.discards.iter();
        Self {
            multihop: config.hops == Hops::Multi,
            port: if config.session.is_unaffiliated() { echo::PORT } else { config.hops.port() },
            minimum_ttl: config.minimum_ttl,
            authentication: config.authentication.as_ref().map(|a| a.method.label().into()),
            local: End::ours(session),
            remote: session.remote.as_ref().map(|remote| End::theirs(remote, session)),
            remote_diagnostic: (session.remote_diag != Diag::NONE)
                .then(|| session.remote_diag.to_string()),
            sent: session.counters.sent,
            received: session.counters.received,
            dropped: dropped.map(|(reason, count)| (reason.label().into(), count)).collect(),
            ups: session.counters.ups,
            downs: session.counters.downs,
            echo: session.echo.as_ref().map(Echo::of),
        }
    }
}

impl End {
    fn ours(session: &session::Look) -> Self {
        Self {
            state: session.state.to_string(),
            diagnostic: session.diag.to_string(),
            discriminator: session.discriminator.get(),
            detect_multiplier: session.detect_mult.get(),
            desired_min_tx: session.announced.desired_min_tx.as_secs_f64(),
            required_min_rx: session.announced.required_min_rx.as_secs_f64(),
            control_plane_independent: false,
            demand: session.demand,
            transmit_interval: Some(session.transmit_interval.as_secs_f64()),
            detection_time: session.detection_time.as_ref().map(Duration::as_secs_f64),
            measured: Measured::of(&session.counters.transmit_pace),
        }
    }

    /// RFC 5880 §6.8.4: what it sends at, and when it gives us up, are what we go by, turned round.
    fn theirs(remote: &Remote, session: &session::Look) -> Self {
        let multiplier = remote.detect_mult.get();
        let time = session.detection_time.filter(|_| !session.demand);
        let interval = time.map(|time| time / u32::from(multiplier));
        let patience = session.transmit_interval * u32::from(session.detect_mult.get());
        Self {
            state: remote.state.to_string(),
            diagnostic: session.remote_diag.to_string(),
            discriminator: remote.discriminator.get(),
            detect_multiplier: multiplier,
            desired_min_tx: remote.desired_min_tx.as_secs_f64(),
            required_min_rx: remote.required_min_rx.as_secs_f64(),
            control_plane_independent: remote.control_plane_independent,
            demand: remote.demand,
            transmit_interval: interval.as_ref().map(Duration::as_secs_f64),
            detection_time: Some(patience.as_secs_f64()),
            measured: Measured::of(&session.counters.receive_pace),
        }
    }
}

impl Echo {
    fn of(look: &echo::Look) -> Self {
        let state = match (look.possible, look.interval, look.active) {
            (false, ..) => EchoState::Impossible,
            (true, None, _) => EchoState::Idle,
            (true, Some(_), false) => EchoState::Unanswered,
            (true, Some(_), true) => EchoState::Active,
        };
        Self {
            unaffiliated: look.unaffiliated,
            state,
            interval: look.interval.as_ref().map(Duration::as_secs_f64),
            sent: look.sent,
            returned: look.returned,
            round_trip: look.round_trips.map(Measured::from),
        }
    }
}

impl Measured {
    fn of(pace: &Pace) -> Option<Self> {
        pace.intervals().map(Self::from)
    }
}

impl From<Intervals> for Measured {
    fn from(Intervals { shortest, mean, longest }: Intervals) -> Self {
        let [shortest, mean, longest] = [shortest, mean, longest].map(|time| time.as_secs_f64());
        Self { shortest, mean, longest }
    }
}
