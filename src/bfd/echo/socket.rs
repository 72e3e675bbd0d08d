//! Echo packets on the wire: they go to a router by its hardware address, since by their IP header
//! they are for ourselves, and they are taken in before IP drops them for claiming to come from us.
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use etherparse::{
    IpDscp, IpHeaders, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, NetSlice, PacketBuilder,
    SlicedPacket, TransportSlice,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{FORWARDED, FROM_THE_LINK, Frame, PORT, Path};
use crate::bfd::reader::{Read, Reader};
use crate::sys;

/// Class selector 6, network control (RFC 2474).
const CONTROL: IpDscp = IpDscp::CS6;
/// The length of a UDP header.
const UDP_HEADER: usize = 8;
/// Room for the headers and what we put behind them.
const LONGEST: usize = 128;

/// A value that a packet must have: its size, where it is, and what it is (`BPF_JEQ`) or is at least
/// (`BPF_JGE`).
type Condition = (u32, u32, u32, u32);

/// The packet is for this host by its hardware address.
const FOR_US: Condition = (
    libc::BPF_W,
    (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned(),
    libc::BPF_JEQ,
    PACKET_HOST,
);
/// A number of linux/if_packet.h.
const PACKET_HOST: u32 = 0;
const UDP: u32 = IpNumber::UDP.0 as u32;
/// Version 4 and no options, UDP, its port; from the link, or sent back from there.
const IPV4: [Condition; 5] = [
    (libc::BPF_B, 0, libc::BPF_JEQ, 0x45),
    (libc::BPF_B, 9, libc::BPF_JEQ, UDP),
    (libc::BPF_H, 22, libc::BPF_JEQ, PORT as u32),
    (libc::BPF_B, 8, libc::BPF_JGE, FORWARDED as u32),
    FOR_US,
];
/// The same, with no header before that of UDP.
const IPV6: [Condition; 4] = [
    (libc::BPF_B, 6, libc::BPF_JEQ, UDP),
    (libc::BPF_H, 42, libc::BPF_JEQ, PORT as u32),
    (libc::BPF_B, 7, libc::BPF_JGE, FORWARDED as u32),
    FOR_US,
];

/// A program for the kernel that lets through what meets all conditions.
fn filter(conditions: &[Condition]) -> Vec<SockFilter> {
    let step = |code: u32, to_the_end: usize, value| {
        let to_the_end = u8::try_from(to_the_end).unwrap_or(u8::MAX);
        SockFilter::new(u16::try_from(code).unwrap_or_default(), 0, to_the_end, value)
    };
    let mut program = Vec::new();
    for (place, (size, offset, comparison, value)) in conditions.iter().enumerate() {
        program.push(step(libc::BPF_LD | libc::BPF_ABS | size, 0, *offset));
        let behind = 2 * (conditions.len() - place) - 1;
        program.push(step(libc::BPF_JMP | comparison | libc::BPF_K, behind, *value));
    }
    let all_of_it = u32::MAX;
    program.extend([step(libc::BPF_RET, 0, all_of_it), step(libc::BPF_RET, 0, 0)]);
    program
}

/// Sends and receives on all links in one family.
#[derive(Debug)]
pub(in crate::bfd) struct Link {
    socket: Socket,
    reader: Reader,
    /// A number of linux/if_ether.h
    protocol: u16,
    /// On which the last packet came
    interface: u32,
}

impl Link {
    /// Needs `CAP_NET_RAW`.
    pub(in crate::bfd) fn open(is_ipv4: bool) -> io::Result<Self> {
        let protocol = if is_ipv4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
        let protocol = u16::try_from(protocol).unwrap_or_default();
        // Nothing comes in before it is bound, so that nothing passes by the filter.
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?;
        socket.attach_filter(&if is_ipv4 { filter(&IPV4) } else { filter(&IPV6) })?;
        socket.set_priority(6)?; // for queueing disciplines that go by it
        let reader = Reader::new(&socket)?;
        socket.bind(&sys::link_address(protocol, 0, [0; 6]))?;
        Ok(Self { socket, reader, protocol, interface: 0 })
    }

    /// The next Echo packet that waits, if one does. Errors are those of single packets and leave the
    /// socket usable.
    pub(in crate::bfd) fn receive(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some(Read { source, at, .. }) = self.reader.read(&self.socket)? else {
            return Ok(None);
        };
        let no_echo = || io::Error::from(io::ErrorKind::InvalidData);
        let source = source.as_ref().and_then(|source| source.as_link_addr());
        let source = source.ok_or_else(no_echo)?;
        let interface = u32::try_from(source.ifindex()).map_err(|_| no_echo())?;
        self.interface = interface;
        let packet = SlicedPacket::from_ip(self.reader.octets()).map_err(|_| no_echo())?;
        let (destination, ttl) = match packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                (IpAddr::from(ip.header().destination()), ip.header().ttl())
            }
            Some(NetSlice::Ipv6(ip)) => {
                (IpAddr::from(ip.header().destination()), ip.header().hop_limit())
            }
            Some(NetSlice::Arp(_)) | None => return Err(no_echo()),
        };
        let Some(TransportSlice::Udp(udp)) = packet.transport else { return Err(no_echo()) };
        Ok(Some(Frame { interface, destination, ttl, payload: udp.payload(), at }))
    }

    /// Whether everything has been read that came until a moment, for what was read last came
    /// after it.
    pub(in crate::bfd) fn is_beyond(&self, moment: Instant) -> bool {
        self.reader.is_beyond(moment)
    }

    /// Gives a router a packet to ourselves.
    pub(in crate::bfd) fn send(&self, path: &Path, payload: &[u8]) -> io::Result<()> {
        let length = u16::try_from(payload.len() + UDP_HEADER).unwrap_or(u16::MAX);
        let headers = match path.local {
            IpAddr::V4(ip) => {
                let octets = ip.octets();
                let header = Ipv4Header::new(length, FROM_THE_LINK, IpNumber::UDP, octets, octets);
                let mut header = header.map_err(io::Error::other)?;
                header.dscp = CONTROL;
                IpHeaders::Ipv4(header, Default::default())
            }
            IpAddr::V6(ip) => {
                let header = Ipv6Header {
                    traffic_class: CONTROL.value() << 2,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: length,
                    next_header: IpNumber::UDP,
                    hop_limit: FROM_THE_LINK,
                    source: ip.octets(),
                    destination: ip.octets(),
                };
                IpHeaders::Ipv6(header, Default::default())
            }
        };
        let packet = PacketBuilder::ip(headers).udp(PORT, PORT);
        let mut buffer = [0; LONGEST];
        let length = packet.write_to_slice(&mut buffer, payload).map_err(io::Error::other)?;
        self.give(path.interface, path.router, buffer.get(..length).unwrap_or_default())
    }

    /// Forwards the last packet to a router on the link that it came from.
    pub(in crate::bfd) fn send_back(&mut self, router: [u8; 6]) -> io::Result<()> {
        let packet = self.reader.octets_mut();
        let length = match Ipv4Header::from_slice(packet) {
            Ok((mut header, _)) => {
                header.time_to_live = header.time_to_live.saturating_sub(1);
                header.header_checksum = header.calc_header_checksum();
                packet.iter_mut().zip(header.to_bytes()).for_each(|(octet, new)| *octet = new);
                usize::from(header.total_len)
            }
            Err(_) => {
                let (header, _) = Ipv6Header::from_slice(packet).map_err(io::Error::other)?;
                if let Some(hop_limit) = packet.get_mut(7) {
                    *hop_limit = hop_limit.saturating_sub(1);
                }
                Ipv6Header::LEN + usize::from(header.payload_length)
            }
        };
        self.give(self.interface, router, self.reader.octets().get(..length).unwrap_or_default())
    }

    fn give(&self, interface: u32, to: [u8; 6], packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, &sys::link_address(self.protocol, interface, to)).map(drop)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
