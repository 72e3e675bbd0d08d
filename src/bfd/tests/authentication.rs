//! Signatures of packets, replays, and a change of the key.
use super::*;
use crate::bfd::authentication::{Authentication, Keyring, Method, Payload};
use crate::bfd::discard::Discard;
use crate::bfd::sessions::{self, Datagram, Generation, Hops, Sessions, Snapshot};
use crate::secret::{Key, Secret};

const METHODS: [Method; 5] = [
    Method::SimplePassword,
    Method::KeyedMd5,
    Method::MeticulousKeyedMd5,
    Method::KeyedSha1,
    Method::MeticulousKeyedSha1,
];

fn wanted(method: Method, key_id: u8) -> Authentication {
    Authentication { method, key_id, secret: Secret::File("/key".into()) }
}

fn keyring(method: Method, key_id: u8, key: &str, sequence: u32) -> Keyring {
    Keyring::new(&wanted(method, key_id), Key::of(key), sequence)
}

fn signed(keyring: &mut Keyring) -> Payload {
    let mut payload = Payload::new(said(State::Up).encode());
    keyring.sign(&mut payload);
    payload
}

/// Digests that were made by another implementation (Python's hashlib), to the letter of §6.7.3 and
/// §6.7.4.
#[test]
fn packets_are_signed_as_the_rfc_says() {
    let section = |method, key| {
        let mut keyring = keyring(method, 7, key, 41);
        let payload = signed(&mut keyring);
        let (packet, section) = payload.octets().split_at(24);
        assert_eq!((packet[1] & 0x04, usize::from(packet[3])), (0x04, payload.octets().len()));
        section.iter().map(|octet| format!("{octet:02x}")).collect::<String>()
    };
    assert_eq!(section(Method::SimplePassword, "sesame"), "010907736573616d65");
    let expected = [
        (Method::KeyedMd5, "021807000000002a", MD5),
        (Method::MeticulousKeyedMd5, "031807000000002a", METICULOUS_MD5),
        (Method::KeyedSha1, "041c07000000002a", SHA1),
        (Method::MeticulousKeyedSha1, "051c07000000002a", METICULOUS_SHA1),
    ];
    for (method, beginning, digest) in expected {
        assert_eq!(section(method, "sesame"), format!("{beginning}{digest}"), "{method:?}");
    }
}

const MD5: &str = "346c9491142e53f61b2fd9436d4cbfb5";
const METICULOUS_MD5: &str = "8353cc25ec3849b0d2b5cb81aa1207e8";
const SHA1: &str = "7e05b94593773c152fbff50c900821e2ddb24e2a";
const METICULOUS_SHA1: &str = "fe620c6738920dcb83b02cccfedbd1a931f22e64";

#[test]
fn what_was_changed_on_the_way_is_not_signed() {
    let now = start();
    for method in METHODS {
        let payload = signed(&mut keyring(method, 1, "sesame", 9));
        let check = |octets: &[u8], keyring: Keyring| keyring.check(octets, 3, now).is_some();
        let ours = || keyring(method, 1, "sesame", 0);
        assert!(check(payload.octets(), ours()), "{method:?}");
        assert!(!check(payload.octets(), keyring(method, 1, "mellon", 0)), "{method:?}");
        assert!(!check(payload.octets(), keyring(method, 2, "sesame", 0)), "{method:?}");
        for other in METHODS.into_iter().filter(|other| *other != method) {
            assert!(!check(payload.octets(), keyring(other, 1, "sesame", 0)), "{other:?}");
        }
        // A password protects itself alone; a digest protects everything.
        let protected = if method == Method::SimplePassword { 24 } else { 0 };
        for at in protected..payload.octets().len() {
            let mut octets = payload.octets().to_vec();
            octets[at] ^= 0x10;
            assert!(!check(&octets, ours()), "{method:?} octet {at}");
            assert!(!check(&octets[..at], ours()), "{method:?} cut at {at}");
        }
    }
}

#[test]
fn what_came_before_does_not_count_again_until_the_peer_is_forgotten() {
    let now = start();
    let table = [
        (Method::KeyedMd5, 0),
        (Method::KeyedSha1, 0),
        (Method::MeticulousKeyedMd5, 1),
        (Method::MeticulousKeyedSha1, 1),
    ];
    for (method, first) in table {
        // Close to where the number wraps.
        let mut peer = keyring(method, 1, "sesame", u32::MAX - 4);
        let sent: Vec<Payload> = (0..20).map(|_| signed(&mut peer)).collect();
        let mut ours = keyring(method, 1, "sesame", 0);
        let heard = ours.check(sent[3].octets(), 3, now).expect("the first counts");
        ours.accept(&heard, now + secs(2));
        let good = |at: usize, when: Instant| ours.check(sent[at].octets(), 3, when).is_some();
        for at in 0..20 {
            let expected = at >= 3 + first && at <= 3 + 3 * 3;
            assert_eq!(good(at, now + secs(1)), expected, "{method:?} {at}");
        }
        assert!(good(0, now + secs(2)), "{method:?}: the peer may have restarted");
    }
}

/// Both ends of a session, with keys.
struct Pair {
    ends: [Sessions; 2],
    now: Instant,
}

const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

impl Pair {
    fn new(authentications: [Option<Authentication>; 2]) -> Self {
        let now = start();
        let mut ends = [Sessions::new(1), Sessions::new(2)];
        for (at, authentication) in authentications.into_iter().enumerate() {
            ends[at].set(&"peer".into(), Self::wanted(at, authentication), now);
        }
        Self { ends, now }
    }

