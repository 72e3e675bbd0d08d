//! Listens in on a namespace: when TCP connections to port 179 come about, or what BFD says.

use std::io::{PipeReader, PipeWriter, pipe};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use crate::netns::Namespace;

const BGP: u16 = 179;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Of single-hop BFD (RFC 5881).
const BFD: u16 = 3784;
const SYN_ACK: u8 = 0x12;
const ETHERNET: usize = 14;

/// A running tap for things of one kind.
#[derive(Debug)]
pub struct Tap<T = Accepted> {
    seen: Arc<Mutex<Vec<T>>>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// A kernel took a connection for a BGP speaker (it sent SYN and ACK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When it was seen.
    pub at: Instant,
    /// Who accepted it.
    pub by: IpAddr,
    /// Who had asked for it.
    pub of: IpAddr,
}

/// A Control packet of single-hop BFD went over a cable, over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// When it was seen.
    pub at: Instant,
    /// Who sent it.
    pub from: IpAddr,
    /// The state of its session there (RFC 5880 §4.1): 0 to 3, AdminDown, Down, Init, Up.
    pub state: u8,
}

impl Tap {
    /// Listens to all interfaces of a namespace, for BGP connections.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let read = |frame: &[u8], at| read(frame).map(|(by, of)| Accepted { at, by, of });
        Self::listen(namespace, read)
    }

    /// The connections accepted so far.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.seen()
    }

    /// The last connection with a machine, whoever opened it, that was accepted before a moment.
    pub fn last_before(&self, moment: Instant, machine: IpAddr) -> Option<Accepted> {
        let of_it = |seen: &&Accepted| seen.by == machine || seen.of == machine;
        self.accepted().iter().rev().filter(of_it).find(|seen| seen.at < moment).copied()
    }
}

impl Tap<Control> {
    /// Listens to all interfaces of a namespace, for BFD.
    pub fn start_bfd(namespace: &Namespace) -> Result<Self> {
        Self::listen(namespace, read_control)
    }
}

impl<T: Clone + Send + 'static> Tap<T> {
    fn listen(namespace: &Namespace, read: fn(&[u8], Instant) -> Option<T>) -> Result<Self> {
        let (reader, writer) = pipe()?;
        let socket = namespace.enter(|| {
            let (packet, raw) = (AddressFamily::Packet, SockType::Raw);
            socket(packet, raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        })?;
        let socket = socket.context("cannot open a packet socket")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let filled = seen.clone();
        let run = move || listen(&socket, &reader, read, &filled);
        let thread = thread::Builder::new().name("tap".to_owned()).spawn(run)?;
        Ok(Self { seen, stop: Some(writer), thread: Some(thread) })
    }

    /// Everything so far.
    pub fn seen(&self) -> Vec<T> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Drop for Tap<T> {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("lab: a tap failed: {error:#}"),
            Some(Err(_)) => eprintln!("lab: a tap panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

fn listen<T>(
    socket: &OwnedFd,
    stop: &PipeReader,
    read: fn(&[u8], Instant) -> Option<T>,
    seen: &Mutex<Vec<T>>,
) -> Result<()> {
    let mut frame = [0; 2048];
    loop {
        let watched = [stop.as_fd(), socket.as_fd()];
        let mut fds = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE)?;
        if fds[0].revents().is_some_and(|events| !events.is_empty()) {
            return Ok(());
        }
        let length = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty())?;
        let at = Instant::now();
        if let Some(one) = read(&frame[..length.min(frame.len())], at) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        }
    }
}

/// Who accepts whose connection, if that is what an Ethernet frame is about.
fn read(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let packet = frame.get(ETHERNET..)?;
    let (by, of, segment): (IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&TCP) => {
            let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok();
            let length = usize::from(packet.first()? & 15) * 4;
            (address(12)?.into(), address(16)?.into(), packet.get(length..)?)
        }
        6 if packet.get(6) == Some(&TCP) => {
            let address = |at: usize| <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok();
            (address(8)?.into(), address(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let from = u16::from_be_bytes([*segment.first()?, *segment.get(1)?]);
    (from == BGP && segment.get(13)? & 0x17 == SYN_ACK).then_some((by, of))
}

/// What an Ethernet frame has of BFD.
fn read_control(frame: &[u8], at: Instant) -> Option<Control> {
    let packet = frame.get(ETHERNET..)?;
    if packet.first()? >> 4 != 4 || packet.get(9) != Some(&UDP) {
        return None;
    }
    let from = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?.into();
    let datagram = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let to = u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]);
    let state = datagram.get(8 + 1)? >> 6;
    (to == BFD).then_some(Control { at, from, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(packet: &[u8], flags: u8) -> Vec<u8> {
        let mut segment = [0; 20];
        segment[1] = 179;
        segment[13] = flags;
        [&[0; ETHERNET], packet, &segment].concat()
    }

    #[test]
    fn a_control_packet_says_who_is_in_which_state() -> Result<()> {
        let mut packet = [0; 20];
        (packet[0], packet[9]) = (0x45, UDP);
        packet[12..].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let [high, low] = BFD.to_be_bytes();
        let datagram = [192, 0, high, low, 0, 32, 0, 0, 0x20, 0x40, 3, 24];
        let frame = [&[0; ETHERNET], packet.as_slice(), &datagram].concat();
        let (at, from) = (Instant::now(), "10.0.0.1".parse()?);
        assert_eq!(read_control(&frame, at), Some(Control { at, from, state: 1 }));
        assert_eq!(read_control(&frame[..ETHERNET + 22], at), None);
        assert_eq!(read(&frame), None);
        Ok(())
    }

    #[test]
    fn an_accepted_connection_is_told_from_the_rest() -> Result<()> {
        let mut ipv4 = [0; 20];
        (ipv4[0], ipv4[9]) = (0x45, TCP);
        ipv4[12..].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let expected = ("10.0.0.1".parse()?, "10.0.0.2".parse()?);
        assert_eq!(read(&frame(&ipv4, SYN_ACK)), Some(expected));
        assert_eq!(read(&frame(&ipv4, 0x10)), None);
        ipv4[9] = 17;
        assert_eq!(read(&frame(&ipv4, SYN_ACK)), None);
        let mut ipv6 = [0; 40];
        (ipv6[0], ipv6[6], ipv6[23], ipv6[39]) = (0x60, TCP, 1, 2);
        assert_eq!(read(&frame(&ipv6, SYN_ACK)), Some(("::1".parse()?, "::2".parse()?)));
        assert_eq!(read(&[]), None);
        Ok(())
    }
}
