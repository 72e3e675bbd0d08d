//! Signatures (RFC 5880 §6.7) that are missing, wrong, or those of another packet; and keys and
//! passwords that change.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sha1::{Digest, Sha1};
use vipcast_lab::wait;

use super::super::BOUND;
use super::{AUTHENTICATION, DOWN, FINAL, INIT, POLL, Packet, Router, Says, UP, with};

/// Meticulous Keyed SHA1, its length, and the key's number.
const TYPE: u8 = 5;
const LENGTH: u8 = 28;
const KEY_ID: u8 = 7;

/// A router that signs (§6.7.4).
struct Signing {
    router: Router,
    key: &'static str,
    sequence: u32,
}

fn digest(beginning: &[u8], key: &str) -> Vec<u8> {
    let mut padded = [0; 20];
    padded[..key.len()].copy_from_slice(key.as_bytes());
    Sha1::new().chain_update(beginning).chain_update(padded).finalize().to_vec()
}

fn sign(packet: Vec<u8>, key: &str, sequence: u32) -> Vec<u8> {
    let flags = packet[1] | AUTHENTICATION;
    let head = with(packet, &[(1, flags), (3, 24 + LENGTH)]);
    let section = [TYPE, LENGTH, KEY_ID, 0];
    let beginning = [&head[..], &section, &sequence.to_be_bytes()].concat();
    let digest = digest(&beginning, key);
    [beginning, digest].concat()
}

fn is_signed(packet: &Packet, key: &str) -> bool {
    let signed = packet.has(AUTHENTICATION) && packet.0.len() == 52;
    signed && digest(&packet.0[..32], key) == packet.0[32..]
}

impl Signing {
    fn start() -> Result<Self> {
        let router = Router::start_with(|text| text)?;
        let key = "sesame";
        let mut signing = Self { router, key, sequence: 1000 };
        signing.write_key()?;
        let text = signing.router.configuration()?;
        // The far machine and the session over IPv6 have the same profile.
        let auth = format!(
            "[bfd.tor1]\nauth = {{ type = \"meticulous-keyed-sha1\", key-id = {KEY_ID}, \
             key-file = {:?} }}",
            signing.key_file()
        );
        signing.router.reload(&text.replace("[bfd.tor1]", &auth))?;
        signing.router.tap.wait_for(|packet| is_signed(packet, key))?;
        for (says, answer) in [(DOWN, INIT), (INIT, UP), (UP, UP)] {
            signing.say(Says::new(says, signing.router.session))?;
            signing.router.tap.wait_for(|packet| packet.state() == answer)?;
        }
        Ok(signing)
    }

    fn key_file(&self) -> PathBuf {
        self.router.stage.fabric.host(1).namespace.directory().join("bfd.key")
    }

    fn write_key(&self) -> Result<()> {
        fs::write(self.key_file(), self.key).context("cannot write the key")
    }

    /// Says that with the next number.
    fn say(&mut self, says: Says) -> Result<()> {
        self.sequence += 1;
        self.router.socket.send(&sign(says.encode(), self.key, self.sequence))?;
        Ok(())
    }

    /// Says that by a Poll, and waits for the answer, which must be signed.
    fn make_known(&mut self, says: Says) -> Result<()> {
        self.say(Says { bits: POLL, ..says })?;
        let answer = self.router.tap.wait_for(|packet| packet.has(FINAL))?;
        ensure!(is_signed(&answer, self.key), "{:x?}", answer.0);
        Ok(())
    }
}

