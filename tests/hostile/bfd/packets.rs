//! Packets that are wrong, or not the router's: each is counted by its reason and dropped, and no
//! session changes.

use anyhow::{Context, Result, ensure};
use vipcast_lab::wait;

use super::super::BOUND;
use super::super::stage::Stage;
use super::{
    AUTHENTICATION, DOWN, FAR, FINAL, INIT, MULTIHOP, MULTIPOINT, POLL, Router, SINGLE_HOP, SIX,
    Says, Sender, UP, come_up, control, look, session_with, with,
};

struct Attack {
    name: &'static str,
    rfc: &'static str,
    from: Sender,
    ttl: u32,
    port: u16,
    packet: Vec<u8>,
    /// Under which it is counted
    reason: &'static str,
}

/// What a packet alone gives away, whoever sends it.
fn malformed(from: Sender, session: u32) -> Vec<Attack> {
    let up = || control(UP, session);
    let rows = [
        ("23 octets", up()[..23].to_vec(), "length"),
        ("1 octet", vec![0x20], "length"),
        ("nothing", Vec::new(), "length"),
        ("a Length of 23", with(up(), &[(3, 23)]), "length"),
        ("a Length beyond the payload", with(up(), &[(3, 25)]), "length"),
        (
            "authentication and no room for it",
            with(up(), &[(1, UP << 6 | AUTHENTICATION)]),
            "length",
        ),
        ("version 0", with(up(), &[(0, 0)]), "version"),
        ("version 2", with(up(), &[(0, 0x40)]), "version"),
        ("Detect Mult 0", with(up(), &[(2, 0)]), "detect-mult-zero"),
        ("the Multipoint bit", with(up(), &[(1, UP << 6 | MULTIPOINT)]), "multipoint"),
        ("My Discriminator 0", with(up(), &[(6, 0), (7, 0)]), "my-discriminator-zero"),
        ("Your Discriminator 0 in Up", control(UP, 0), "your-discriminator-zero"),
        ("Your Discriminator 0 in Init", control(INIT, 0), "your-discriminator-zero"),
        ("a discriminator nobody has", control(DOWN, !session), "unknown-session"),
    ];
    let attack = |(name, packet, reason)| Attack {
        name,
        rfc: "RFC 5880 §6.8.6",
        from,
        ttl: 255,
        port: SINGLE_HOP,
        packet,
        reason,
    };
    rows.into_iter().map(attack).collect()
}

/// The daemon's discriminators in the sessions with everybody.
struct Numbers {
    own: u32,
    six: u32,
    birds: u32,
    far: u32,
}

/// Packets that are right in themselves, and would take a session down if they were believed: all
/// say Down.
fn forged(numbers: &Numbers) -> Vec<Attack> {
    use Sender::{Bird, Client, Hostile, HostileIpv6};
    let Numbers { own, six, birds, far: fars } = *numbers;
    let (near, far) = (SINGLE_HOP, MULTIHOP);
    let (hop, hops, any) = ("RFC 5881 §5", "RFC 5883 §5", "RFC 5880 §6.8.6");
    let (ttl, source, unknown) = ("ttl", "wrong-source", "unknown-session");
    let authenticated =
        [with(control(DOWN, own), &[(1, DOWN << 6 | AUTHENTICATION), (3, 28)]), vec![1, 4, 1, 0]];
    let authenticated = Attack {
        name: "authentication that nobody asked for",
        rfc: any,
        from: Hostile,
        ttl: 255,
        port: SINGLE_HOP,
        packet: authenticated.concat(),
        reason: "authentication",
    };
    let rows = [
        ("from 1 hop away", hop, Hostile, 254, near, own, ttl),
        ("with TTL 1", hop, Hostile, 1, near, own, ttl),
        ("over IPv6 from 1 hop away", hop, HostileIpv6, 254, near, six, ttl),
        ("over IPv6 from 1 hop away, without discriminator", hop, HostileIpv6, 254, near, 0, ttl),
        ("BIRD's, from 1 hop away", hop, Bird, 254, near, birds, ttl),
        ("BIRD's, from 1 hop away, without discriminator", hop, Bird, 254, near, 0, ttl),
        ("for BIRD's session", any, Hostile, 255, near, birds, source),
        ("for the session over IPv6", any, Hostile, 255, near, six, source),
        ("a stranger's, for BIRD's session", any, Client, 255, near, birds, source),
        ("a stranger's, without discriminator", any, Client, 255, near, 0, unknown),
        ("BIRD's, on port 4784", hops, Bird, 64, far, birds, source),
        ("on port 4784", hops, Hostile, 255, far, own, source),
        ("on port 4784, for BIRD's session", hops, Client, 255, far, birds, source),
        ("on port 4784, from too far away", hops, Client, 200, far, fars, ttl),
        ("on port 4784, from too far away, without discriminator", hops, Client, 200, far, 0, ttl),
        ("on port 3784, for a multihop session", hop, Client, 255, near, fars, source),
    ];
    let attack = |(name, rfc, from, ttl, port, session, reason)| Attack {
        name,
        rfc,
        from,
        ttl,
        port,
        packet: control(DOWN, session),
        reason,
    };
    rows.into_iter().map(attack).chain([authenticated]).collect()
}

