//! The BFD Control packet (RFC 5880 §4.1) and the discards that it alone decides (§6.8.6).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! |                       My Discriminator                        |
//! |                      Your Discriminator                       |
//! |                    Desired Min TX Interval                    |
//! |                   Required Min RX Interval                    |
//! |                 Required Min Echo RX Interval                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::discard::Discard;

/// The length of a packet without authentication.
pub const LEN: usize = 24;

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
pub(super) const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// Session state (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    AdminDown,
    Down,
    Init,
    Up,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Why a session last changed state (RFC 5880 §4.1): the number that goes over the wire.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Diag(pub u8);

#[expect(missing_docs, reason = "the names are the RFC's")]
impl Diag {
    pub const NONE: Self = Self(0);
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    pub const ECHO_FAILED: Self = Self(2);
    pub const NEIGHBOR_SIGNALED_DOWN: Self = Self(3);
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);
}

impl fmt::Display for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            _ => return write!(f, "diagnostic {}", self.0),
        })
    }
}

/// A Control packet. Intervals have microseconds on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct Packet {
    pub diag: Diag,
    pub state: State,
    pub poll: bool,
    pub is_final: bool,
    pub control_plane_independent: bool,
    pub authentication_present: bool,
    pub demand: bool,
    pub detect_mult: NonZeroU8,
    pub my_discriminator: NonZeroU32,
    /// `None` for zero: the sender does not know it
    pub your_discriminator: Option<NonZeroU32>,
    pub desired_min_tx: Duration,
    /// Zero: do not send me periodic packets
    pub required_min_rx: Duration,
    /// Zero: do not send me Echo packets
    pub required_min_echo_rx: Duration,
}

impl Packet {
    /// Reads the payload of a datagram.
    ///
    /// # Errors
    ///
    /// The discards of RFC 5880 §6.8.6 that need no session, in its order.
    pub fn decode(payload: &[u8]) -> Result<Self, Discard> {
        let (header, _) = payload.split_first_chunk::<LEN>().ok_or(Discard::Length)?;
        let [vers_diag, flags, detect_mult, length, words @ ..] = header;
        if vers_diag >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let authentication_present = flags & AUTHENTICATION_PRESENT != 0;
        let shortest = if authentication_present { LEN + 2 } else { LEN };
        let length = usize::from(*length);
        if length < shortest || length > payload.len() {
            return Err(Discard::Length);
        }
        let detect_mult = NonZeroU8::new(*detect_mult).ok_or(Discard::DetectMult)?;
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let [my_discriminator, your_discriminator, min_tx, min_rx, min_echo_rx] = to_words(*words);
        let my_discriminator = NonZeroU32::new(my_discriminator).ok_or(Discard::MyDiscriminator)?;
        let state = match flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        let your_discriminator = NonZeroU32::new(your_discriminator);
        if your_discriminator.is_none() && matches!(state, State::Init | State::Up) {
            return Err(Discard::YourDiscriminator);
        }
        Ok(Self {
            diag: Diag(vers_diag & 0x1f),
            state,
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            authentication_present,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator,
            your_discriminator,
            desired_min_tx: Duration::from_micros(min_tx.into()),
            required_min_rx: Duration::from_micros(min_rx.into()),
            required_min_echo_rx: Duration::from_micros(min_echo_rx.into()),
        })
    }

    /// The payload of a datagram, without authentication.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let bits = [
            (self.poll, POLL),
            (self.is_final, FINAL),
            (self.control_plane_independent, CONTROL_PLANE_INDEPENDENT),
            (self.demand, DEMAND),
        ];
        let state = (self.state as u8) << 6;
        let flags = bits.iter().filter(|(set, _)| *set).fold(state, |flags, (_, bit)| flags | bit);
        let [m1, m2, m3, m4] = self.my_discriminator.get().to_be_bytes();
        let [y1, y2, y3, y4] = self.your_discriminator.map_or(0, NonZeroU32::get).to_be_bytes();
        let [t1, t2, t3, t4] = microseconds(self.desired_min_tx);
        let [r1, r2, r3, r4] = microseconds(self.required_min_rx);
        let [e1, e2, e3, e4] = microseconds(self.required_min_echo_rx);
        let first = VERSION << 5 | self.diag.0 & 0x1f;
        let mult = self.detect_mult.get();
        [
            first, flags, mult, 24, m1, m2, m3, m4, y1, y2, y3, y4, t1, t2, t3, t4, r1, r2, r3, r4,
            e1, e2, e3, e4,
        ]
    }
}

fn microseconds(interval: Duration) -> [u8; 4] {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX).to_be_bytes()
}

fn to_words(octets: [u8; 20]) -> [u32; 5] {
    let mut words = [0; 5];
    for (word, octets) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*octets);
    }
    words
}
