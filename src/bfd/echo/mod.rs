//! The Echo function (RFC 5880 §6.4): packets to ourselves that the router sends back as it would any
//! others, and what it means when it does not.
//!
//! What is in them is nobody's business but ours (RFC 5880 §5). It is a Control packet, as RFC 9747
//! has it for a router without BFD, and behind that a [`Mark`].
//!
//! Silence is failure only after many in a row had come back, as a session can be down only after it was
//! up: many a router refuses to send back what claims to come from where it goes to, or sends back only
//! some of it.
pub(super) mod socket;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::bfd::authentication::Payload;
use crate::bfd::pace::{Intervals, Spread};
use crate::bfd::packet::{self, Packet};

/// The UDP port that Echo packets go to (RFC 5881 §4).
pub const PORT: u16 = 3785;

/// The TTL that they are sent with: nobody who is not on the link can send such packets.
pub const FROM_THE_LINK: u8 = 255;
/// The same after a router has forwarded them once.
pub const FORWARDED: u8 = 254;

/// What a session does with the Echo function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Between our packets, and the least between those of the router that we send back
    pub interval: Duration,
    /// The router has no BFD, all there is are our packets (RFC 9747)
    pub unaffiliated: bool,
}

/// Where the router is on the wire, so that it can be given packets to ourselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Path {
    /// The number of our interface
    pub interface: u32,
    /// The router's hardware address there
    pub router: [u8; 6],
    /// Our address there
    pub local: IpAddr,
    /// The kernel forwards packets that come in there, those of the router too
    pub forwards: bool,
}

/// An Echo packet that came in on a link, whoever sent it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The number of our interface
    pub interface: u32,
    /// Where it goes to by its IP header
    pub destination: IpAddr,
    /// TTL or Hop Limit as it arrived
    pub ttl: u8,
    /// What it holds
    pub payload: &'a [u8],
    /// When it came
    pub at: Instant,
}

/// Tells one packet from another, and ours from somebody else's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Known to nobody who does not see our packets
    pub token: u64,
    /// Counts the session's packets from 1
    pub number: u64,
    /// When it was sent, since the session began
    pub sent: Duration,
}

/// The length of what is in an Echo packet.
const LEN: usize = packet::LEN + 24;

impl Mark {
    /// What goes into the datagram.
    #[must_use]
    pub fn encode(&self, packet: &Packet) -> Payload {
        let mut payload = Payload::new(packet.encode());
        let sent = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        for (place, word) in [self.token, self.number, sent].into_iter().enumerate() {
            payload.put(packet::LEN + 8 * place, &word.to_be_bytes());
        }
        payload
    }

    /// Reads what was in a datagram; `None` if it cannot be ours.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<(Packet, Self)> {
        let payload: &[u8; LEN] = payload.try_into().ok()?;
        let (_, marks) = payload.split_first_chunk::<{ packet::LEN }>()?;
        let mut words = marks.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
        let (token, number, sent) = (words.next()?, words.next()?, words.next()?);
        let mark = Self { token, number, sent: Duration::from_nanos(sent) };
        Some((Packet::decode(payload).ok()?, mark))
    }
}

/// So many must come back, one after the other, before it is failure when they do not.
const PROOF: u32 = 20;
/// The same after they had ceased to come back: where some do and some do not, they prove nothing.
const PROOF_AFTER_FAILURE: u32 = 400;

/// The packets of one session.
#[derive(Debug)]
pub(super) struct Stream {
    /// `None` while none are sent
    interval: Option<Duration>,
    /// So many in a row may be lost
    multiplier: u32,
    /// The number of the last one
    sent: u64,
    /// The number of the last one that came back, or of the last one of an earlier time
    returned: u64,
    /// How many came back
    count: u64,
    /// How many of the last ones, with none missing between them
    in_a_row: u32,
    /// How many are proof
    needed: u32,
    /// When the last one came back, since they are being sent
    heard_at: Option<Instant>,
    /// When the last of those went out of which at least one should have come back
    overdue_since: Option<Instant>,
    last_tx: Option<Instant>,
    next_tx: Instant,
    round_trips: Spread,
}

/// How many of the peer's packets are sent back: twice what it may send, and some that come together.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    used: Duration,
    at: Option<Instant>,
}

impl Allowance {
    /// So many may come together.
    const BURST: u32 = 16;

    /// Whether one more is sent back.
    pub(super) fn take(&mut self, interval: Duration, now: Instant) -> bool {
        let passed = self.at.replace(now).map(|at| now.saturating_duration_since(at));
        self.used = self.used.saturating_sub(passed.unwrap_or_default() * 2);
        let is_within = self.used < interval * Self::BURST;
        if is_within {
            self.used += interval;
        }
        is_within
    }
}

