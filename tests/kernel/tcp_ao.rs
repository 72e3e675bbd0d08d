//! Sessions that are signed by TCP-AO (RFC 5925).
use std::fs;

use anyhow::{Context, Result, ensure};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, Transport, vip};
use vipcast_lab::wait;

use super::{BOUND, bird, fabric, in_guest, start, wait_status};

/// A key, as both ends have it: its number here and in BIRD, and its octets.
#[derive(Clone, Copy)]
struct Key {
    ours: u8,
    theirs: u8,
    text: &'static str,
}

const ONE: Key = Key { ours: 1, theirs: 101, text: "sesame" };
const TWO: Key = Key { ours: 2, theirs: 102, text: "mellon" };

/// The first router's keys, in BIRD's language; it prefers the first.
fn birds(algorithm: &str, keys: &[Key]) -> String {
    let key = |(index, Key { ours, theirs, text }): (usize, &Key)| {
        let preferred = if index == 0 { " preferred;" } else { "" };
        format!(
            "key {{ send id {theirs}; recv id {ours}; secret \"{text}\"; algorithm {algorithm};{preferred} }};"
        )
    };
    let keys: String = keys.iter().enumerate().map(key).collect();
    format!("authentication ao; keys {{ {keys} }};")
}

/// One host and a router that has these keys; it connects, or the host does.
fn signed(transport: Transport, connects: bool, algorithm: &str, keys: &[Key]) -> Result<Fabric> {
    let mut tor = bird(transport, connects);
    tor.neighbour.extra = birds(algorithm, keys);
    fabric(&[tor])
}

/// A host whose peer has these keys.
fn configuration(fabric: &Fabric, keys: &str, algorithm: &str, ours: &[Key]) -> Result<String> {
    let mut text = peers(fabric, 1)
        .replace("[peer.tor1]", &format!("[peer.tor1]\nconnect-retry-time = \"1s\"\n{keys}"));
    for Key { ours, theirs, text: octets } in ours {
        let file = fabric.host(1).namespace.directory().join(format!("key{ours}"));
        fs::write(&file, format!("{octets}\n"))?;
        text += &format!(
            "\n[[peer.tor1.tcp-ao]]\nkey-id = {ours}\nreceive-id = {theirs}\n\
             algorithm = \"{algorithm}\"\nkey-file = {file:?}\n"
        );
    }
    Ok(text + POOLS + WEB)
}

/// The session is up, its number is this, and the route has arrived.
fn wait_session(fabric: &Fabric, daemon: &Daemon, number: u64) -> Result<()> {
    wait_status(daemon, &format!("session {number} is up"), |status| {
        let peer = &status["peers"][0];
        peer["established"] == true && peer["sessions"] == number
    })?;
    fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1).map(drop)
}

