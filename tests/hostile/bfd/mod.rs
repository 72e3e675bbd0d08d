//! A router whose BFD is wrong, odd or hostile, and a daemon with live sessions: with that router over
//! either family, with BIRD, and with a machine behind routers.
//!
//! The items are those of the list of bad inputs that a speaker must survive.
//!
//! | item | what | test |
//! |---|---|---|
//! | 45 | a TTL other than 255 | `packets`: rows "from 1 hop away", "over IPv6 …" and "with TTL 1" |
//! | 46 | single hop on port 4784, multihop on 3784 | `packets`: rows "on port …" |
//! | 47 | version, Length, Detect Mult 0, the M bit, My Discriminator 0 | `packets`: rows of `malformed` |
//! | 48 | Your Discriminator 0 in Init and Up; in Down, a router that begins anew | `packets`: rows "Your Discriminator 0 in …"; `session::a_router_whose_bfd_begins_anew_is_down_and_up_again` |
//! | 49 | a discriminator that is nobody's, or somebody else's | `packets`: rows "a discriminator nobody has", "for BIRD's session" and "a stranger's …" |
//! | 50 | the A bit where nobody asked for it; none, bad and old signatures where they are | `packets`: row "authentication that nobody asked for"; `authentication::what_is_not_signed_as_it_must_be_is_dropped` |
//! | 51 | Final without Poll, both at once; a flood of Polls | `packets::odd_packets_of_the_router_change_nothing`; `load::polls_without_end_are_answered_at_a_bounded_rate` |
//! | 52 | the slow rate until Up | `session::what_is_not_up_says_so_once_a_second_at_most` |
//! | 53 | the router's Required Min RX: longer, zero, shorter at once; ours longer after a Poll alone | `session::the_router_is_sent_what_it_wants`, `…::a_slower_rate_waits_for_the_routers_final` |
//! | 54 | the detection time follows what the router said last | `session::the_detection_time_is_that_of_what_the_router_said_last` |
//! | 55 | what comes in moves nothing that goes out | `session::what_comes_in_does_not_put_off_what_goes_out` |
//! | 56 | Your Discriminator is kept when the router says Down, and forgotten when it is silent | `session::a_silent_router_is_forgotten_and_one_that_says_down_is_not` |
//! | 57 | AdminDown of either end is no failure | `session::admin_down_of_either_end_leaves_bgp_alone` |
//! | 58 | jitter | `session::packets_come_a_random_part_of_a_quarter_early`; that none is late, and Detect Mult 1, without a host that may be busy: `src/bfd/tests/session.rs` |
//! | 59 | BFD that never comes up | `session::bfd_that_never_comes_up_leaves_bgp_alone` |
//! | 60 | reloads, other keys and other passwords | `authentication::reloads_and_other_keys_make_no_session_flap` |
//! | 61 | a core that is busy | `load::a_busy_core_does_not_hold_bfd_up` |
//! | 62 | a flood from many sources | `load::a_flood_takes_no_session_down` |

mod authentication;
mod load;
mod packets;
mod session;

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use vipcast_lab::netns::Namespace;
use vipcast_lab::wait;

use super::BOUND;
use super::stage::{Dialer, HOSTILE, Stage};

const SINGLE_HOP: u16 = 3784;
const MULTIHOP: u16 = 4784;

/// States (RFC 5880 §4.1).
const ADMIN_DOWN: u8 = 0;
const DOWN: u8 = 1;
const INIT: u8 = 2;
const UP: u8 = 3;

/// Bits beside the state.
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const MULTIPOINT: u8 = 0x01;

/// Diagnostics.
const EXPIRED: u8 = 1;
const SIGNALED: u8 = 3;
const BY_OPERATOR: u8 = 7;

/// What everybody who has a session calls his end.
const OURS: u32 = 0x4242;

/// The hostile router's second peer, over IPv6, and the machine that is many hops away.
const SIX: &str = "six";
const FAR: &str = "far";

/// What is said in a packet; intervals are microseconds.
#[derive(Clone, Copy)]
struct Says {
    state: u8,
    bits: u8,
    detect_mult: u8,
    mine: u32,
    yours: u32,
    min_tx: u32,
    min_rx: u32,
}

impl Says {
    /// What is right, with intervals and a multiplier that keep a session up for hours.
    fn new(state: u8, yours: u32) -> Self {
        let (min_tx, min_rx) = (60_000_000, 300_000);
        Self { state, bits: 0, detect_mult: 255, mine: OURS, yours, min_tx, min_rx }
    }