/// What can be seen of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// Whether the router has no BFD, so that this is all there is
    pub unaffiliated: bool,
    /// It is known where they go to, and they can be sent
    pub possible: bool,
    /// At which they are sent, before jitter; `None` while they are not
    pub interval: Option<Duration>,
    /// They come back, so that it is failure when they do not
    pub active: bool,
    /// How many went out
    pub sent: u64,
    /// How many came back
    pub returned: u64,
    /// For how long they were on their way
    pub round_trips: Option<Intervals>,
}

impl Stream {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            interval: None,
            multiplier: 1,
            sent: 0,
            returned: 0,
            count: 0,
            in_a_row: 0,
            needed: PROOF,
            heard_at: None,
            overdue_since: None,
            last_tx: None,
            next_tx: now,
            round_trips: Spread::default(),
        }
    }

    /// Sends at an interval from now on, or (`None`) no longer. What was sent before is not missed
    /// where it begins or ends.
    pub(super) fn set(&mut self, interval: Option<Duration>, multiplier: u8, now: Instant) {
        self.multiplier = multiplier.into();
        if self.interval.is_some() != interval.is_some() {
            self.forget();
            self.next_tx = now;
        } else if let (Some(interval), Some(last)) = (interval, self.last_tx) {
            // A shorter interval holds at once.
            self.next_tx = self.next_tx.min(last + interval);
        }
        self.interval = interval;
    }

    /// Nothing that was sent so far is expected any more.
    pub(super) fn forget(&mut self) {
        self.returned = self.sent;
        self.in_a_row = 0;
        (self.heard_at, self.overdue_since) = (None, None);
    }

    /// They have ceased to come back.
    pub(super) fn fail(&mut self) {
        self.forget();
        self.needed = PROOF_AFTER_FAILURE;
    }

    /// At which they are sent.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// As if one had come back: what follows must.
    pub(super) fn expect(&mut self, now: Instant) {
        if self.interval.is_some() {
            self.heard_at.get_or_insert(now);
        }
    }

    /// Whether they come back, so that it is failure when they do not.
    pub(super) fn is_active(&self) -> bool {
        self.heard_at.is_some()
    }

    /// The number of the next packet, if one is due. `jitter` is what part of the interval passes
    /// until the one after it.
    pub(super) fn poll_transmit(&mut self, now: Instant, jitter: f64) -> Option<u64> {
        let interval = self.interval.filter(|_| self.next_tx <= now)?;
        self.sent += 1;
        self.last_tx = Some(now);
        self.next_tx = now + interval.mul_f64(jitter);
        // The last one before the detection time is over may still be on its way.
        let unreturned = self.sent - self.returned;
        if unreturned >= u64::from(self.multiplier.saturating_sub(1)).max(1) {
            self.overdue_since.get_or_insert(now);
        }
        Some(self.sent)
    }

    /// One has come back; whether it is one that was still missing, and the last of them so far.
    pub(super) fn handle_return(&mut self, number: u64, took: Duration, at: Instant) -> bool {
        if self.interval.is_none() || !(self.returned + 1..=self.sent).contains(&number) {
            return false;
        }
        let is_next = number == self.returned + 1;
        self.in_a_row = if is_next { self.in_a_row.saturating_add(1) } else { 1 };
        self.returned = number;
        self.count += 1;
        self.round_trips.add(took);
        if self.is_active() || self.in_a_row >= self.needed {
            self.heard_at = Some(at);
        }
        self.overdue_since = None;
        true
    }

    /// When so many are missing that the path is no longer there: after the detection time, and if
    /// we were held up in sending, not before those that we did send had an interval to come back.
    pub(super) fn fails_at(&self) -> Option<Instant> {
        let interval = self.interval?;
        let silent = self.heard_at? + interval * self.multiplier;
        Some(silent.max(self.overdue_since? + interval))
    }

    /// When the next one is due.
    pub(super) fn transmit_at(&self) -> Option<Instant> {
        self.interval.map(|_| self.next_tx)
    }

    /// Sends the next one without waiting for its time.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_tx = now;
    }

    pub(super) fn look(&self, config: Config, possible: bool) -> Look {
        Look {
            unaffiliated: config.unaffiliated,
            possible,
            interval: self.interval,
            active: self.is_active(),
            sent: self.sent,
            returned: self.count,
            round_trips: self.round_trips.intervals(),
        }
    }
}
