//! The OPEN message (RFC 4271 §4.2, RFC 5492, RFC 6793, RFC 9072).
//!
//! ```text
//! version 1 | my AS 2 | hold time 2 | BGP identifier 4 | parameters length 1 | parameters
//! ```
use std::net::Ipv4Addr;

use super::capability::Capabilities;
use super::cursor::Cursor;
use super::notification::Notification;
use super::{MessageType, message};
use crate::route::{Asn, Family, Role};

const VERSION: u8 = 4;
/// Optional parameter type: Capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Says that lengths have two octets (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// An OPEN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open {
    /// The four-octet number where the capability is there, else that of the two-octet field
    pub asn: Asn,
    /// Seconds; 0 stands for none
    pub hold_time: u16,
    /// BGP Identifier
    pub router_id: Ipv4Addr,
    /// What is offered
    pub capabilities: Capabilities,
}

/// What is wrong with an OPEN (RFC 4271 §6.2).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// A length does not fit
    #[error("malformed OPEN: {0}")]
    Malformed(&'static str),
    /// Not version 4
    #[error("BGP version {0}; only 4 is spoken here")]
    UnsupportedVersion(u8),
    /// Another AS number than was configured, or 0
    #[error("the peer says AS {received}, remote-asn says {expected}")]
    BadPeerAs {
        /// From the OPEN
        received: Asn,
        /// From the configuration, in words: a number, "external" or "internal"
        expected: String,
    },
    /// 0.0.0.0, or our own from an internal peer (RFC 6286 §2.2)
    #[error("the peer's BGP identifier (router ID) {0} is {1}")]
    BadBgpIdentifier(Ipv4Addr, &'static str),
    /// Neither Capabilities nor the extended length
    #[error("unsupported optional parameter {0}")]
    UnsupportedOptionalParameter(u8),
    /// 1 or 2 seconds
    #[error("hold time {0} s; it must be 0 or at least 3 s")]
    UnacceptableHoldTime(u16),
    /// No family in common (RFC 5492 §5), and those that it should have offered
    #[error("no address family in common: {0}")]
    UnsupportedCapability(String, Vec<Family>),
    /// RFC 9234 §4.2
    #[error("our role is \"{ours}\", so the peer's must be \"{expected}\"; it says {received}")]
    RoleMismatch {
        /// From the configuration
        ours: Role,
        /// What goes with it
        expected: Role,
        /// From the OPEN, in words
        received: String,
    },
}

impl OpenError {
    /// What goes to the peer. With Unsupported Capability go the ones it lacks (RFC 5492 §5).
    #[must_use]
    pub fn notification(&self) -> Notification {
        let (subcode, data) = match self {
            Self::Malformed(_) => (0, Vec::new()),
            Self::UnsupportedVersion(_) => (1, vec![0, VERSION]),
            Self::BadPeerAs { .. } => (2, Vec::new()),
            Self::BadBgpIdentifier(..) => (3, Vec::new()),
            Self::UnsupportedOptionalParameter(_) => (4, Vec::new()),
            Self::UnacceptableHoldTime(_) => (6, Vec::new()),
            Self::RoleMismatch { .. } => (11, Vec::new()),
            Self::UnsupportedCapability(_, lacks) => (7, Capabilities::of_families(lacks).encode()),
        };
        Notification::new(Notification::OPEN_ERROR, subcode, data)
    }
}

impl Open {
    /// Reads the octets behind the header.
    ///
    /// # Errors
    ///
    /// Whatever does not depend on the configuration of the peer; the caller checks AS number,
    /// router ID against its own, and families.
    pub fn decode(body: &[u8]) -> Result<Self, OpenError> {
        let mut cursor = Cursor::new(body);
        let fixed = (cursor.u8(), cursor.u16(), cursor.u16(), cursor.array::<4>());
        let (Some(version), Some(two_octet_asn), Some(hold_time), Some(router_id)) = fixed else {
            return Err(OpenError::Malformed("shorter than its fixed fields"));
        };
        if version != VERSION {
            return Err(OpenError::UnsupportedVersion(version));
        }
        let capabilities = decode_parameters(cursor)?;
        if matches!(hold_time, 1 | 2) {
            return Err(OpenError::UnacceptableHoldTime(hold_time));
        }
        let router_id = Ipv4Addr::from(router_id);
        if router_id.is_unspecified() {
            return Err(OpenError::BadBgpIdentifier(router_id, "not a valid one"));
        }
        let asn = match (two_octet_asn, capabilities.four_octet_asn) {
            (0, _) => Asn(0), // RFC 7607 §2, whatever the capability says
            (_, Some(asn)) => asn,
            (asn, None) => Asn(asn.into()),
        };
        Ok(Self { asn, hold_time, router_id, capabilities })
    }

    /// The whole message. Without any capability it has no optional parameters at all, for peers
    /// that know none (RFC 5492 §3).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        message(MessageType::Open, |out| {
            out.push(VERSION);
            out.extend(self.asn.to_two_octets().to_be_bytes());
            out.extend(self.hold_time.to_be_bytes());
            out.extend(self.router_id.octets());
            put_parameters(out, &self.capabilities.encode());
        })
    }
}

/// One Capabilities parameter, in the form of RFC 9072 §2 where it is too long for the plain one.
fn put_parameters(out: &mut Vec<u8>, capabilities: &[u8]) {
    let length = capabilities.len();
    match u8::try_from(length + 2) {
        _ if capabilities.is_empty() => out.push(0),
        Ok(all) => out.extend([all, CAPABILITIES, all - 2]),
        Err(_) => {
            let octets = |length: usize| {
                u16::try_from(length).expect("our capabilities are short").to_be_bytes()
            };
            let ([a, b], [c, d]) = (octets(length + 3), octets(length));
            out.extend([EXTENDED, EXTENDED, a, b, CAPABILITIES, c, d]);
        }
    }
    out.extend(capabilities);
}

/// Reads all optional parameters, of either form.
fn decode_parameters(mut cursor: Cursor<'_>) -> Result<Capabilities, OpenError> {
    const LENGTH: OpenError = OpenError::Malformed("the length of the optional parameters");
    let length = cursor.u8().ok_or(LENGTH)?;
    // RFC 9072 §2: the first type alone tells the extended form, unless there are no parameters.
    let extended = length != 0 && cursor.rest().first() == Some(&EXTENDED);
    let parameters = if extended {
        cursor.u8();
        cursor.counted_u16().ok_or(LENGTH)?
    } else {
        cursor.take(usize::from(length)).ok_or(LENGTH)?
    };
    if !cursor.is_empty() {
        return Err(LENGTH);
    }
    let mut capabilities = Capabilities::default();
    let mut parameters = Cursor::new(parameters);
    while let Some(kind) = parameters.u8() {
        let value = if extended { parameters.counted_u16() } else { parameters.counted_u8() };
        let value = value.ok_or(OpenError::Malformed("the length of an optional parameter"))?;
        if kind != CAPABILITIES {
            return Err(OpenError::UnsupportedOptionalParameter(kind));
        }
        let decoded = capabilities.decode(value);
        decoded.ok_or(OpenError::Malformed("the length of a capability"))?;
    }
    Ok(capabilities)
}
