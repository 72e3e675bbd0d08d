//! The keys that sign a connection, read and given to the kernel.
use std::io;
use std::os::fd::AsFd;

use ipnet::IpNet;

use super::authentication::{Algorithm, Authentication, MasterKey};
use super::down::ConnectError;
use crate::secret::{Key, Secret};
use crate::sys;
use crate::sys::signature::{TCP_MAX_KEY, TcpAoKey};

/// What an [`Authentication`] is at the moment.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// Also where it is kept, for messages
    Md5(Secret, Key),
    /// The first one is to be used
    Ao(Vec<AoKey>),
}

/// A key of TCP-AO, with what it is. Equal ones may be kept in different places.
#[derive(Clone, Debug)]
pub(super) struct AoKey {
    tuple: MasterKey,
    key: Key,
}

impl PartialEq for AoKey {
    fn eq(&self, other: &Self) -> bool {
        let parts = |key: &Self| (key.tuple.send_id, key.tuple.receive_id, key.tuple.algorithm);
        parts(self) == parts(other) && self.key == other.key
    }
}

impl Eq for AoKey {}

impl AoKey {
    /// Whether both cannot be on one connection (RFC 5925 §3.1).
    fn conflicts_with(&self, other: &Self) -> bool {
        let (a, b) = (&self.tuple, &other.tuple);
        self != other && (a.send_id == b.send_id || a.receive_id == b.receive_id)
    }

    fn for_kernel(&self) -> TcpAoKey<'_> {
        let MasterKey { send_id, receive_id, algorithm, .. } = self.tuple;
        TcpAoKey {
            send_id,
            receive_id,
            algorithm: algorithm.kernel_name(),
            mac_length: Algorithm::MAC_LENGTH,
            key: self.key.octets(),
        }
    }
}

impl Keys {
    /// Reads them. A file may be where nobody answers: not for a thread that must go on.
    ///
    /// # Errors
    ///
    /// In words, for the first one that cannot be read.
    pub(super) fn read(authentication: Authentication) -> Result<Self, ConnectError> {
        match authentication {
            Authentication::Md5(secret) => {
                let key = secret.read(TCP_MAX_KEY);
                let key = key.map_err(|error| unusable(&password(&secret), &error))?;
                Ok(Self::Md5(secret, key))
            }
            Authentication::Ao(tuples) => {
                tuples.into_iter().map(AoKey::read).collect::<Result<_, _>>().map(Self::Ao)
            }
        }
    }

    fn are_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Md5(_, a), Self::Md5(_, b)) => a == b,
            (Self::Ao(a), Self::Ao(b)) => a == b,
            (Self::Md5(..), Self::Ao(_)) | (Self::Ao(_), Self::Md5(..)) => false,
        }
    }
}

impl AoKey {
    fn read(tuple: MasterKey) -> Result<Self, ConnectError> {
        match tuple.secret.read(TCP_MAX_KEY) {
            Ok(key) => Ok(Self { tuple, key }),
            Err(error) => Err(unusable(&named(&tuple), &error)),
        }
    }
}

/// Where a signature is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum On {
    /// A socket that will connect
    Connecting,
    /// A socket that will listen, for peers that connect later
    Listening,
}

/// What signs the segments to and from certain peers.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    peers: IpNet,
    keys: Keys,
    /// Keys that are no longer wanted, and may still be in use
    outdated: Vec<AoKey>,
    /// How often something was written since the peer was to be asked for another key
    asked: u32,
}

/// What came of new keys for a connection.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Replaced {
    /// They are the keys it has
    Same,
    /// The connection goes on with them; this is the one that the peer is asked to use
    By(u8),
    /// It cannot have them: they need a new connection
    Impossible,
}

