//! The NOTIFICATION message (RFC 4271 §4.5): codes, their names, and the text of RFC 9003.
use std::fmt;

use super::{HEADER_LEN, MAX_LEN, MessageType, message};

/// A NOTIFICATION, as sent or as received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notification {
    /// Error code
    pub code: u8,
    /// Error subcode; its meaning depends on the code
    pub subcode: u8,
    /// Data; its meaning depends on both
    pub data: Vec<u8>,
}

const HARD_RESET: u8 = 9;

/// One error code with its subcodes.
struct Code {
    code: u8,
    name: &'static str,
    subcodes: &'static [(u8, &'static str)],
}

/// Every code and subcode with its name. Subcode 0 is "unspecific".
const CODES: &[Code] = &[
    Code {
        code: Notification::HEADER_ERROR,
        name: "Message Header Error",
        subcodes: &[
            (1, "Connection Not Synchronized"),
            (2, "Bad Message Length"),
            (3, "Bad Message Type"),
        ],
    },
    Code {
        code: Notification::OPEN_ERROR,
        name: "OPEN Message Error",
        subcodes: &[
            (1, "Unsupported Version Number"),
            (2, "Bad Peer AS"),
            (3, "Bad BGP Identifier"),
            (4, "Unsupported Optional Parameter"),
            (5, "Authentication Failure"),
            (6, "Unacceptable Hold Time"),
            (7, "Unsupported Capability"), // RFC 5492
            (11, "Role Mismatch"),         // RFC 9234
        ],
    },
    Code {
        code: Notification::UPDATE_ERROR,
        name: "UPDATE Message Error",
        subcodes: &[
            (1, "Malformed Attribute List"),
            (2, "Unrecognized Well-known Attribute"),
            (3, "Missing Well-known Attribute"),
            (4, "Attribute Flags Error"),
            (5, "Attribute Length Error"),
            (6, "Invalid ORIGIN Attribute"),
            (8, "Invalid NEXT_HOP Attribute"),
            (9, "Optional Attribute Error"),
            (10, "Invalid Network Field"),
            (11, "Malformed AS_PATH"),
        ],
    },
    Code { code: Notification::HOLD_TIMER_EXPIRED, name: "Hold Timer Expired", subcodes: &[] },
    Code {
        code: Notification::FSM_ERROR,
        name: "Finite State Machine Error",
        subcodes: &[
            // RFC 6608
            (1, "Unexpected Message in OpenSent"),
            (2, "Unexpected Message in OpenConfirm"),
            (3, "Unexpected Message in Established"),
        ],
    },
    Code {
        code: Notification::CEASE,
        name: "Cease",
        subcodes: &[
            // RFC 4486
            (1, "Maximum Number of Prefixes Reached"),
            (2, "Administrative Shutdown"),
            (3, "Peer De-configured"),
            (4, "Administrative Reset"),
            (5, "Connection Rejected"),
            (6, "Other Configuration Change"),
            (7, "Connection Collision Resolution"),
            (8, "Out of Resources"),
            (HARD_RESET, "Hard Reset"), // RFC 8538
            (10, "BFD Down"),           // RFC 9384
        ],
    },
    // RFC 7313
    Code {
        code: Notification::REFRESH_ERROR,
        name: "ROUTE-REFRESH Message Error",
        subcodes: &[(1, "Invalid Message Length")],
    },
    Code {
        code: Notification::SEND_HOLD_TIMER_EXPIRED,
        name: "Send Hold Timer Expired",
        subcodes: &[],
    },
];

impl Notification {
    /// RFC 4271 §6.1
    pub const HEADER_ERROR: u8 = 1;
    /// RFC 4271 §6.2
    pub const OPEN_ERROR: u8 = 2;
    /// Subcode of the former: the peer knows no optional parameters (RFC 5492 §3)
    pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
    /// RFC 4271 §6.3
    pub const UPDATE_ERROR: u8 = 3;
    /// RFC 4271 §6.5
    pub const HOLD_TIMER_EXPIRED: u8 = 4;
    /// RFC 4271 §6.6
    pub const FSM_ERROR: u8 = 5;
    /// RFC 4271 §6.7, RFC 4486
    pub const CEASE: u8 = 6;
    /// RFC 9687 §4.4
    pub const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

    /// RFC 7313 §5
    pub const REFRESH_ERROR: u8 = 7;

