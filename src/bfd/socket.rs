//! UDP sockets for BFD: ports, TTL in both directions, source addresses.
#![expect(
    clippy::disallowed_methods,
    reason = "driver: sockets, and the clocks to read their stamps by"
)]

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::arrival::arrival;
use super::sessions::{Config, Datagram, Hops};
use crate::route::ScopedAddress;

/// Class selector 6, network control (RFC 2474), shifted into the TOS octet.
const CONTROL: u32 = 0xc0;
/// Source ports (RFC 5881 §4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// No Control packet is longer.
const BUFFER: usize = 256;

/// What waits while nobody reads, in octets of the kernel's account: seconds of all that hundreds of
/// peers send, so that neither a thread that is held up nor somebody's flood costs packets.
const WAITING: usize = 4 << 20;

/// Receives what comes to one port in one family.
#[derive(Debug)]
pub(super) struct Receiver {
    socket: Socket,
    hops: Hops,
    buffer: [u8; BUFFER],
    control: Vec<u8>,
    /// Nothing that is read from now on came before that
    empty_at: Instant,
    /// When the last datagram came, if that is known
    read_until: Option<Instant>,
}

impl Receiver {
    /// Binds the port of `hops` for the family of `remote`.
    pub(super) fn bind(hops: Hops, remote: IpAddr) -> io::Result<Self> {
        let socket = new_socket(remote)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // Beyond the limit of the host with CAP_NET_ADMIN alone.
        if setsockopt(&socket, sockopt::RcvBufForce, &WAITING).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &WAITING)?;
        }
        let any: IpAddr = match remote {
            IpAddr::V4(_) => {
                setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        let empty_at = Instant::now();
        socket.bind(&SocketAddr::new(any, hops.port()).into())?;
        let control = nix::cmsg_space!(libc::c_int, libc::timespec);
        Ok(Self { socket, hops, buffer: [0; BUFFER], control, empty_at, read_until: None })
    }

    /// The next datagram that waits, if one does. Errors are those of single datagrams and leave
    /// the socket usable.
    pub(super) fn receive(&mut self) -> io::Result<Option<Datagram<'_>>> {
        let looked_at = Instant::now();
        let (length, ttl, stamp, source) = {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let control = Some(self.control.as_mut_slice());
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, control, flags) {
                Ok(message) => message,
                Err(nix::errno::Errno::EAGAIN) => {
                    self.empty_at = looked_at;
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            let (mut ttl, mut stamp) = (None, None);
            for part in message.cmsgs()? {
                if let ControlMessageOwned::Ipv4Ttl(value)
                | ControlMessageOwned::Ipv6HopLimit(value) = part
                {
                    ttl = u8::try_from(value).ok();
                } else if let ControlMessageOwned::ScmTimestampns(time) = part {
                    stamp = Some(time);
                }
            }
            (message.bytes, ttl, stamp, message.address.and_then(address))
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        let age = stamp.and_then(|stamp| wall.checked_sub(Duration::from(stamp)));
        self.read_until = arrival(now, self.empty_at, age);
        let at = self.read_until.unwrap_or(now);
        let source = source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let payload = self.buffer.get(..length).unwrap_or_default();
        Ok(Some(Datagram { hops: self.hops, source, ttl, payload, at }))
    }

    /// Whether everything has been read that came until a moment, for what was read last came
    /// after it.
    pub(super) fn is_beyond(&self, moment: Instant) -> bool {
        self.read_until.is_some_and(|at| at > moment)
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

fn address(address: SockaddrStorage) -> Option<ScopedAddress> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    let v6 = || address.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into()));
    v4.or_else(v6).map(ScopedAddress::from)
}
