//! UDP sockets for BFD: ports, TTL in both directions, source addresses.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::sys::socket::{SockaddrStorage, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::echo::FORWARDED;
use super::reader::{Read, Reader};
use super::sessions::Config;

/// Class selector 6, network control (RFC 2474), shifted into the TOS octet.
const CONTROL: u32 = 0xc0;
/// Source ports (RFC 5881 §4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// A datagram that came to a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    /// Who sent it
    pub(super) source: SocketAddr,
    /// TTL or Hop Limit as it arrived
    pub(super) ttl: Option<u8>,
    /// What it holds
    pub(super) payload: &'a [u8],
    /// When it came
    pub(super) at: Instant,
}

/// Receives what comes to one port in one family.
#[derive(Debug)]
pub(super) struct Receiver {
    socket: Socket,
    reader: Reader,
    /// Who sent the last one
    source: SocketAddr,
}

impl Receiver {
    /// Binds a port, for the family of `remote`.
    pub(super) fn bind(port: u16, remote: IpAddr) -> io::Result<Self> {
        let socket = new_socket(remote)?;
        let any: IpAddr = match remote {
            IpAddr::V4(_) => {
                setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                // All that is sent from here is sent back.
                socket.set_unicast_hops_v6(FORWARDED.into())?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        let any = SocketAddr::new(any, port);
        let reader = Reader::new(&socket)?;
        socket.bind(&any.into())?;
        Ok(Self { socket, reader, source: any })
    }

    /// The next datagram that waits, if one does. Errors are those of single datagrams and leave
    /// the socket usable.
    pub(super) fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        let Some(Read { source, ttl, at }) = self.reader.read(&self.socket)? else {
            return Ok(None);
        };
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.source = source.and_then(address).unwrap_or(nobody);
        let payload = self.reader.octets();
        Ok(Some(Received { source: self.source, ttl, payload, at }))
    }

    /// Sends the last datagram back to where it came from, as if it had been forwarded.
    pub(super) fn send_back(&self) -> io::Result<()> {
        self.socket.send_to(self.reader.octets(), &self.source.into()).map(drop)
    }

    /// Whether everything has been read that came until a moment, for what was read last came
    /// after it.
    pub(super) fn is_beyond(&self, moment: Instant) -> bool {
        self.reader.is_beyond(moment)
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What one session sends with: a source port of its own for as long as it lives (RFC 5881 §4), TTL
/// 255 (§5), and the source address that the kernel would use for BGP too.
///
/// The socket is not connected, so that the ICMP answer to one packet does not cost the next one.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
    to: SockAddr,
    /// Whose choice the source address was
    source: Option<IpAddr>,
    /// What the socket is bound to
    from: SocketAddr,
}

impl Sender {
    /// Binds a port that is free.
    pub(super) fn open(config: &Config, random: &mut fastrand::Rng) -> io::Result<Self> {
        let to = config.remote.with_port(config.hops.port());
        let from = source_towards(to, config.source)?;
        let mut attempts = 64;
        let (socket, from) = loop {
            let from = with_port(from, random.u16(SOURCE_PORTS));
            match bind_sender(from) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                    attempts -= 1;
                }
                result => break (result?, from),
            }
        };
        Ok(Self { socket, to: to.into(), source: config.source, from })
    }

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// What the kernel says. The next packet goes from the same port, and from another address
    /// only if the kernel would choose another one by then: the old one is gone.
    pub(super) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let result = self.socket.send_to(packet, &self.to).map(drop);
        if result.is_err() {
            self.follow();
        }
        result
    }

    /// Binds anew if the kernel has another source address for us. What does not work now is tried
    /// again with the next packet.
    fn follow(&mut self) {
        let to = self.to.as_socket();
        let source = to.and_then(|to| source_towards(to, self.source).ok());
        let from = source.map(|source| with_port(source, self.from.port()));
        if let Some(from) = from.filter(|from| *from != self.from)
            && let Ok(socket) = bind_sender(from)
        {
            (self.socket, self.from) = (socket, from);
        }
    }
}

/// The address that a peer is spoken to from: the operator's choice or the kernel's.
fn source_towards(to: SocketAddr, source: Option<IpAddr>) -> io::Result<SocketAddr> {
    match (source, to) {
        (Some(IpAddr::V6(ip)), SocketAddr::V6(to)) => {
            Ok(SocketAddrV6::new(ip, 0, 0, to.scope_id()).into())
        }
        (Some(ip), _) => Ok(SocketAddr::new(ip, 0)),
        (None, _) => {
            // A datagram socket that is connected sends nothing, but has a source address.
            let socket = new_socket(to.ip())?;
            socket.connect(&to.into())?;
            socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
        }
    }
}

fn bind_sender(from: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(from.ip())?;
    match from {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(255)?;
            socket.set_tos_v4(CONTROL)?;
        }
        SocketAddr::V6(_) => {
            socket.set_unicast_hops_v6(255)?;
            socket.set_tclass_v6(CONTROL)?;
        }
    }
    // Nobody reads what comes here; the kernel's least is enough for it to keep.
    socket.set_recv_buffer_size(0)?;
    socket.bind(&from.into())?;
    Ok(socket)
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn new_socket(remote: IpAddr) -> io::Result<Socket> {
    let domain = if remote.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
    socket.set_priority(6)?; // for queueing disciplines that go by it
    Ok(socket)
}

fn address(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    let v6 = || address.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into()));
    v4.or_else(v6)
}