impl Attack {
    fn run(&self, stage: &Stage) -> Result<()> {
        let counter = format!("vipcast_bfd_discarded_packets_total{{reason=\"{}\"}}", self.reason);
        let before = stage.metric(&counter)?;
        self.from.socket(stage, self.ttl, self.port)?.send(&self.packet)?;
        wait::until_true("it is counted", BOUND, || Ok(stage.metric(&counter)? == before + 1))
            .with_context(|| stage.metrics().unwrap_or_default())
    }
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn wrong_packets_are_counted_and_dropped() -> Result<()> {
    let router = Router::start()?;
    let stage = &router.stage;
    come_up(stage, SIX, &Sender::HostileIpv6.socket(stage, 255, SINGLE_HOP)?)?;
    come_up(stage, FAR, &Sender::Client.socket(stage, 255, MULTIHOP)?)?;
    let session = |peer| session_with(stage, peer);
    let (own, six, birds, far) = (router.session, session(SIX)?, session("tor2")?, session(FAR)?);
    let forged = forged(&Numbers { own, six, birds, far });
    let attacks = [malformed(Sender::Hostile, own), malformed(Sender::Bird, birds), forged];
    for attack in attacks.into_iter().flatten() {
        let run = || -> Result<()> {
            attack.run(stage)?;
            router.check_never_down()?;
            for peer in [SIX, FAR] {
                let look = look(stage, peer)?;
                ensure!(look["local"]["state"] == "Up" && look["downs"] == 0, "{peer}: {look:#}");
            }
            stage.check_unharmed()
        };
        run().with_context(|| format!("{} ({}, {})", attack.name, attack.rfc, attack.reason))?;
    }
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn odd_packets_of_the_router_change_nothing() -> Result<()> {
    let mut router = Router::start()?;
    let up = Says::new(UP, router.session);
    for packet in [
        Says { bits: FINAL, ..up }.encode(),        // to no Poll
        Says { bits: POLL | FINAL, ..up }.encode(), // RFC 5880 §6.5 forbids both to its sender
        with(up.encode(), &[(0, 0x3f)]),            // a diagnostic that has no meaning
        Says { state: INIT, ..up }.encode(),        // RFC 5880 §6.8.6: from Up nothing follows
        [up.encode(), vec![0xff; 200]].concat(),    // octets behind its Length
    ] {
        router.socket.send(&packet)?;
    }
    // RFC 5880 §6.5: a Poll is answered, and with it all before it was read. By another name, so
    // that this is its answer.
    let answer = router.make_known(Says { mine: 0x4343, ..up })?;
    ensure!(!answer.has(POLL), "Poll and Final at once");
    router.check_never_down()?;
    router.stage.check()
}
