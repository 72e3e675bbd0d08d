//! What signs the TCP segments of a session, as data.
use std::fmt;

use crate::secret::Secret;

/// How segments are signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// TCP MD5 (RFC 2385)
    Md5(Secret),
    /// TCP-AO (RFC 5925): the key to sign with, then others that are taken from the peer, and used
    /// while it asks for them
    Ao(Vec<MasterKey>),
}

impl Authentication {
    /// Whether one kind of signature can take the place of the other under a connection; whether
    /// the keys can is another matter.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A Master Key Tuple (RFC 5925 §3.1), but for the addresses that it is used between.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MasterKey {
    /// In the segments we send (SendID)
    pub send_id: u8,
    /// In the segments of the peer (RecvID)
    pub receive_id: u8,
    /// What makes keys and MACs of it
    pub algorithm: Algorithm,
    /// Where it is kept
    pub secret: Secret,
}

/// How TCP-AO makes its MACs, and the keys for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// HMAC-SHA-1-96 (RFC 5926 §3.2.1)
    HmacSha1,
    /// AES-128-CMAC-96 (RFC 5926 §3.2.2)
    Aes128Cmac,
    /// HMAC-SHA-256-96, which has no RFC: as BIRD has it
    HmacSha256,
}

impl Algorithm {
    /// The length of a MAC in octets.
    pub const MAC_LENGTH: u8 = 12;

    /// All of them, with how they are written.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::HmacSha1, "hmac-sha1"),
        (Self::Aes128Cmac, "aes-128-cmac"),
        (Self::HmacSha256, "hmac-sha256"),
    ];

    /// What the kernel calls it.
    #[must_use]
    pub fn kernel_name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac(sha1)",
            Self::Aes128Cmac => "cmac(aes128)",
            Self::HmacSha256 => "hmac(sha256)",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = Self::ALL.iter().find(|(algorithm, _)| algorithm == self);
        f.write_str(written.map_or("", |(_, word)| word))
    }
}