/// Packets that would take the session down, and why they must not.
fn forged(down: &[u8], key: &str, last: u32) -> Vec<(&'static str, Vec<u8>)> {
    let right = sign(down.to_vec(), key, last + 1);
    let but = |changes: &[(usize, u8)]| with(right.clone(), changes);
    let resigned = |changes: &[(usize, u8)]| {
        let beginning = with(right[..32].to_vec(), changes);
        let digest = digest(&beginning, key);
        [beginning, digest].concat()
    };
    let cut = |length: u8| with(right[..usize::from(length)].to_vec(), &[(3, length)]);
    let types = [0, 1, 2, 3, 4, 6, 127, 255].map(|auth| ("another type", resigned(&[(24, auth)])));
    let lengths = [0, 1, 2, 3, 8, 24, 27, 29, 255];
    let lengths = lengths.map(|length| ("another Auth Len", resigned(&[(25, length)])));
    let window = 3 * 255;
    let rows = [
        ("no signature", down.to_vec()),
        ("a section of two octets", with(cut(26), &[(25, 2)])),
        ("a section that ends in the digest", with(cut(51), &[(25, 27)])),
        ("the section of a simple password", with(cut(33), &[(24, 1), (25, 9)])),
        ("another key's number", resigned(&[(26, KEY_ID + 1)])),
        ("a digest of something else", but(&[(51, right[51] ^ 1)])),
        ("another word under the same digest", but(&[(2, 3)])),
        ("no digest", [&right[..32], &[0; 20]].concat()),
        ("another key", sign(down.to_vec(), "mellon", last + 1)),
        ("an empty key", sign(down.to_vec(), "", last + 1)),
        ("the last number again", sign(down.to_vec(), key, last)),
        ("an older number", sign(down.to_vec(), key, last - 1)),
        ("a number from far behind", sign(down.to_vec(), key, last.wrapping_add(1 << 31))),
        ("a number beyond the window", sign(down.to_vec(), key, last + window + 1)),
    ];
    rows.into_iter().chain(types).chain(lengths).collect()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_is_not_signed_as_it_must_be_is_dropped() -> Result<()> {
    let mut signing = Signing::start()?;
    let session = signing.router.session;
    let counter = "vipcast_bfd_discarded_packets_total{reason=\"authentication\"}";
    let down = Says::new(DOWN, session).encode();
    for (name, packet) in forged(&down, signing.key, signing.sequence) {
        let run = || -> Result<()> {
            let router = &signing.router;
            let before = router.stage.metric(counter)?;
            router.socket.send(&packet)?;
            wait::until_true("it is counted", BOUND, || {
                Ok(router.stage.metric(counter)? == before + 1)
            })?;
            router.check_never_down()?;
            router.stage.check_unharmed()
        };
        run().with_context(|| format!("{name}: {packet:x?}"))?;
    }
    // The same number was never used up, and what is right is taken.
    signing.make_known(Says::new(UP, session))?;
    signing.say(Says::new(DOWN, session))?;
    signing.router.tap.wait_for(|packet| packet.state() == DOWN)?;
    signing.router.stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn reloads_and_other_keys_make_no_session_flap() -> Result<()> {
    let mut signing = Signing::start()?;
    let up = Says::new(UP, signing.router.session);
    let text = signing.router.configuration()?;
    // Nothing else, other timers, another BGP session, a password for it, and all of it back.
    let password = signing.router.stage.fabric.host(1).namespace.directory().join("key");
    fs::write(&password, "sesame")?;
    let hold_time = "hold-time = \"300s\"";
    let others = [
        text.clone(),
        text.replace("receive-interval = \"300ms\"", "receive-interval = \"200ms\""),
        text.replace(hold_time, "hold-time = \"200s\""),
        text.replace(hold_time, &format!("{hold_time}\npassword-file = {password:?}")),
        text.clone(),
    ];
    for (number, other) in others.iter().enumerate() {
        signing.router.reload(other)?;
        signing.make_known(up)?;
        signing.router.check_never_down().with_context(|| format!("change {number}"))?;
    }
    // The key changes here; it is used when the router has it, too.
    for key in ["mellon", "sesame", "speakfriendandenter"] {
        let before = std::mem::replace(&mut signing.key, key);
        signing.write_key()?;
        signing.router.reload(&text)?;
        signing.key = before;
        signing.make_known(up)?;
        signing.key = key;
        wait::until_true("the other key is used", BOUND, || {
            signing.say(up)?;
            let packet = signing.router.tap.next(BOUND)?;
            Ok(packet.is_some_and(|packet| is_signed(&packet, key)))
        })?;
        signing.make_known(up)?;
        signing.router.check_never_down().with_context(|| key)?;
    }
    signing.router.stage.check()
}
