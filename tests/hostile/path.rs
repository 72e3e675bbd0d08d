//! The path under a session: addresses and interfaces that go, a router that loses its memory, and
//! segments that are not the router's.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::wait;

use super::BOUND;
use super::connection::{Connection, State};
use super::message::{Open, capabilities, clean_capabilities, refresh};
use super::stage::{Dialer, HOSTILE, Stage, peer};

/// With the shortest hold time, which is what ends a session that nobody closes.
fn start_impatient() -> Result<Stage> {
    Stage::start_with(Dialer::Hostile, |_, text| {
        Ok(text.replace("hold-time = \"300s\"", "hold-time = \"3s\""))
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_session_whose_address_goes_ends_and_is_back_with_it() -> Result<()> {
    let stage = Stage::start()?;
    let host = stage.fabric.host(1);
    let (mark, end) = (stage.mark()?, host.end(1));
    let session = stage.connect_to(State::Established)?;
    let address = format!("{}/31 dev {}", end.ipv4, end.interface);
    host.namespace.ip(&format!("addr del {address}\n"))?;
    stage.wait_named(mark, &["our address", "is gone from this host"])?;
    stage.check_unharmed()?;
    host.namespace.ip(&format!("addr add {address}\n"))?;
    drop(session);
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_session_whose_interface_goes_down_ends_and_is_back_with_it() -> Result<()> {
    let stage = Stage::start()?;
    let end = stage.fabric.host(1).end(1);
    for _ in 0..2 {
        let mark = stage.mark()?;
        let session = stage.connect_to(State::Established)?;
        end.set_up(false)?;
        stage.wait_named(mark, &["interface", "is down"])?;
        stage.check_unharmed()?;
        end.set_up(true)?;
        drop(session);
        stage.check()?;
    }
    Ok(())
}

/// Somebody made a VIP of the address that the daemon speaks with the router from. It is on the
/// host already, so it is not ours to take off when the service is down.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_vip_that_is_the_address_of_a_session_stays_on_the_host() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |fabric, text| {
        let own = fabric.host(1).end(1).ipv4;
        let service = format!(
            "\n[pool.own]\naddresses = [\"{own}/32\"]\n\n[service.own]\nvips = [\"{own}\"]\n\
             check.c = {{ http = \"http://203.0.113.5/healthz\", interval = \"200ms\", \
             timeout = \"200ms\", fall = 2 }}\n"
        );
        Ok(text.replace("pools = [\"anycast\"]", "pools = [\"anycast\", \"own\"]") + &service)
    })?;
    let mut session = stage.connect_to(State::Established)?;
    for is_healthy in [false, true] {
        stage.fabric.host(1).nginx.set_health("/healthz", is_healthy)?;
        stage.wait_status("the check has noticed", |status| {
            let routes = peer(status, HOSTILE)["prefixes-announced"].as_u64();
            routes.is_some_and(|count| (count > 0) == is_healthy)
        })?;
        let text = stage.fabric.host(1).namespace.run("ip", ["-4", "address", "show"])?;
        ensure!(text.contains(&format!("{}/31", stage.address())), "{text}");
    }
    session.prove_established()?;
    session.finish()?;
    stage.fabric.tor(2).routes.wait_for_count(vipcast_lab::fabric::vip(5)[0], BOUND, 1)?;
    stage.check()
}

/// The router's kernel knows nothing of its session any more, and the daemon has not been told.
fn lose_memory(stage: &Stage, session: Connection) -> Result<()> {
    let host = stage.fabric.host(1);
    let cut = Fault::inject([host.end(1), host.far_end(1)], &Loss::Bgp)?;
    session.reset()?;
    cut.heal()
}

/// Connects from a port of its own choice.
fn connect_from(stage: &Stage, port: u16) -> Result<Connection> {
    let from = SocketAddr::new(stage.fabric.host(1).far_end(1).ipv4.into(), port);
    let to = SocketAddr::new(stage.address().into(), 179);
    let connect = || -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), BOUND)?;
        Ok(socket.into())
    };
    Connection::new(stage.namespace().enter(connect)??)
}

/// RFC 9293 §3.10.7.4, RFC 5961 §4: the SYN is answered with what TCP believes, which the router
/// resets.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_lost_its_memory_may_come_from_the_same_port() -> Result<()> {
    let stage = Stage::start()?;
    for _ in 0..3 {
        let mark = stage.mark()?;
        let mut session = connect_from(&stage, 50_000)?;
        session.proceed_to(State::Established)?;
        lose_memory(&stage, session)?;
        let mut next = connect_from(&stage, 50_000)?;
        next.proceed_to(State::Established).context("the session after it")?;
        stage.wait_named(mark, &["connection lost: connection reset by peer"])?;
        next.finish()?;
    }
    stage.check()
}

/// It is refused for as long as its first session seems to live, which is until the next KEEPALIVE.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_lost_its_memory_may_come_from_another_port() -> Result<()> {
    let stage = start_impatient()?;
    let (mark, session) = (stage.mark()?, stage.connect_to(State::Established)?);
    lose_memory(&stage, session)?;
    let next = wait::until("a session comes up", BOUND, || {
        let mut next = stage.connect()?;
        Ok(next.proceed_to(State::Established).is_ok().then_some(next))
    })?;
    stage.wait_named(mark, &["connection lost: connection reset by peer"])?;
    next.finish()?;
    stage.check()
}

