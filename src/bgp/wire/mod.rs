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
pub use capability::Capabilities;
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

    /// The lengths a message of this type can have, header included (RFC 4271 §6.1, RFC 2918 §3).
    fn lengths(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Open => 29..=MAX_LEN,
            Self::Update => 23..=MAX_LEN,
            Self::Notification => 21..=MAX_LEN,
            Self::Keepalive => HEADER_LEN..=HEADER_LEN,
            Self::RouteRefresh => 23..=23,
        }
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
pub fn split(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, HeaderError> {
    let mut cursor = Cursor::new(input);
    let header = (cursor.array::<16>(), cursor.u16(), cursor.u8());
    let (Some(marker), Some(length), Some(kind_octet)) = header else { return Ok(None) };
    if marker != MARKER {
        return Err(HeaderError::NotSynchronized);
    }
    let total = usize::from(length);
    let bad_length = HeaderError::BadLength { length, kind: kind_octet };
    if !(HEADER_LEN..=MAX_LEN).contains(&total) {
        return Err(bad_length);
    }
    let kind = MessageType::from_octet(kind_octet).ok_or(HeaderError::BadType(kind_octet))?;
    if !kind.lengths().contains(&total) {
        return Err(bad_length);
    }
    Ok(cursor.take(total - HEADER_LEN).map(|body| (Frame { kind, body }, total)))
}

/// A KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    message(MessageType::Keepalive, |_| {})
}

/// The family a ROUTE-REFRESH asks for again (RFC 2918 §3); `None` for one never offered.
#[must_use]
pub fn decode_route_refresh(body: &[u8]) -> Option<Family> {
    let mut cursor = Cursor::new(body);
    let (afi, _reserved, safi) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
    Family::from_afi_safi(afi, safi)
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
