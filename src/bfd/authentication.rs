//! Signatures of Control packets (RFC 5880 §4.2 to §4.4, §6.7).
//!
//! A session that has an [`Authentication`] takes nothing that is not signed by it, and sends
//! nothing until the key is known. When the operator changes the key, the former one stays in use
//! until the peer signs with the new one (`Keyring`): a change is no failure of the path.
use std::fmt;
use std::time::Instant;

use md5::Md5;
use md5::digest::Digest;
use sha1::Sha1;

use super::packet::{AUTHENTICATION_PRESENT, LEN};
use crate::secret::{Key, Secret};

/// The longest signed packet: SHA1 has a section of 28 octets (§4.4).
pub const LONGEST: usize = LEN + 28;

/// Where the Length of the whole packet is, and what it is without a signature.
const LENGTH: usize = 3;
const LENGTH_WITHOUT: u8 = 24;
const _: () = assert!(LENGTH_WITHOUT as usize == LEN);

/// Where the Auth Type is, and what follows it.
const AUTH_TYPE: usize = LEN;
const AUTH_LEN: usize = LEN + 1;
const KEY_ID: usize = LEN + 2;
const PASSWORD: usize = LEN + 3;
const SEQUENCE: usize = LEN + 4;
const DIGEST: usize = LEN + 8;

/// How packets are signed; the number is the Auth Type (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Method {
    SimplePassword = 1,
    KeyedMd5 = 2,
    MeticulousKeyedMd5 = 3,
    KeyedSha1 = 4,
    MeticulousKeyedSha1 = 5,
}

impl Method {
    /// All of them, with how they are written.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::SimplePassword, "simple-password"),
        (Self::KeyedMd5, "keyed-md5"),
        (Self::MeticulousKeyedMd5, "meticulous-keyed-md5"),
        (Self::KeyedSha1, "keyed-sha1"),
        (Self::MeticulousKeyedSha1, "meticulous-keyed-sha1"),
    ];

    /// How it is written.
    #[must_use]
    pub fn label(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(method, _)| *method == self).map_or("", |(_, label)| label)
    }

    /// The most octets that a key may have (§4.2 to §4.4).
    #[must_use]
    pub fn longest_key(self) -> usize {
        match self {
            Self::SimplePassword | Self::KeyedMd5 | Self::MeticulousKeyedMd5 => 16,
            Self::KeyedSha1 | Self::MeticulousKeyedSha1 => 20,
        }
    }

    fn is_meticulous(self) -> bool {
        matches!(self, Self::MeticulousKeyedMd5 | Self::MeticulousKeyedSha1)
    }
}

/// What the operator wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authentication {
    /// How
    pub method: Method,
    /// Which of the keys that both ends know
    pub key_id: u8,
    /// Where it is kept
    pub secret: Secret,
}

/// A Control packet as it goes out. It may hold a password.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Payload {
    octets: [u8; LONGEST],
    length: usize,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Payload {
    /// One that is not signed.
    #[must_use]
    pub fn new(packet: [u8; LEN]) -> Self {
        let mut octets = [0; LONGEST];
        octets.iter_mut().zip(packet).for_each(|(octet, value)| *octet = value);
        Self { octets, length: LEN }
    }

    /// What goes into the datagram.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// Writes from an offset on; the packet is at least as long as that needs.
    pub(super) fn put(&mut self, at: usize, octets: &[u8]) {
        let end = at + octets.len();
        if let Some(part) = self.octets.get_mut(at..end) {
            part.copy_from_slice(octets);
            self.length = self.length.max(end);
        }
    }
}

/// Signs and checks by one key.
#[derive(Clone, Debug)]
struct Signer {
    method: Method,
    key_id: u8,
    key: Key,
    /// bfd.XmitAuthSeq
    transmit_sequence: u32,
    /// bfd.RcvAuthSeq, and until when it is known (bfd.AuthSeqKnown, §6.8.1)
    received: Option<(u32, Instant)>,
}

impl Signer {
    fn is_like(&self, authentication: &Authentication, key: &Key) -> bool {
        (self.method, self.key_id, &self.key) == (authentication.method, authentication.key_id, key)
    }

    fn sign(&mut self, payload: &mut Payload) {
        let section = match self.method {
            // At most 16 octets (`longest_key`).
            Method::SimplePassword => 3 + u8::try_from(self.key.octets().len()).unwrap_or(16),
            Method::KeyedMd5 | Method::MeticulousKeyedMd5 => 24,
            Method::KeyedSha1 | Method::MeticulousKeyedSha1 => 28,
        };
        if let Some(flags) = payload.octets.get_mut(1) {
            *flags |= AUTHENTICATION_PRESENT;
        }
        payload.put(LENGTH, &[LENGTH_WITHOUT + section]);
        payload.put(AUTH_TYPE, &[self.method as u8, section, self.key_id]);
        if self.method == Method::SimplePassword {
            payload.put(PASSWORD, self.key.octets());
            return;
        }
        // §6.7.3 and §6.7.4: at every packet where it is meticulous, "occasionally" elsewhere.
        self.transmit_sequence = self.transmit_sequence.wrapping_add(1);
        payload.put(PASSWORD, &[0]);
        payload.put(SEQUENCE, &self.transmit_sequence.to_be_bytes());
        let digest = self.digest(payload.octets.get(..DIGEST).unwrap_or_default());
        payload.put(DIGEST, digest.octets());
    }