    fn encode(&self) -> Vec<u8> {
        let words = [self.mine, self.yours, self.min_tx, self.min_rx, 0];
        let first = [0x20, self.state << 6 | self.bits, self.detect_mult, 24];
        [&first, words.map(u32::to_be_bytes).as_flattened()].concat()
    }
}

/// The same without anything special.
fn control(state: u8, yours: u32) -> Vec<u8> {
    Says::new(state, yours).encode()
}

/// With some octets changed.
fn with(mut packet: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for (at, octet) in changes {
        packet[*at] = *octet;
    }
    packet
}

/// Who sends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Hostile,
    HostileIpv6,
    /// BIRD's machine and address, another port
    Bird,
    /// A machine that is the far end of a multihop session
    Client,
}

impl Sender {
    fn machine(self, stage: &Stage) -> &Namespace {
        match self {
            Self::Hostile | Self::HostileIpv6 => stage.namespace(),
            Self::Bird => &stage.fabric.tor(2).namespace,
            Self::Client => stage.fabric.client.namespace(),
        }
    }

    /// Where the daemon is from there.
    fn target(self, stage: &Stage, port: u16) -> SocketAddr {
        let host = stage.fabric.host(1);
        let ip: IpAddr = match self {
            Self::Hostile | Self::Client => host.end(1).ipv4.into(),
            Self::HostileIpv6 => host.end(1).ipv6.into(),
            Self::Bird => host.end(2).ipv4.into(),
        };
        SocketAddr::new(ip, port)
    }

    fn socket(self, stage: &Stage, ttl: u32, port: u16) -> Result<UdpSocket> {
        let to = self.target(stage, port);
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = self.machine(stage).enter(|| UdpSocket::bind(any))??;
        match to {
            SocketAddr::V4(_) => socket.set_ttl(ttl)?,
            SocketAddr::V6(_) => SockRef::from(&socket).set_unicast_hops_v6(ttl)?,
        }
        socket.connect(to)?;
        Ok(socket)
    }
}

/// What the daemon says: the payload of a datagram.
struct Packet(Vec<u8>);

impl Packet {
    fn state(&self) -> u8 {
        self.0[1] >> 6
    }

    fn diag(&self) -> u8 {
        self.0[0] & 0x1f
    }

    fn has(&self, bits: u8) -> bool {
        self.0[1] & bits == bits
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// Your Discriminator.
    fn yours(&self) -> u32 {
        self.word(8)
    }

    /// Desired Min TX Interval.
    fn min_tx(&self) -> Duration {
        Duration::from_micros(self.word(12).into())
    }
}

/// Sees what the daemon sends to a machine.
struct Tap(Socket);

impl Tap {
    fn start(from: Sender, stage: &Stage) -> Result<Self> {
        const IPV4: u16 = 0x0800;
        // With a protocol of its own, such a socket sees only what comes in.
        let protocol = Protocol::from(i32::from(IPV4.to_be()));
        let machine = from.machine(stage);
        let socket = machine.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)))??;
        Ok(Self(socket))
    }

    /// The next packet of a single-hop session, unless there is none for so long.
    fn next(&mut self, patience: Duration) -> Result<Option<Packet>> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.0.set_read_timeout(Some(left))?;
            let mut frame = [0; 2048];
            match self.0.read(&mut frame) {
                Ok(length) => {
                    // Ethernet, IPv4 without options, UDP.
                    let port = u16::from_be_bytes([frame[36], frame[37]]);
                    let end = 34 + usize::from(u16::from_be_bytes([frame[38], frame[39]]));
                    if frame[23] == 17 && port == SINGLE_HOP && (66..=length).contains(&end) {
                        return Ok(Some(Packet(frame[42..end].to_vec())));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("cannot listen"),
            }
        }
    }

    /// The next one of which this is true.
    fn wait_for(&mut self, truth: impl Fn(&Packet) -> bool) -> Result<Packet> {
        let end = Instant::now() + BOUND;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let packet = self.next(left)?.context("no such BFD packet came")?;
            if truth(&packet) {
                return Ok(packet);
            }
        }
    }

    /// All that come in this time.
    fn during(&mut self, time: Duration) -> Result<Vec<Packet>> {
        let end = Instant::now() + time;
        let mut packets = Vec::new();
        loop {
            match self.next(end.saturating_duration_since(Instant::now()))? {
                Some(packet) => packets.push(packet),
                None => return Ok(packets),
            }
        }
    }
}