    /// A NOTIFICATION of these parts.
    #[must_use]
    pub fn new(code: u8, subcode: u8, data: Vec<u8>) -> Self {
        Self { code, subcode, data }
    }

    /// Cease/Administrative Shutdown with a shutdown communication (RFC 9003 §2).
    #[must_use]
    pub fn administrative_shutdown(text: &str) -> Self {
        Self::with_communication(2, text)
    }

    /// Cease/Administrative Reset with a shutdown communication (RFC 9003 §2); the text may be empty.
    #[must_use]
    pub fn administrative_reset(text: &str) -> Self {
        Self::with_communication(4, text)
    }

    /// At most 255 octets of UTF-8, cut between characters.
    fn with_communication(subcode: u8, text: &str) -> Self {
        let text = text.get(..text.floor_char_boundary(255)).unwrap_or_default();
        let length = u8::try_from(text.len()).unwrap_or_default();
        let mut data = vec![length];
        data.extend(text.as_bytes());
        Self::new(Self::CEASE, subcode, data)
    }

    /// The same, and the peer is to forget our routes although it would keep them over a
    /// NOTIFICATION (RFC 8538 §3.1).
    #[must_use]
    pub fn hard_reset(&self) -> Self {
        let data = [&[self.code, self.subcode][..], &self.data].concat();
        Self::new(Self::CEASE, HARD_RESET, data)
    }

    /// Whether routes are to be forgotten that would be kept over any other NOTIFICATION.
    #[must_use]
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (Self::CEASE, HARD_RESET)
    }

    /// Whether BFD is what the sender ended the session for, or did not have it for (RFC 9384).
    #[must_use]
    pub fn is_bfd_down(&self) -> bool {
        let inside = self.inside();
        let told = inside.as_ref().unwrap_or(self);
        (told.code, told.subcode) == (Self::CEASE, 10)
    }

    /// What a hard reset is for.
    fn inside(&self) -> Option<Self> {
        Self::decode(&self.data).filter(|_| self.is_hard_reset())
    }

    /// A Cease without data.
    #[must_use]
    pub fn cease(subcode: u8) -> Self {
        Self::new(Self::CEASE, subcode, Vec::new())
    }

    /// Reads the octets behind the header; `None` when the two codes are not there.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let [code, subcode, data @ ..] = body else { return None };
        Some(Self::new(*code, *subcode, data.to_vec()))
    }

    /// The whole message. Data that quotes what the peer sent may be as long as that was; it is cut
    /// to what every peer takes (RFC 4271 §4.1; RFC 8654 §4 asks for more only where it was agreed).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        message(MessageType::Notification, |out| {
            out.extend([self.code, self.subcode]);
            out.extend(self.data.iter().take(MAX_LEN - HEADER_LEN - 2));
        })
    }

    /// The shutdown communication of an Administrative Shutdown or Reset (RFC 9003 §2), fit for
    /// a log: what a terminal would not just print is replaced.
    #[must_use]
    pub fn shutdown_communication(&self) -> Option<String> {
        if self.code != Self::CEASE || !matches!(self.subcode, 2 | 4) {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length))?;
        let text: String = String::from_utf8_lossy(text)
            .chars()
            .map(|c| if c.is_control() || moves_text(c) { '\u{fffd}' } else { c })
            .collect();
        (!text.is_empty()).then_some(text)
    }
}

/// Whether a character breaks the line or has the rest of it shown in another order (RFC 9003 §6
/// warns of what Unicode can do).
fn moves_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Notification {
    /// "Cease/Administrative Shutdown (6/2): text"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = CODES.iter().find(|entry| entry.code == self.code);
        f.write_str(entry.map_or("unknown error", |entry| entry.name))?;
        let mut subcodes = entry.map(|entry| entry.subcodes).unwrap_or_default().iter();
        match subcodes.find(|(subcode, _)| *subcode == self.subcode) {
            Some((_, subname)) => write!(f, "/{subname}")?,
            None if self.subcode == 0 => {}
            None => f.write_str("/unknown subcode")?,
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        if let Some(text) = self.shutdown_communication() {
            write!(f, ": {text}")?;
        }
        match self.inside() {
            // One in another says no more.
            Some(inside) if inside.inside().is_none() => write!(f, ": {inside}"),
            Some(_) | None => Ok(()),
        }
    }
}