/// What BIRD says of its side, by the words in front: "Current key".
fn birds_word(fabric: &Fabric, word: &str) -> Result<u64> {
    let text = fabric.tor(1).router.command("show protocols all host1")?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix(word)?.strip_prefix(':'));
    value.with_context(|| format!("no {word}: {text}"))?.trim().parse().context("no number")
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn sessions_are_signed_by_every_algorithm_whoever_connects() -> Result<()> {
    in_guest(|| {
        for (theirs, ours) in [
            ("hmac sha1", "hmac-sha1"),
            ("cmac aes128", "aes-128-cmac"),
            ("hmac sha256", "hmac-sha256"),
        ] {
            for (transport, is_passive) in [(Transport::Ipv4, false), (Transport::Ipv6, true)] {
                let fabric = signed(transport, is_passive, theirs, &[ONE])?;
                let keys = if is_passive { "passive = true" } else { "" };
                let text = configuration(&fabric, keys, ours, &[ONE])?;
                let daemon = start(&fabric, &text)?;
                wait_session(&fabric, &daemon, 1).with_context(|| format!("{ours}, {keys}"))?;
                ensure!(birds_word(&fabric, "Current key")? == u64::from(ONE.theirs));
                ensure!(birds_word(&fabric, "Good packets")? > 0);
                ensure!(birds_word(&fabric, "Bad packets")? == 0);
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_unnumbered_session_is_signed_too() -> Result<()> {
    in_guest(|| {
        for is_passive in [false, true] {
            let fabric = signed(Transport::LinkLocal, is_passive, "hmac sha1", &[ONE])?;
            // BIRD sends no router advertisements: it is named, or comes from where it likes.
            let named = format!("address = \"{}\"", fabric.host(1).far_end(1).link_local());
            let keys = if is_passive { "passive = true" } else { &named };
            let daemon = start(&fabric, &configuration(&fabric, keys, "hmac-sha1", &[ONE])?)?;
            wait_session(&fabric, &daemon, 1).with_context(|| keys.to_owned())?;
            ensure!(birds_word(&fabric, "Good packets")? > 0);
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_wrong_key_or_none_is_no_session_and_named() -> Result<()> {
    in_guest(|| {
        let fabric = signed(Transport::Ipv4, false, "hmac sha1", &[ONE])?;
        let wrong = Key { text: "mellon", ..ONE };
        let unknown = Key { ours: 3, theirs: 103, ..ONE };
        for (ours, reason) in [
            (&[wrong][..], "the TCP-AO keys differ from the router's"),
            (&[unknown], "the TCP-AO keys differ from the router's"),
            (&[], "the router demands a TCP MD5 password or a TCP-AO key"),
        ] {
            let mut daemon = start(&fabric, &configuration(&fabric, "", "hmac-sha1", ours)?)?;
            wait_status(&daemon, reason, |status| {
                let failure = &status["peers"][0]["last-failure"]["reason"];
                failure.as_str().is_some_and(|text| text.contains(reason))
            })?;
            ensure!(daemon.status()?["peers"][0]["sessions"] == 0);
            daemon.stop()?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn keys_are_changed_without_losing_the_session() -> Result<()> {
    in_guest(|| {
        for is_passive in [false, true] {
            let fabric = signed(Transport::Ipv4, is_passive, "hmac sha1", &[ONE])?;
            let keys = if is_passive { "passive = true" } else { "" };
            let configure = |ours: &[Key]| configuration(&fabric, keys, "hmac-sha1", ours);
            let daemon = start(&fabric, &configure(&[ONE])?)?;
            wait_session(&fabric, &daemon, 1)?;
            let router = &fabric.tor(1).router;
            let directory = router.namespace().directory().join(router.kind().name());
            let bird_conf = directory.join("bird.conf");
            let plain = fs::read_to_string(&bird_conf)?;
            let before = birds("hmac sha1", &[ONE]);
            ensure!(plain.contains(&before));
            for (theirs, ours, used) in [
                (&[ONE, TWO][..], &[ONE, TWO][..], ONE),
                (&[TWO, ONE], &[TWO, ONE], TWO),
                (&[TWO], &[TWO], TWO),
            ] {
                fs::write(&bird_conf, plain.replace(&before, &birds("hmac sha1", theirs)))?;
                let answer = router.command("configure")?;
                ensure!(answer.contains("Reconfigur"), "{answer}");
                daemon.write_configuration(&configure(ours)?)?;
                daemon.reload()?;
                wait::until_true("the router uses the first key", BOUND, || {
                    Ok(birds_word(&fabric, "Current key")? == u64::from(used.theirs))
                })?;
            }
            wait_session(&fabric, &daemon, 1)?;
            let log = fs::read_to_string(daemon.process()?.log())?;
            ensure!(
                log.contains("other TCP-AO keys: it is asked to sign with its key 102"),
                "{log}"
            );

            // The same number for another key: nobody could tell them apart.
            let other = Key { text: "speakfriend", ..TWO };
            fs::write(&bird_conf, plain.replace(&before, &birds("hmac sha1", &[other])))?;
            router.command("configure")?;
            daemon.write_configuration(&configure(&[other])?)?;
            daemon.reload()?;
            wait_session(&fabric, &daemon, 2)?;
        }
        Ok(())
    })
}