impl Signature {
    /// Signs all segments between a socket and these peers.
    ///
    /// # Errors
    ///
    /// In words, with the key that the kernel does not take.
    pub(super) fn set(
        socket: &impl AsFd,
        peers: IpNet,
        keys: Keys,
        on: On,
    ) -> Result<Self, ConnectError> {
        match &keys {
            Keys::Md5(secret, key) => {
                sys::signature::set_tcp_md5(socket, peers, key.octets())
                    .map_err(|error| unusable(&password(secret), &error))?;
            }
            Keys::Ao(keys) => {
                for (index, key) in keys.iter().enumerate() {
                    let use_at_once = index == 0 && on == On::Connecting;
                    sys::signature::add_tcp_ao_key(socket, peers, key.for_kernel(), use_at_once)
                        .map_err(|error| explain_ao(&key.tuple, &error))?;
                }
            }
        }
        Ok(Self { peers, keys, outdated: Vec::new(), asked: 0 })
    }

    /// Whether a connection is signed in the way that is wanted, or not signed where that is.
    pub(super) fn fits(signature: Option<&Self>, wanted: Option<&Authentication>) -> bool {
        match (signature.map(|signature| &signature.keys), wanted) {
            (None, None)
            | (Some(Keys::Md5(..)), Some(Authentication::Md5(_)))
            | (Some(Keys::Ao(_)), Some(Authentication::Ao(_))) => true,
            (Some(_), None) | (None, Some(_)) => false,
            (Some(Keys::Md5(..)), Some(Authentication::Ao(_)))
            | (Some(Keys::Ao(_)), Some(Authentication::Md5(_))) => false,
        }
    }

    /// Asks the peer of a connection that it opened to use the key that is to be used.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(super) fn prefer(&self, stream: &impl AsFd) -> io::Result<()> {
        match &self.keys {
            Keys::Ao(keys) if keys.len() > 1 => ask_for_first(stream, keys),
            Keys::Ao(_) | Keys::Md5(..) => Ok(()),
        }
    }

    /// Changes the keys of a connection as it is (RFC 5925 §6.1), where that is possible.
    pub(super) fn replace(&mut self, stream: &impl AsFd, keys: Keys) -> Replaced {
        if keys.are_same(&self.keys) {
            return Replaced::Same;
        }
        let (Keys::Ao(before), Keys::Ao(after)) = (&self.keys, keys) else {
            return Replaced::Impossible;
        };
        let known: Vec<AoKey> = before.iter().chain(&self.outdated).cloned().collect();
        let Some(Change { added, outdated }) = Change::between(&known, &after) else {
            return Replaced::Impossible;
        };
        for key in added {
            if sys::signature::add_tcp_ao_key(stream, self.peers, key.for_kernel(), false).is_err()
            {
                return Replaced::Impossible;
            }
        }
        if ask_for_first(stream, &after).is_err() {
            return Replaced::Impossible;
        }
        let id = after.first().map_or(0, |key| key.tuple.receive_id);
        (self.keys, self.outdated, self.asked) = (Keys::Ao(after), outdated, 0);
        Replaced::By(id)
    }

    /// Something was written: removes what is no longer wanted, when the peer has been asked for
    /// another key by a segment or two, and asks for none of these. The kernel takes milliseconds
    /// for that, and longer for a key that is in use.
    pub(super) fn handle_written(&mut self, stream: &impl AsFd) {
        const ENOUGH: u32 = 2;
        if self.outdated.is_empty() {
            return;
        }
        self.asked = self.asked.saturating_add(1);
        let current = sys::signature::current_tcp_ao_key(stream);
        let is_used = |key: &AoKey| current.as_ref().is_ok_and(|id| *id == key.tuple.send_id);
        if self.asked <= ENOUGH || current.is_err() || self.outdated.iter().any(is_used) {
            return;
        }
        let peers = self.peers;
        self.outdated.retain(|AoKey { tuple, .. }| {
            let MasterKey { send_id, receive_id, .. } = *tuple;
            sys::signature::remove_tcp_ao_key(stream, peers, send_id, receive_id).is_err()
        });
    }
}

