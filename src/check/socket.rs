//! The sockets of probes: where they lead, and where they come from.
#![expect(clippy::disallowed_types, reason = "driver: makes sockets")]

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixStream};

use super::Failure;

/// No datagram that says how a service fares needs to be longer; what is more is cut off.
const MAX_DATAGRAM: usize = 4096;

/// What a load balancer says before all else on a connection that it makes for itself: version 2
/// and LOCAL, without addresses (the PROXY protocol, §2.2).
const PROXY_LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What a stream is opened to, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The other end
    pub target: Target,
    /// Our end, where the other one has an address
    pub origin: Origin,
    /// Whether the server waits for the PROXY protocol before all else
    pub proxy_protocol: bool,
}

/// The other end of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A port of an address
    Address(SocketAddr),
    /// A Unix socket
    Unix(PathBuf),
}

/// Where a probe comes from, as far as that is not left to the kernel.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Origin {
    /// An address of this host
    pub address: Option<IpAddr>,
    /// The interface that it is bound to, whatever the routes say
    pub interface: Option<String>,
}

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl dyn Stream + '_ {
    /// Sends all of it.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let sent = self.write_all(octets).await;
        sent.map_err(|error| Failure::io("cannot send", &error))
    }

    /// Waits for more and puts it behind what came; how much it is, nothing at the end.
    pub(super) async fn receive(&mut self, came: &mut Vec<u8>) -> Result<usize, Failure> {
        let received = self.read_buf(came).await;
        received.map_err(|error| Failure::io("cannot receive", &error))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let target = Target::Address(address);
        Self { target, origin: Origin::default(), proxy_protocol: false }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Address(address) => address.fmt(f),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// The addresses of both ends that this host must have.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        match self.target {
            Target::Address(target) => self.origin.and(target.ip()),
            Target::Unix(_) => Vec::new(),
        }
    }

    /// Opens a stream.
    pub(super) async fn open(&self) -> Result<Box<dyn Stream>, Failure> {
        let mut stream: Box<dyn Stream> = match &self.target {
            Target::Address(address) => Box::new(self.origin.connect(*address).await?),
            Target::Unix(path) => {
                let connected = UnixStream::connect(path).await;
                Box::new(connected.map_err(|error| Failure::io("cannot connect", &error))?)
            }
        };
        if self.proxy_protocol {
            stream.send(PROXY_LOCAL).await?;
        }
        Ok(stream)
    }
}

impl Origin {
    /// Its address beside that of the other end.
    pub(super) fn and(&self, target: IpAddr) -> Vec<IpAddr> {
        [Some(target), self.address].into_iter().flatten().collect()
    }

    /// Opens a TCP connection.
    pub(super) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, Failure> {
        let made = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = made.map_err(|error| Failure::io("cannot make a socket", &error))?;
        if let Some(interface) = &self.interface {
            bound(interface, socket.bind_device(Some(interface.as_bytes())))?;
        }
        if let Some(address) = self.address {
            named(address, socket.bind(SocketAddr::new(address, 0)))?;
        }
        let connected = socket.connect(target).await;
        connected.map_err(|error| Failure::io("cannot connect", &error))
    }

    /// Opens a socket for datagrams.
    pub(super) async fn datagrams(&self, target: SocketAddr) -> Result<Datagrams, Failure> {
        let any = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = self.address.unwrap_or(any);
        let socket = named(address, UdpSocket::bind(SocketAddr::new(address, 0)).await)?;
        if let Some(interface) = &self.interface {
            bound(interface, socket.bind_device(Some(interface.as_bytes())))?;
        }
        let connected = socket.connect(target).await;
        connected.map_err(|error| Failure::io("cannot connect", &error))?;
        Ok(Datagrams(socket))
    }
}

/// A socket for datagrams to and from one address alone.
pub(super) struct Datagrams(UdpSocket);

impl Datagrams {
    /// Sends one.
    pub(super) async fn send(&self, octets: &[u8]) -> Result<(), Failure> {
        let sent = self.0.send(octets).await;
        sent.map(drop).map_err(|error| Failure::io("cannot send", &error))
    }

    /// Waits for one.
    pub(super) async fn receive(&self) -> Result<Vec<u8>, Failure> {
        let mut came = Vec::with_capacity(MAX_DATAGRAM);
        let received = self.0.recv_buf(&mut came).await;
        received.map_err(|error| Failure::io("cannot receive", &error))?;
        Ok(came)
    }
}

fn bound<T>(interface: &str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::io(&format!("cannot use interface {interface}"), &error))
}

fn named<T>(address: IpAddr, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::io(&format!("cannot probe from {address}"), &error))
}
