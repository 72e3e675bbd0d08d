//! UDP sockets for BFD: ports, TTL in both directions, source addresses.
#![expect(clippy::disallowed_methods, reason = "driver: stamps datagrams with the time they came")]

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::sessions::{Config, Datagram, Hops};
use crate::route::ScopedAddress;

/// Class selector 6, network control (RFC 2474), shifted into the TOS octet.
const CONTROL: u32 = 0xc0;
/// Source ports (RFC 5881 §4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// No Control packet is longer.
const BUFFER: usize = 256;

/// Receives what comes to one port in one family.
#[derive(Debug)]
pub(super) struct Receiver {
    socket: Socket,
    hops: Hops,
    buffer: [u8; BUFFER],
    control: Vec<u8>,
}

impl Receiver {
    /// Binds the port of `hops` for the family of `remote`.
    pub(super) fn bind(hops: Hops, remote: IpAddr) -> io::Result<Self> {
        let socket = new_socket(remote)?;
        let any: IpAddr = match remote {
            IpAddr::V4(_) => {
                nix::sys::socket::setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                nix::sys::socket::setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        socket.bind(&SocketAddr::new(any, hops.port()).into())?;
        let control = nix::cmsg_space!(libc::c_int);
        Ok(Self { socket, hops, buffer: [0; BUFFER], control })
    }

    /// The next datagram that waits, if one does. Errors are those of single datagrams (an ICMP
    /// answer to a packet of ours, for one) and leave the socket usable.
    pub(super) fn receive(&mut self) -> io::Result<Option<Datagram<'_>>> {
        let (length, ttl, source) = {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let control = Some(self.control.as_mut_slice());
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, control, flags) {
                Ok(message) => message,
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut ttl = None;
            for part in message.cmsgs()? {
                if let ControlMessageOwned::Ipv4Ttl(value)
                | ControlMessageOwned::Ipv6HopLimit(value) = part
                {
                    ttl = u8::try_from(value).ok();
                }
            }
            (message.bytes, ttl, message.address.and_then(address))
        };
        let source = source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let payload = self.buffer.get(..length).unwrap_or_default();
        Ok(Some(Datagram { hops: self.hops, source, ttl, payload, at: Instant::now() }))
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens the socket that one session sends with: its own source port (RFC 5881 §4), TTL 255, and
/// the source address that the kernel would use for BGP too.
pub(super) fn open_sender(config: &Config, random: &mut fastrand::Rng) -> io::Result<Socket> {
    let socket = new_socket(config.remote.ip)?;
    let unspecified: IpAddr = match config.remote.ip {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(255)?;
            socket.set_tos_v4(CONTROL)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(255)?;
            socket.set_tclass_v6(CONTROL)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    let source = config.source.unwrap_or(unspecified);
    let mut attempts = 64;
    loop {
        let port = random.u16(SOURCE_PORTS);
        match socket.bind(&SocketAddr::new(source, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                attempts -= 1;
            }
            result => break result?,
        }
    }
    socket.connect(&config.remote.with_port(config.hops.port()).into())?;
    Ok(socket)
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