fn ask_for_first(stream: &impl AsFd, keys: &[AoKey]) -> io::Result<()> {
    let Some(first) = keys.first() else { return Ok(()) };
    sys::signature::ask_for_tcp_ao_key(stream, first.tuple.receive_id)
}

/// What leads from the keys that a connection has to those that it should have.
#[derive(Debug, Eq, PartialEq)]
struct Change {
    added: Vec<AoKey>,
    outdated: Vec<AoKey>,
}

impl Change {
    /// `None` when a key takes the number of another: segments under way could not be told apart.
    fn between(before: &[AoKey], after: &[AoKey]) -> Option<Self> {
        if after.iter().any(|new| before.iter().any(|old| new.conflicts_with(old))) {
            return None;
        }
        let without = |of: &[AoKey], others: &[AoKey]| {
            of.iter().filter(|key| !others.contains(key)).cloned().collect()
        };
        Some(Self { added: without(after, before), outdated: without(before, after) })
    }
}

/// How messages call the password of TCP MD5.
fn password(secret: &Secret) -> String {
    secret.written("password")
}

/// How messages call a key of TCP-AO.
fn named(tuple: &MasterKey) -> String {
    format!("tcp-ao key {} ({})", tuple.send_id, tuple.secret.written("key"))
}

fn unusable(what: &str, error: &io::Error) -> ConnectError {
    let text = format!("cannot use {what}: {}", sys::describe(error));
    ConnectError { kind: error.kind(), text }
}

fn explain_ao(tuple: &MasterKey, error: &io::Error) -> ConnectError {
    let text = match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => "this kernel has no TCP-AO (CONFIG_TCP_AO, from Linux 6.7): \
                                    use another kernel, or password-file (TCP MD5) at both ends"
            .into(),
        Some(libc::ENOENT) => format!("this kernel has no {}", tuple.algorithm),
        _ => return unusable(&named(tuple), error),
    };
    ConnectError { kind: error.kind(), text: format!("cannot use {}: {text}", named(tuple)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(send_id: u8, receive_id: u8, text: &str) -> AoKey {
        let (algorithm, secret) = (Algorithm::HmacSha1, Secret::File("/key".into()));
        let tuple = MasterKey { send_id, receive_id, algorithm, secret };
        AoKey { tuple, key: Key::of(text) }
    }

    #[test]
    fn keys_come_and_go_under_a_connection() {
        let (one, two, three) = (key(1, 1, "a"), key(2, 2, "b"), key(3, 4, "c"));
        let before = [one.clone(), two.clone()];
        let change = Change::between(&before, &[two.clone(), three.clone()]).expect("possible");
        assert_eq!(change, Change { added: vec![three], outdated: vec![one.clone()] });
        // The one to use moves to the front, and nothing else happens.
        let change = Change::between(&before, &[two, one]).expect("possible");
        assert_eq!(change, Change { added: vec![], outdated: vec![] });
    }

    #[test]
    fn a_key_that_takes_the_number_of_another_needs_a_new_connection() {
        let before = [key(1, 2, "a")];
        for other in [key(1, 2, "b"), key(1, 3, "a"), key(3, 2, "a")] {
            assert_eq!(Change::between(&before, std::slice::from_ref(&other)), None, "{other:?}");
        }
        let mut other_algorithm = before.clone();
        other_algorithm[0].tuple.algorithm = Algorithm::Aes128Cmac;
        assert_eq!(Change::between(&before, &other_algorithm), None);
    }

    #[test]
    fn a_key_in_another_place_is_the_same_key() {
        let moved = key(1, 2, "a");
        let mut credential = moved.clone();
        credential.tuple.secret = Secret::Credential("tor1".into());
        assert!(Keys::Ao(vec![moved]).are_same(&Keys::Ao(vec![credential])));
    }
}
