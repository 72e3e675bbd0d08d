//! TCP sockets for BGP: source address, device, TTL both ways, signatures, and giving up in time.
#![expect(clippy::disallowed_types, reason = "driver: makes sockets")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_blocking;

use super::authentication::Authentication;
use super::down::ConnectError;
use super::signature::{Keys, On, Signature};
use super::transport::{Listening, Remote, Transport};
use crate::route::ScopedAddress;
use crate::sys;

/// Class selector 6, network control (RFC 2474), shifted into the TOS octet.
const CONTROL: u32 = 0xc0;

/// Addresses that mean something on one link alone (RFC 4291 §2.5.6).
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

/// Opens a connection to a peer, which is at this address.
///
/// # Errors
///
/// In words; also when a key cannot be read or used, since a session without it is not what was
/// asked for.
pub(super) async fn connect(
    transport: &Transport,
    to: ScopedAddress,
    user_timeout: Option<Duration>,
) -> Result<(TcpStream, Option<Signature>), ConnectError> {
    let (socket, signature) = prepare(transport, to.ip, user_timeout).await?;
    let address = to.with_port(transport.port);
    let connected = TcpSocket::from_std_stream(socket.into()).connect(address).await;
    connected.map(|stream| (stream, signature)).map_err(|error| transport.explain(to.ip, &error))
}

async fn prepare(
    transport: &Transport,
    to: IpAddr,
    user_timeout: Option<Duration>,
) -> Result<(Socket, Option<Signature>), ConnectError> {
    let explain = |error: io::Error| transport.explain(to, &error);
    let socket = new_socket(to).map_err(explain)?;
    bind_device(&socket, "vrf", transport.vrf.as_deref())?;
    let signature = match &transport.authentication {
        Some(authentication) => {
            let keys = read_keys(authentication).await?;
            Some(Signature::set(&socket, to.into(), keys, On::Connecting)?)
        }
        None => None,
    };
    configure(&socket, transport, user_timeout).map_err(explain)?;
    if let Some(source) = transport.source_address {
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(explain)?;
    }
    Ok((socket, signature))
}

/// Sets up a connection that a peer opened to us.
pub(super) fn adopt(
    stream: &TcpStream,
    transport: &Transport,
    signature: Option<&Signature>,
    user_timeout: Option<Duration>,
) -> io::Result<()> {
    // It may have come before a reload that wants another signature.
    if !Signature::fits(signature, transport.authentication.as_ref()) {
        return Err(io::Error::other("it is not signed as it must be by now"));
    }
    if let Some(signature) = signature {
        signature.prefer(stream)?;
    }
    configure(&socket2::SockRef::from(stream), transport, user_timeout)
}

/// Lets TCP give up when data has not been acknowledged for this long.
pub(super) fn set_user_timeout(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout))
}

/// Prepares for the end. What has not even been sent waits for a window that the peer keeps closed:
/// left to the kernel, it would go on waiting there, and the peer believe in its routes meanwhile.
/// A reset tells it at once that we are gone. What was sent and lost is sent again by the kernel.
pub(super) fn reset_if_unsent(stream: &TcpStream) {
    if sys::unsent(&stream).is_ok_and(|octets| octets != 0) {
        // Without it the user timeout ends the connection.
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

/// A socket that peers connect to.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    /// Who may connect, and what signs that
    guests: Vec<(Remote, Option<Signature>)>,
    /// Whose keys cannot be used, and why: they must not come in without them
    pub(super) troubles: Vec<String>,
}

impl Listener {
    /// What signs the connections of a peer; `None` for one that may not come in.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Option<Signature>> {
        let guest = self.guests.iter().find(|(remote, _)| remote.is_at(address));
        guest.map(|(_, signature)| signature.clone())
    }
}