    /// The digest of a packet that begins like this: with the key in its place, padded with zeros.
    fn digest(&self, beginning: &[u8]) -> Output {
        let mut key = [0; 20];
        key.iter_mut().zip(self.key.octets()).for_each(|(octet, value)| *octet = *value);
        let is_sha1 = matches!(self.method, Method::KeyedSha1 | Method::MeticulousKeyedSha1);
        if is_sha1 {
            Output::Sha1(Sha1::new().chain_update(beginning).chain_update(key).finalize().into())
        } else {
            let key = key.first_chunk::<16>().copied().unwrap_or_default();
            Output::Md5(Md5::new().chain_update(beginning).chain_update(key).finalize().into())
        }
    }

    /// Whether a packet, without what follows it, is signed by this key and is no replay; its
    /// sequence number then.
    fn check(&self, packet: &[u8], detect_mult: u8, at: Instant) -> Option<u32> {
        let is_ours = packet.get(AUTH_TYPE) == Some(&(self.method as u8))
            && packet.get(KEY_ID) == Some(&self.key_id)
            && packet.get(AUTH_LEN).copied().map(usize::from) == packet.len().checked_sub(LEN);
        if !is_ours {
            return None;
        }
        if self.method == Method::SimplePassword {
            return (packet.get(PASSWORD..)? == self.key.octets()).then_some(0);
        }
        let sequence = u32::from_be_bytes(*packet.get(SEQUENCE..)?.first_chunk()?);
        if let Some((last, until)) = self.received
            && at < until
        {
            // §6.7.3 and §6.7.4: a circular window of three detection times' packets.
            let ahead = sequence.wrapping_sub(last);
            let first = u32::from(self.method.is_meticulous());
            if !(first..=3 * u32::from(detect_mult)).contains(&ahead) {
                return None;
            }
        }
        let digest = self.digest(packet.get(..DIGEST)?);
        (packet.get(DIGEST..)? == digest.octets()).then_some(sequence)
    }
}

enum Output {
    Md5([u8; 16]),
    Sha1([u8; 20]),
}

impl Output {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Md5(octets) => octets,
            Self::Sha1(octets) => octets,
        }
    }
}

/// The key of a session, and the next one while it is being changed.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    current: Signer,
    next: Option<Signer>,
}

/// A packet was signed, and with which key.
#[derive(Debug)]
pub(super) struct Signed {
    by_next: bool,
    sequence: u32,
}

impl Keyring {
    /// With one key. `sequence`: any number, preferably a random one (RFC 5880 §6.8.1).
    pub(super) fn new(authentication: &Authentication, key: Key, sequence: u32) -> Self {
        Self { current: signer(authentication, key, sequence), next: None }
    }

    /// Wants another key, or again the one it has.
    pub(super) fn change(&mut self, authentication: &Authentication, key: Key, sequence: u32) {
        let is_current = self.current.is_like(authentication, &key);
        self.next = (!is_current).then(|| signer(authentication, key, sequence));
    }

    /// The number that the next packet gets.
    pub(super) fn transmit_sequence(&self) -> u32 {
        self.current.transmit_sequence
    }

    pub(super) fn sign(&mut self, payload: &mut Payload) {
        self.current.sign(payload);
    }

    /// Whether a packet, without what follows it, is signed as it must be. `detect_mult`: that of
    /// the packet.
    pub(super) fn check(&self, packet: &[u8], detect_mult: u8, at: Instant) -> Option<Signed> {
        let by = |signer: &Signer, by_next| {
            let sequence = signer.check(packet, detect_mult, at)?;
            Some(Signed { by_next, sequence })
        };
        by(&self.current, false).or_else(|| by(self.next.as_ref()?, true))
    }

    /// Remembers the sequence number of a packet until `until`, and that the peer has the next key.
    pub(super) fn accept(&mut self, signed: &Signed, until: Instant) {
        if signed.by_next
            && let Some(next) = self.next.take()
        {
            self.current = next;
        }
        self.current.received = Some((signed.sequence, until));
    }
}

fn signer(authentication: &Authentication, key: Key, sequence: u32) -> Signer {
    let Authentication { method, key_id, .. } = *authentication;
    Signer { method, key_id, key, transmit_sequence: sequence, received: None }
}