/// The hostile router's end of its session over IPv4.
struct Router {
    stage: Stage,
    socket: UdpSocket,
    tap: Tap,
    /// What the daemon calls its end
    session: u32,
}

impl Router {
    /// With a session that is yet to come up, and a daemon whose configuration is changed like this.
    fn start_with(change: impl FnOnce(String) -> String) -> Result<Self> {
        let stage = Stage::start_with(Dialer::Hostile, |fabric, text| {
            let six = fabric.host(1).far_end(1).ipv6;
            let others = [(FAR, "198.18.0.1".into(), "multihop = 5\n"), (SIX, six.to_string(), "")];
            let others = others.map(|(name, address, line)| {
                format!(
                    "\n[peer.{name}]\naddress = \"{address}\"\nremote-asn = 65000\n\
                     passive = true\nbfd = \"tor1\"\n{line}"
                )
            });
            Ok(change(text) + &others.concat())
        })?;
        let tap = Tap::start(Sender::Hostile, &stage)?;
        let socket = Sender::Hostile.socket(&stage, 255, SINGLE_HOP)?;
        let session = session_with(&stage, HOSTILE)?;
        Ok(Self { stage, socket, tap, session })
    }

    fn start() -> Result<Self> {
        let mut router = Self::start_with(|text| text)?;
        router.come_up()?;
        Ok(router)
    }

    /// What was heard before that is forgotten.
    fn come_up(&mut self) -> Result<()> {
        come_up(&self.stage, HOSTILE, &self.socket)?;
        self.tap = Tap::start(Sender::Hostile, &self.stage)?;
        Ok(())
    }

    fn say(&self, says: Says) -> Result<()> {
        self.socket.send(&says.encode()).context("cannot send").map(drop)
    }

    /// Says that by a Poll, and waits for the answer: what comes behind it was sent by somebody who
    /// knows.
    fn make_known(&mut self, says: Says) -> Result<Packet> {
        self.say(Says { bits: POLL, ..says })?;
        self.tap.wait_for(|packet| packet.has(FINAL) && packet.yours() == says.mine)
    }

    /// What `vipcast bfd` has of the session.
    fn look(&self) -> Result<Value> {
        look(&self.stage, HOSTILE)
    }

    /// Waits until that has this.
    fn wait_look(&self, what: &str, truth: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(what, BOUND, || Ok(Some(self.look()?).filter(&truth)))
            .with_context(|| format!("{:#}", self.look().unwrap_or_default()))
    }

    fn bfd_is_up(&self) -> Result<bool> {
        Ok(self.stage.status()?["bfd"]["up"] == true)
    }

    /// The session came up once, and never went down.
    fn check_never_down(&self) -> Result<()> {
        let look = self.look()?;
        ensure!(look["ups"] == 1 && look["downs"] == 0, "the session has flapped: {look:#}");
        let own = look["local"]["discriminator"].as_u64();
        ensure!(own == Some(self.session.into()), "it is another session: {look:#}");
        Ok(())
    }

    /// Has the daemon take over another configuration.
    fn reload(&self, text: &str) -> Result<()> {
        self.stage.daemon.write_configuration(text)?;
        self.stage.daemon.reload()
    }

    fn configuration(&self) -> Result<String> {
        std::fs::read_to_string(self.stage.daemon.configuration_file()).context("no configuration")
    }
}

/// What `vipcast bfd` has of the session with a peer.
fn look(stage: &Stage, peer: &str) -> Result<Value> {
    let text = stage.daemon.vipcast(["bfd", "--json", peer])?;
    let all: Value = serde_json::from_str(&text)?;
    Ok(all[0]["session"].clone())
}

/// The daemon's discriminator in the session with a peer.
fn session_with(stage: &Stage, peer: &str) -> Result<u32> {
    wait::until("there is a session", BOUND, || {
        let own = look(stage, peer)?["local"]["discriminator"].as_u64();
        Ok(own.and_then(|own| u32::try_from(own).ok()))
    })
}

/// Brings a session up.
fn come_up(stage: &Stage, peer: &str, socket: &UdpSocket) -> Result<()> {
    let session = session_with(stage, peer)?;
    socket.send(&control(INIT, session))?;
    wait::until_true("it is up", BOUND, || Ok(look(stage, peer)?["local"]["state"] == "Up"))?;
    socket.send(&control(UP, session))?;
    wait::until_true(
        "both ends are up",
        BOUND,
        || Ok(look(stage, peer)?["remote"]["state"] == "Up"),
    )
}
