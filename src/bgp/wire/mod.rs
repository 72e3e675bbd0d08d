//! BGP messages and their octets (RFC 4271 §4), without state: what is valid here may still be
//! out of place in a session.
//!
//! Reading is total: every sequence of octets gives a message, a wish for more octets, or an error
//! that says which NOTIFICATION answers it. Nothing here indexes, unwraps or allocates by a length
//! that a peer only claims.
//!
//! What is left out on purpose: every address family but IPv4 and IPv6 unicast. Parsers that are
//! not there cannot be attacked.
mod attribute;
mod capability;
mod cursor;
mod notification;
mod open;
mod update;

pub use attribute::{Action, AsPath, Origin, PathAttributes, Segment};
pub use capability::{Capabilities, GracefulRestart};
pub use cursor::prefix_size;
pub use notification::Notification;
pub use open::{Open, OpenError};
pub use update::{
    Announcement, Defect, Encoding, Update, UpdateError, announce, end_of_rib, fits, withdraw,
};

use cursor::Cursor;

use crate::route::Family;

/// Marker, length and type.
pub const HEADER_LEN: usize = 19;
/// The longest message (RFC 4271 §4.1).
pub const MAX_LEN: usize = 4096;
/// The longest message where that was agreed (RFC 8654 §3).
pub const MAX_EXTENDED_LEN: usize = 65535;

const MARKER: [u8; 16] = [0xff; 16];

/// The Type field of the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageType {
    /// RFC 4271 §4.2
    Open = 1,
    /// RFC 4271 §4.3
    Update = 2,
    /// RFC 4271 §4.5
    Notification = 3,
    /// RFC 4271 §4.4
    Keepalive = 4,
    /// RFC 2918 §3
    RouteRefresh = 5,
}

impl MessageType {
    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh]
            .into_iter()
            .find(|kind| *kind as u8 == octet)
    }

    /// The lengths a message of this type can have, header included (RFC 4271 §6.1, RFC 2918 §3,
    /// RFC 8654 §4).
    fn lengths(self, agreed: Agreed) -> std::ops::RangeInclusive<usize> {
        let longest = agreed.longest();
        match self {
            Self::Open => 29..=MAX_LEN,
            Self::Update => 23..=longest,
            Self::Notification => 21..=longest,
            Self::Keepalive => HEADER_LEN..=HEADER_LEN,
            // Its errors are answered with the whole message (RFC 7313 §5).
            Self::RouteRefresh if agreed.enhanced_route_refresh => HEADER_LEN..=longest,
            Self::RouteRefresh => 23..=23,
        }
    }
}

/// What may come that RFC 4271 does not know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Agreed {
    /// Messages of up to 65535 octets, to one who offered to take them (RFC 8654 §4)
    pub extended_message: bool,
    /// Refreshes with a beginning and an end (RFC 7313)
    pub enhanced_route_refresh: bool,
}

impl Agreed {
    fn longest(self) -> usize {
        if self.extended_message { MAX_EXTENDED_LEN } else { MAX_LEN }
    }
}

/// One message out of the stream, its header checked and taken off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What it is
    pub kind: MessageType,
    /// The octets behind the header
    pub body: &'a [u8],
}

/// What is wrong with a header (RFC 4271 §6.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// The marker is not all ones
    #[error("the marker of a message header is not all ones")]
    NotSynchronized,
    /// Out of bounds for its type, or for any
    #[error("a message of {length} octets, which its type {kind} cannot have")]
    BadLength {
        /// As claimed
        length: u16,
        /// The Type field
        kind: u8,
    },
    /// No such type
    #[error("message type {0} does not exist")]
    BadType(u8),
}

impl HeaderError {
    /// What goes to the peer; nothing answers a broken NOTIFICATION (RFC 4271 §6.4).
    #[must_use]
    pub fn notification(self) -> Option<Notification> {
        let (subcode, data) = match self {
            Self::NotSynchronized => (1, Vec::new()),
            Self::BadLength { kind, .. } if kind == MessageType::Notification as u8 => {
                return None;
            }
            Self::BadLength { length, .. } => (2, length.to_be_bytes().to_vec()),
            Self::BadType(kind) => (3, vec![kind]),
        };
        Some(Notification::new(Notification::HEADER_ERROR, subcode, data))
    }
}