/// RFC 4724 §4.2: one that tells of its restarts is believed at once, and its routes would be kept.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_tells_of_its_restarts_is_let_in_when_it_lost_its_memory() -> Result<()> {
    let stage = Stage::start()?;
    let restart = [64, 10, 0, 120, 0, 1, 1, 0x80, 0, 2, 1, 0x80];
    let open = Open::with(&capabilities(&[clean_capabilities(), restart.to_vec()].concat()));
    let establish = || -> Result<Connection> {
        let mut connection = stage.connect_to(State::OpenSent)?;
        connection.open(&open)?;
        connection.establish()?;
        Ok(connection)
    };
    let mut session = establish()?;
    for _ in 0..10 {
        let mark = stage.mark()?;
        let next = establish().context("the session after it")?;
        stage.wait_named(mark, &["connection lost", "opened another one, as after a restart"])?;
        ensure!(session.wait_for_end()?.is_none(), "something is said to who is not there");
        session = next;
    }
    let mark = stage.mark()?;
    lose_memory(&stage, session)?;
    let next = establish().context("the session after a power cut")?;
    stage.wait_logged(mark, &["opened another one, as after a restart"])?;
    next.finish()?;
    stage.check()
}

const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Segments as whoever knows everything about a connection could forge them.
struct Forger<'a> {
    stage: &'a Stage,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
}

impl<'a> Forger<'a> {
    fn new(stage: &'a Stage, session: &Connection) -> Result<Self> {
        let from = (stage.fabric.host(1).far_end(1).ipv4, session.stream.local_addr()?.port());
        Ok(Self { stage, from, to: (stage.address(), 179) })
    }

    /// Reads all segments that come from now on, and sends any.
    fn socket(&self) -> Result<Socket> {
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP));
        let socket = self.stage.namespace().enter(open)??;
        socket.set_read_timeout(Some(BOUND))?;
        Ok(socket)
    }

    /// What the daemon's kernel expects next, by what it acknowledges when it answers a request.
    fn sequence(&self, session: &mut Connection) -> Result<u32> {
        let socket = self.socket()?;
        session.send(&refresh())?;
        let mut buffer = [0; 65536];
        loop {
            let length = (&socket).read(&mut buffer)?;
            let packet = &buffer[..length];
            let segment = &packet[usize::from(packet[0] & 0x0f) * 4..];
            let (ports, offset) = (&segment[..4], usize::from(segment[12] >> 4) * 4);
            let expected = [self.to.1.to_be_bytes(), self.from.1.to_be_bytes()].concat();
            if ports == expected && segment.len() > offset {
                session.wait_for_route()?;
                return Ok(u32::from_be_bytes(segment[8..12].try_into()?));
            }
        }
    }

    fn send(&self, flags: u8, sequence: u32, ttl: u32) -> Result<()> {
        let ports = [self.from.1.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        let mut segment = [ports, sequence.to_be_bytes().to_vec(), vec![0; 4]].concat();
        segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let pseudo = [&self.from.0.octets()[..], &self.to.0.octets(), &[0, 6, 0, 20]].concat();
        let words = [pseudo, segment.clone()].concat();
        let words = words.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        segment[16..18].copy_from_slice(&(!u16::try_from(folded)?).to_be_bytes());
        let (socket, to) = (self.socket()?, SocketAddr::new(self.to.0.into(), 0));
        socket.set_ttl_v4(ttl)?;
        socket.send_to(&segment, &to.into())?;
        Ok(())
    }
}

/// RFC 5082 §3: what has come over a router has a TTL below 255, and is nobody's, however well it
/// fits.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn forged_segments_from_afar_do_not_end_a_session_with_ttl_security() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |_, text| {
        let hold_time = "hold-time = \"300s\"";
        Ok(text.replace(hold_time, &format!("{hold_time}\nttl-security = true")))
    })?;
    stage.namespace().set_sysctl("net/ipv4/ip_default_ttl", "255")?;
    let mark = stage.mark()?;
    let mut session = stage.connect_to(State::Established)?;
    let forger = Forger::new(&stage, &session)?;
    let sequence = forger.sequence(&mut session)?;
    for flags in [SYN, RST, SYN | RST] {
        for ttl in [1, 64, 254] {
            forger.send(flags, sequence, ttl)?;
        }
    }
    session.prove_established().context("after forged segments")?;
    // From the link a SYN is no reason either (RFC 5961 §4), nor is a reset that does not fit
    // (§3.2),
    let sequence = forger.sequence(&mut session)?;
    forger.send(SYN, sequence, 255)?;
    forger.send(RST, sequence.wrapping_add(1000), 255)?;
    session.prove_established().context("after segments that do not fit")?;
    // but one that does is: so much for who is on the link, and for the segments above.
    let sequence = forger.sequence(&mut session)?;
    forger.send(RST, sequence, 255)?;
    stage.wait_named(mark, &["connection lost: connection reset by peer"])?;
    drop(session);
    stage.check()
}