    fn wanted(at: usize, authentication: Option<Authentication>) -> sessions::Config {
        let remote: std::net::IpAddr = ADDRESSES[1 - at].parse().expect("an address");
        sessions::Config {
            generation: Generation(1),
            remote: remote.into(),
            source: None,
            hops: Hops::Single,
            minimum_ttl: 255,
            session: config(3, 100, 100),
            authentication,
        }
    }

    fn set_key(&mut self, at: usize, authentication: &Authentication, key: &str) {
        self.ends[at].set(&"peer".into(), Self::wanted(at, Some(authentication.clone())), self.now);
        self.ends[at].set_key(&"peer".into(), authentication, Key::of(key), self.now);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += millis(10);
            for at in [0, 1] {
                self.ends[at].handle_timeout(self.now);
                while let Some(packet) = self.ends[at].poll_transmit(self.now) {
                    let source: std::net::IpAddr = ADDRESSES[at].parse().expect("an address");
                    self.ends[1 - at].handle_datagram(Datagram {
                        hops: Hops::Single,
                        source: source.into(),
                        ttl: Some(255),
                        payload: packet.payload.octets(),
                        at: self.now,
                    });
                }
            }
        }
    }

    /// How often the sessions of both ends came up, and how often they went.
    fn changes(&self) -> [(u64, u64); 2] {
        [0, 1].map(|at| {
            let look = self.ends[at].looks(self.now).next().expect("a session");
            (look.session.counters.ups, look.session.counters.downs)
        })
    }
}

#[test]
fn a_session_comes_up_when_both_ends_have_the_key() {
    for method in METHODS {
        let authentication = wanted(method, 1);
        let mut pair = Pair::new([Some(authentication.clone()), Some(authentication.clone())]);
        pair.run(secs(5));
        let look = pair.ends[1].looks(pair.now).next().expect("a session");
        assert_eq!(look.session.remote, None, "nothing is said without the key");
        assert_eq!(look.session.counters.sent, 0, "and nothing is said to have been");
        pair.set_key(0, &authentication, "sesame");
        pair.run(secs(5));
        pair.set_key(1, &authentication, "sesame");
        pair.run(secs(5));
        assert_eq!(pair.changes(), [(1, 0), (1, 0)], "{method:?}");
    }
}

#[test]
fn another_key_or_none_keeps_a_session_down_and_is_counted() {
    let ours = wanted(Method::MeticulousKeyedSha1, 1);
    let others = [(Some(ours.clone()), "mellon"), (Some(wanted(Method::KeyedMd5, 1)), "sesame")];
    for (theirs, key) in others.into_iter().chain([(None, "")]) {
        let mut pair = Pair::new([Some(ours.clone()), theirs.clone()]);
        pair.set_key(0, &ours, "sesame");
        if let Some(theirs) = &theirs {
            pair.set_key(1, theirs, key);
        }
        pair.run(secs(10));
        assert_eq!(pair.changes(), [(0, 0), (0, 0)], "{theirs:?}");
        for end in &pair.ends {
            assert!(end.discards().get(Discard::Authentication) > 0, "{theirs:?}");
        }
    }
}

#[test]
fn a_key_is_changed_here_and_then_there_without_a_flap() {
    for (before, after) in [
        (wanted(Method::MeticulousKeyedSha1, 1), wanted(Method::MeticulousKeyedSha1, 2)),
        (wanted(Method::KeyedMd5, 1), wanted(Method::KeyedMd5, 1)),
        (wanted(Method::SimplePassword, 1), wanted(Method::MeticulousKeyedMd5, 1)),
    ] {
        let mut pair = Pair::new([Some(before.clone()), Some(before.clone())]);
        pair.set_key(0, &before, "sesame");
        pair.set_key(1, &before, "sesame");
        pair.run(secs(10));
        // The same once more, as any reload has it.
        pair.set_key(0, &before, "sesame");
        pair.run(secs(10));
        pair.set_key(0, &after, "mellon");
        pair.run(secs(60));
        // The other end is a router that knows one key at a time.
        pair.ends[1].set(&"peer".into(), Pair::wanted(1, None), pair.now);
        pair.set_key(1, &after, "mellon");
        pair.run(secs(60));
        assert_eq!(pair.changes(), [(1, 0), (1, 0)], "{before:?}");
    }
}

#[test]
fn a_session_that_another_process_goes_on_with_is_still_signed_in_sequence() {
    for method in METHODS {
        let authentication = wanted(method, 1);
        let mut pair = Pair::new([Some(authentication.clone()), Some(authentication.clone())]);
        pair.set_key(0, &authentication, "sesame");
        pair.set_key(1, &authentication, "sesame");
        pair.run(secs(10));
        let snapshot = pair.ends[0].snapshot(&"peer".into(), pair.now).expect("a session");
        let text = serde_json::to_string(&snapshot).expect("JSON");
        let snapshot: Snapshot = serde_json::from_str(&text).expect("what was written");
        let mut next = Sessions::new(99);
        let config = Pair::wanted(0, Some(authentication.clone()));
        next.resume(&"peer".into(), config, &snapshot, pair.now);
        pair.ends[0] = next;
        pair.set_key(0, &authentication, "sesame");
        pair.run(secs(60));
        assert_eq!(pair.changes(), [(0, 0), (1, 0)], "{method:?}: nobody noticed");
    }
}
