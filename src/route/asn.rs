//! Autonomous system numbers (RFC 6793).
use std::fmt;

use serde::{Deserialize, Serialize};

/// A four-octet autonomous system number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Asn(pub u32);

impl Asn {
    /// What stands for a four-octet number where only two octets fit (RFC 6793 §9).
    pub const TRANS: Self = Self(23456);

    /// The number as the two-octet fields of OPEN and `AS_PATH` carry it (RFC 6793 §4.2.2).
    #[must_use]
    pub fn to_two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }

    /// Why a speaker cannot have this number, if it cannot: 0 (RFC 7607), `AS_TRANS` (RFC 6793
    /// §9), and the last numbers of both ranges (RFC 7300).
    #[must_use]
    pub fn reserved(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("RFC 7607"),
            23456 => Some("RFC 6793 §9"),
            65535 | u32::MAX => Some("RFC 7300"),
            _ => None,
        }
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
