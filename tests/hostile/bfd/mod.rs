//! BFD Control packets that are wrong, or not the router's: each is counted by its reason and
//! dropped, and no session changes.

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::thread;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vipcast_lab::netns::Namespace;
use vipcast_lab::wait;

use super::BOUND;
use super::stage::{Dialer, HOSTILE, Stage, peer};

const SINGLE_HOP: u16 = 3784;
const MULTIHOP: u16 = 4784;

/// States (RFC 5880 §4.1).
const DOWN: u8 = 1;
const INIT: u8 = 2;
const UP: u8 = 3;

/// Bits beside the state.
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const MULTIPOINT: u8 = 0x01;

/// The hostile router's own discriminator.
const OURS: u32 = 0x4242;

/// A packet that is right, with intervals and a multiplier that keep a session up for hours.
fn control(state: u8, your_discriminator: u32) -> Vec<u8> {
    let words = [OURS, your_discriminator, 60_000_000, 300_000, 0];
    [&[0x20, state << 6, 255, 24], words.map(u32::to_be_bytes).as_flattened()].concat()
}

/// With some octets changed.
fn with(mut packet: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for (at, octet) in changes {
        packet[*at] = *octet;
    }
    packet
}

/// Who sends it.
#[derive(Clone, Copy)]
enum Sender {
    Hostile,
    /// BIRD's machine and address, another port
    Bird,
    /// A machine that is the far end of a multihop session
    Client,
}

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

/// Packets that are right in themselves, and would take a session down if they were believed: all
/// say Down.
fn forged(own: u32, birds: u32) -> Vec<Attack> {
    use Sender::{Bird, Client, Hostile};
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
        ("BIRD's, from 1 hop away", hop, Bird, 254, near, birds, ttl),
        ("BIRD's, from 1 hop away, without discriminator", hop, Bird, 254, near, 0, ttl),
        ("for BIRD's session", any, Hostile, 255, near, birds, source),
        ("a stranger's, for BIRD's session", any, Client, 255, near, birds, source),
        ("a stranger's, without discriminator", any, Client, 255, near, 0, unknown),
        ("BIRD's, on port 4784", hops, Bird, 64, far, birds, source),
        ("on port 4784", hops, Hostile, 255, far, own, source),
        ("on port 4784, for BIRD's session", hops, Client, 255, far, birds, source),
        ("on port 4784, from too far away", hops, Client, 200, far, 0, ttl),
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

impl Sender {
    fn machine(self, stage: &Stage) -> &Namespace {
        match self {
            Self::Hostile => stage.namespace(),
            Self::Bird => &stage.fabric.tor(2).namespace,
            Self::Client => stage.fabric.client.namespace(),
        }
    }

    /// Where the daemon is from there.
    fn target(self, stage: &Stage, port: u16) -> SocketAddr {
        let tor = if matches!(self, Self::Bird) { 2 } else { 1 };
        SocketAddr::new(stage.fabric.host(1).end(tor).ipv4.into(), port)
    }

    fn socket(self, stage: &Stage, ttl: u32, port: u16) -> Result<UdpSocket> {
        let socket = self.machine(stage).enter(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.set_ttl(ttl)?;
        socket.connect(self.target(stage, port))?;
        Ok(socket)
    }
}

/// Sees what the daemon's packets to a router hold.
struct Tap(Socket);

impl Tap {
    fn start(from: Sender, stage: &Stage) -> Result<Self> {
        const IPV4: u16 = 0x0800;
        // With a protocol of its own, such a socket sees only what comes in.
        let protocol = Protocol::from(i32::from(IPV4.to_be()));
        let machine = from.machine(stage);
        let socket = machine.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)))??;
        socket.set_read_timeout(Some(BOUND))?;
        Ok(Self(socket))
    }

    /// The next packet of which this is true.
    fn wait_for(&mut self, truth: impl Fn(&[u8; 24]) -> bool) -> Result<[u8; 24]> {
        loop {
            let mut frame = [0; 2048];
            let length = self.0.read(&mut frame).context("no BFD packet came")?;
            // Ethernet, IPv4 without options, UDP.
            let port = u16::from_be_bytes([frame[36], frame[37]]);
            if length >= 66 && frame[23] == 17 && port == SINGLE_HOP {
                let packet = frame[42..66].try_into()?;
                if truth(&packet) {
                    return Ok(packet);
                }
            }
        }
    }
}