/// Listens on a port, which others of ours may share, for peers of one family and VRF, some of which
/// may sign.
pub(super) async fn listen(
    port: u16,
    is_shared: bool,
    Listening { any, device }: &Listening,
    peers: &[Transport],
) -> Result<Listener, ConnectError> {
    let any = *any;
    let failed = |error: io::Error| {
        let kind = error.kind();
        let hint = if kind == io::ErrorKind::PermissionDenied {
            " (CAP_NET_BIND_SERVICE is needed)"
        } else if kind == io::ErrorKind::AddrInUse {
            " (another BGP speaker runs on this host)"
        } else {
            ""
        };
        let text = format!("cannot listen on TCP port {port}: {}{hint}", sys::describe(&error));
        ConnectError { kind, text }
    };
    let socket = new_socket(any).map_err(failed)?;
    let is_vrf = peers.iter().any(|peer| peer.vrf.is_some());
    bind_device(&socket, if is_vrf { "vrf" } else { "interface" }, device.as_deref())?;
    socket.set_reuse_address(true).map_err(failed)?;
    // One on no device is in the way of those that are on one, unless all say so. Alone we do not:
    // another daemon shall be noticed.
    socket.set_reuse_port(is_shared).map_err(failed)?;
    if any.is_ipv6() {
        socket.set_only_v6(true).map_err(failed)?;
    }
    if peers.iter().any(|peer| peer.minimum_ttl.is_some()) {
        // The answer to a SYN goes out before we know whose it is, and the peer may judge it, too.
        set_ttl(&socket, any.is_ipv4(), 255).map_err(failed)?;
    }
    // A SYN is judged by what all of them demand, the rest of a connection when it is accepted.
    if let Some(ttl) = peers.iter().map(|peer| peer.minimum_ttl).min().flatten() {
        sys::set_minimum_ttl(&socket, any.is_ipv4(), ttl).map_err(failed)?;
    }
    // The keys must be there before the first SYN.
    let (mut guests, mut troubles) = (Vec::new(), Vec::new());
    for Transport { remote, authentication, .. } in peers {
        let signature = match authentication {
            None => Ok(None),
            Some(authentication) => read_keys(authentication).await.and_then(|keys| {
                Signature::set(&socket, places(remote), keys, On::Listening).map(Some)
            }),
        };
        match signature {
            Ok(signature) => guests.push((remote.clone(), signature)),
            Err(error) => troubles.push(format!("{remote} cannot connect to us: {}", error.text)),
        }
    }
    socket.bind(&SocketAddr::new(any, port).into()).map_err(failed)?;
    socket.listen(16).map_err(failed)?;
    if device.is_none() {
        // Among those that reuse a port Linux takes the first it finds, not the one on the device.
        socket.set_reuse_port(false).map_err(failed)?;
    }
    let listener = TcpListener::from_std(socket.into()).map_err(failed)?;
    Ok(Listener { listener, guests, troubles })
}

/// The addresses from which a peer may connect.
fn places(remote: &Remote) -> IpNet {
    match remote.address() {
        Some(address) => address.into(),
        None => IpNet::V6(LINK_LOCAL),
    }
}

/// The IPv4 address from which the kernel would reach a peer with such an address; no packet is sent.
#[must_use]
pub fn local_address_towards(peer: &Transport) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    bind_device(&socket2::SockRef::from(&socket), "vrf", peer.vrf.as_deref()).ok()?;
    socket.connect((peer.remote.address()?, peer.port)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Sends and receives through this VRF or interface (`kind`) alone.
fn bind_device(socket: &Socket, kind: &str, device: Option<&str>) -> Result<(), ConnectError> {
    let Some(device) = device else { return Ok(()) };
    socket.bind_device(Some(device.as_bytes())).map_err(|error| {
        let text = if error.raw_os_error() == Some(libc::ENODEV) {
            format!("{kind} {device} does not exist on this host")
        } else {
            format!("cannot use {kind} {device}: {}", sys::describe(&error))
        };
        ConnectError { kind: error.kind(), text }
    })
}

/// Whether the device that a socket is bound to is gone, or has another name now. One that comes
/// back under the same name is another.
pub(super) fn has_lost_device(listener: &TcpListener, name: &str) -> bool {
    let device = socket2::SockRef::from(listener).device();
    !device.is_ok_and(|device| device.as_deref() == Some(name.as_bytes()))
}

fn new_socket(family: IpAddr) -> io::Result<Socket> {
    let domain = if family.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))
}

fn configure(
    socket: &Socket,
    transport: &Transport,
    user_timeout: Option<Duration>,
) -> io::Result<()> {
    let is_ipv4 = transport.remote.is_ipv4();
    set_ttl(socket, is_ipv4, transport.ttl)?;
    if let Some(ttl) = transport.minimum_ttl {
        sys::set_minimum_ttl(socket, is_ipv4, ttl)?;
    }
    if is_ipv4 {
        socket.set_tos_v4(CONTROL)?;
    } else {
        socket.set_tclass_v6(CONTROL)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(user_timeout)
}

fn set_ttl(socket: &Socket, is_ipv4: bool, ttl: u8) -> io::Result<()> {
    if is_ipv4 { socket.set_ttl_v4(ttl.into()) } else { socket.set_unicast_hops_v6(ttl.into()) }
}

/// What signs a connection now; only this one waits for a file system that does not answer.
pub(super) async fn read_keys(authentication: &Authentication) -> Result<Keys, ConnectError> {
    let wanted = authentication.clone();
    spawn_blocking(move || Keys::read(wanted)).await.expect("a panic ends the process")
}
