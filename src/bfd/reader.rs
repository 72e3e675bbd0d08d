//! Reads datagrams from a socket, each with the time at which the kernel got it.
#![expect(
    clippy::disallowed_methods,
    reason = "driver: sockets, and the clocks to read their stamps by"
)]

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::Socket;

use super::arrival::arrival;

/// No packet that is of any use is longer.
const BUFFER: usize = 256;

/// What waits while nobody reads, in octets of the kernel's account: seconds of all that hundreds of
/// peers send, so that neither a thread that is held up nor somebody's flood costs packets.
const WAITING: usize = 4 << 20;

/// A datagram that was read; what it holds is [`Reader::octets`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// Who sent it
    pub(super) source: Option<SockaddrStorage>,
    /// TTL or Hop Limit, where the kernel was asked to tell it
    pub(super) ttl: Option<u8>,
    /// When it came
    pub(super) at: Instant,
}

/// Reads from one socket.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: [u8; BUFFER],
    length: usize,
    control: Vec<u8>,
    /// Nothing that is read from now on came before that
    empty_at: Instant,
    /// How many have been read since then
    waited: usize,
    /// When the last datagram came, if that is known
    read_until: Option<Instant>,
}

impl Reader {
    /// For a socket that nothing comes to yet: asks for the times, and for room for what waits.
    pub(super) fn new(socket: &Socket) -> io::Result<Self> {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        // Beyond the limit of the host with CAP_NET_ADMIN alone.
        if setsockopt(socket, sockopt::RcvBufForce, &WAITING).is_err() {
            setsockopt(socket, sockopt::RcvBuf, &WAITING)?;
        }
        Ok(Self {
            buffer: [0; BUFFER],
            length: 0,
            control: nix::cmsg_space!(libc::c_int, libc::timespec),
            empty_at: Instant::now(),
            waited: 0,
            read_until: None,
        })
    }

    /// The next datagram that waits, if one does. Errors are those of single datagrams and leave
    /// the socket usable.
    pub(super) fn read(&mut self, socket: &Socket) -> io::Result<Option<Read>> {
        let looked_at = Instant::now();
        let (mut ttl, mut stamp) = (None, None);
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let control = Some(self.control.as_mut_slice());
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, control, flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => {
                    (self.empty_at, self.waited) = (looked_at, 0);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
        for part in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) =
                part
            {
                ttl = u8::try_from(value).ok();
            } else if let ControlMessageOwned::ScmTimestampns(time) = part {
                stamp = Some(time);
            }
        }
        let (length, source) = (message.bytes, message.address);
        self.length = length;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        let age = stamp.and_then(|stamp| wall.checked_sub(Duration::from(stamp)));
        self.read_until = arrival(now, self.empty_at, age, self.waited);
        self.waited += 1;
        Ok(Some(Read { source, ttl, at: self.read_until.unwrap_or(now) }))
    }

    /// What the last datagram holds.
    pub(super) fn octets(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// To change it before it is sent on.
    pub(super) fn octets_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.length).unwrap_or_default()
    }

    /// Whether everything has been read that came until a moment, for what was read last came
    /// after it.
    pub(super) fn is_beyond(&self, moment: Instant) -> bool {
        self.read_until.is_some_and(|at| at > moment)
    }
}