/// Takes the first message off `input`: the message and the length it had. `None` asks for more
/// octets; a header is judged as soon as it is whole, its body need not have come.
///
/// # Errors
///
/// When the header breaks RFC 4271 §6.1.
pub fn split(input: &[u8], agreed: Agreed) -> Result<Option<(Frame<'_>, usize)>, HeaderError> {
    let mut cursor = Cursor::new(input);
    let header = (cursor.array::<16>(), cursor.u16(), cursor.u8());
    let (Some(marker), Some(length), Some(kind_octet)) = header else { return Ok(None) };
    if marker != MARKER {
        return Err(HeaderError::NotSynchronized);
    }
    let total = usize::from(length);
    let bad_length = HeaderError::BadLength { length, kind: kind_octet };
    if !(HEADER_LEN..=agreed.longest()).contains(&total) {
        return Err(bad_length);
    }
    let kind = MessageType::from_octet(kind_octet).ok_or(HeaderError::BadType(kind_octet))?;
    if !kind.lengths(agreed).contains(&total) {
        return Err(bad_length);
    }
    Ok(cursor.take(total - HEADER_LEN).map(|body| (Frame { kind, body }, total)))
}

/// A KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    message(MessageType::Keepalive, |_| {})
}

/// What a ROUTE-REFRESH is about (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// Send this family again
    Request(Family),
    /// Everything of this family follows (BoRR)
    Beginning(Family),
    /// That was everything (EoRR)
    End(Family),
    /// A family or subtype that was never offered
    Unknown,
}

/// RFC 7313 §3.2: the subtypes of a ROUTE-REFRESH.
const BORR: u8 = 1;
const EORR: u8 = 2;

impl Refresh {
    /// Reads the octets behind the header. Whether the subtype counts depends on what was agreed:
    /// RFC 2918 has a reserved octet in its place.
    ///
    /// # Errors
    ///
    /// The NOTIFICATION that answers a wrong length (RFC 7313 §5, RFC 4271 §6.1).
    pub fn decode(body: &[u8], enhanced: bool) -> Result<Self, Notification> {
        let [a, b, subtype, safi] = *body else {
            return Err(refresh_length(body, enhanced));
        };
        Ok(match Family::from_afi_safi(u16::from_be_bytes([a, b]), safi) {
            Some(family) if !enhanced || subtype == 0 => Self::Request(family),
            Some(family) if subtype == BORR => Self::Beginning(family),
            Some(family) if subtype == EORR => Self::End(family),
            Some(_) | None => Self::Unknown,
        })
    }
}

fn refresh_length(body: &[u8], enhanced: bool) -> Notification {
    let message = message(MessageType::RouteRefresh, |out| out.extend(body));
    if enhanced && matches!(body.get(2), Some(&(BORR | EORR))) {
        return Notification::new(Notification::REFRESH_ERROR, 1, message);
    }
    let length = message.get(16..18).unwrap_or_default().to_vec();
    Notification::new(Notification::HEADER_ERROR, 2, length)
}

/// Whether the demarcation of a refresh is that of its beginning or of its end (RFC 7313 §4.1).
#[must_use]
pub fn demarcation(family: Family, is_end: bool) -> Vec<u8> {
    refresh(family, if is_end { EORR } else { BORR })
}

/// A ROUTE-REFRESH that asks for a family (RFC 2918 §3).
#[must_use]
pub fn route_refresh(family: Family) -> Vec<u8> {
    refresh(family, 0)
}

fn refresh(family: Family, subtype: u8) -> Vec<u8> {
    let [high, low] = family.afi().to_be_bytes();
    message(MessageType::RouteRefresh, |out| out.extend([high, low, subtype, family.safi()]))
}

/// A message of this type, its body written by `write`.
fn message(kind: MessageType, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend(MARKER);
    out.extend([0, 0, kind as u8]);
    write(&mut out);
    let length = u16::try_from(out.len()).expect("a message is at most 65535 octets");
    if let Some(field) = out.get_mut(16..18) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    out
}