fn word(packet: &[u8; 24], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// A daemon with a multihop peer too, so that it hears both ports.
fn start() -> Result<Stage> {
    Stage::start_with(Dialer::Hostile, |_, text| {
        let far = "\n[peer.far]\naddress = \"198.18.0.1\"\nremote-asn = 65000\nmultihop = 5\n\
                   passive = true\nbfd = \"tor1\"\n";
        Ok(text + far)
    })
}

fn is_up(stage: &Stage) -> Result<bool> {
    Ok(stage.status()?["bfd"]["up"] == true)
}

/// Brings the hostile router's own session up; the daemon's discriminator.
fn come_up(stage: &Stage) -> Result<u32> {
    let mut tap = Tap::start(Sender::Hostile, stage)?;
    let session = word(&tap.wait_for(|packet| packet[1] >> 6 == DOWN)?, 4);
    let socket = Sender::Hostile.socket(stage, 255, SINGLE_HOP)?;
    socket.send(&control(INIT, session))?;
    let up = tap.wait_for(|packet| packet[1] >> 6 == UP)?;
    ensure!(word(&up, 8) == OURS, "the daemon calls us {:x}", word(&up, 8));
    socket.send(&control(UP, session))?;
    stage.wait_status("BFD is up", |status| peer(status, HOSTILE)["bfd"]["up"] == true)?;
    Ok(session)
}

/// The daemon's discriminator in the session with BIRD.
fn birds_session(stage: &Stage) -> Result<u32> {
    let packet = Tap::start(Sender::Bird, stage)?.wait_for(|packet| packet[1] >> 6 == UP)?;
    Ok(word(&packet, 4))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn wrong_packets_are_counted_and_dropped() -> Result<()> {
    let stage = start()?;
    let (own, birds) = (come_up(&stage)?, birds_session(&stage)?);
    let attacks =
        [malformed(Sender::Hostile, own), malformed(Sender::Bird, birds), forged(own, birds)];
    for attack in attacks.into_iter().flatten() {
        let run = || -> Result<()> {
            let counter =
                format!("vipcast_bfd_discarded_packets_total{{reason=\"{}\"}}", attack.reason);
            let before = stage.metric(&counter)?;
            attack.from.socket(&stage, attack.ttl, attack.port)?.send(&attack.packet)?;
            wait::until_true("it is counted", BOUND, || Ok(stage.metric(&counter)? == before + 1))
                .with_context(|| stage.metrics().unwrap_or_default())?;
            ensure!(is_up(&stage)?, "the hostile router's session is down");
            stage.check_unharmed()
        };
        run().with_context(|| format!("{} ({}, {})", attack.name, attack.rfc, attack.reason))?;
    }
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn odd_packets_of_the_router_change_nothing() -> Result<()> {
    let stage = start()?;
    let own = come_up(&stage)?;
    let up = || control(UP, own);
    let socket = Sender::Hostile.socket(&stage, 255, SINGLE_HOP)?;
    for packet in [
        with(up(), &[(1, UP << 6 | FINAL)]),        // to no Poll
        with(up(), &[(1, UP << 6 | POLL | FINAL)]), // RFC 5880 §6.5 forbids both to its sender
        with(up(), &[(0, 0x3f)]),                   // a diagnostic that has no meaning
        control(INIT, own),                         // RFC 5880 §6.8.6: from Up nothing follows
        [up(), vec![0xff; 200]].concat(),           // octets behind its Length
    ] {
        socket.send(&packet)?;
    }
    // RFC 5880 §6.5: a Poll is answered, and with it all before it was read.
    let mut tap = Tap::start(Sender::Hostile, &stage)?;
    for _ in 0..1000 {
        socket.send(&with(up(), &[(1, UP << 6 | POLL)]))?;
    }
    let answer = tap.wait_for(|packet| packet[1] & FINAL != 0)?;
    ensure!(answer[1] & POLL == 0, "Poll and Final at once");
    ensure!(is_up(&stage)?, "the hostile router's session is down");
    stage.check()
}

/// As fast as they can, all three machines send what nobody wants.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_flood_takes_no_session_down() -> Result<()> {
    const EACH: u32 = 100_000;
    let stage = start()?;
    let own = come_up(&stage)?;
    let floods = [
        (Sender::Hostile.socket(&stage, 255, SINGLE_HOP)?, control(DOWN, !own)),
        (Sender::Hostile.socket(&stage, 254, SINGLE_HOP)?, control(DOWN, own)),
        (Sender::Client.socket(&stage, 255, SINGLE_HOP)?, vec![0xff; 24]),
        (Sender::Bird.socket(&stage, 64, MULTIHOP)?, control(DOWN, 0)),
    ];
    thread::scope(|scope| {
        for (socket, packet) in &floods {
            scope.spawn(move || {
                for _ in 0..EACH {
                    // The kernel refuses some; that is as good as a loss.
                    let _ = socket.send(packet);
                }
            });
        }
    });
    ensure!(is_up(&stage)?, "the hostile router's session is down");
    stage.check()
}
