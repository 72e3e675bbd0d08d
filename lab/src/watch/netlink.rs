//! The rtnetlink sockets of a [`Watch`](super::Watch): notifications on one, dumps on the other.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::table::{Hop, Table};
use super::{Change, NextHop, NextHops};

/// RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE of linux/rtnetlink.h.
const GROUPS: [u32; 3] = [1, 7, 11];
const RECEIVE_BUFFER: usize = 64 << 20;
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 256 << 10;

/// Keeps a [`Table`] equal to the kernel's.
pub(super) struct Monitor {
    notifications: Socket,
    dumps: Socket,
    stop: PipeReader,
    datagram: Vec<u8>,
    table: Table,
    links: HashMap<u32, String>,
}

impl Monitor {
    /// Opens the sockets in the network namespace of this thread; the end of `stop` ends the
    /// monitor.
    pub(super) fn open(stop: PipeReader) -> Result<Self> {
        let mut notifications = Socket::new(NETLINK_ROUTE)?;
        notifications.bind_auto()?;
        setsockopt(&notifications, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        notifications.set_non_blocking(true)?;
        for group in GROUPS {
            notifications.add_membership(group)?;
        }
        let mut dumps = Socket::new(NETLINK_ROUTE)?;
        dumps.bind_auto()?;
        let (datagram, table, links) =
            (Vec::with_capacity(DATAGRAM), Table::default(), HashMap::new());
        Ok(Self { notifications, dumps, stop, datagram, table, links })
    }

    /// The table as it is now, as changes from nothing.
    pub(super) fn begin(&mut self) -> Result<Vec<Change>> {
        self.resynchronise()
    }

    /// Waits for notifications and tells what changed; `None` when told to stop.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Change>>> {
        let stopped = {
            let mut files = [&self.notifications as &dyn AsFd, &self.stop as &dyn AsFd]
                .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
            match poll(&mut files, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => files[1].any().unwrap_or(true),
                Err(error) => return Err(error).context("cannot poll"),
            }
        };
        if stopped {
            return Ok(None);
        }
        self.datagram.clear();
        let received = self.notifications.recv(&mut self.datagram, 0);
        let at = Instant::now();
        match received {
            Ok(_) => self.digest(at).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(Vec::new())),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                self.resynchronise().map(Some)
            }
            Err(error) => Err(error).context("cannot receive route notifications"),
        }
    }

    /// Applies the notifications of one datagram.
    fn digest(&mut self, at: Instant) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for (header, message) in messages(&self.datagram)? {
            let prefix = match message {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                    self.table.add(&route, header.flags)
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => {
                    self.table.remove(&route)
                }
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_),
                ) => return Ok([changes, self.resynchronise()?].concat()),
                _ => None,
            };
            changes.extend(prefix.map(|prefix| self.change(prefix, at)));
        }
        Ok(changes)
    }

    /// Replaces the table by a dump, after throwing away the notifications that the dump makes
    /// stale.
    fn resynchronise(&mut self) -> Result<Vec<Change>> {
        loop {
            self.datagram.clear();
            match self.notifications.recv(&mut self.datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                result => drop(result.context("cannot receive route notifications")?),
            }
        }
        let before: BTreeSet<IpNet> = self.table.prefixes().collect();
        let link_request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.links = self.dump(&link_request)?.iter().filter_map(link_name).collect();
        self.table = Table::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            for message in self.dump(&RouteNetlinkMessage::GetRoute(request))? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    self.table.add_dumped(&route);
                }
            }
        }
        let at = Instant::now();
        let all: BTreeSet<IpNet> = before.into_iter().chain(self.table.prefixes()).collect();
        Ok(all.into_iter().map(|prefix| self.change(prefix, at)).collect())
    }

    fn change(&self, prefix: IpNet, at: Instant) -> Change {
        let named = |(index, via): Hop| {
            let known = self.links.get(&index).cloned();
            NextHop { interface: known.unwrap_or_else(|| format!("#{index}")), via }
        };
        let next_hops: NextHops = self.table.next_hops(prefix).into_iter().map(named).collect();
        Change { at, prefix, next_hops }
    }

    /// Everything of one kind that the kernel has; asks again when it changed meanwhile.
    fn dump(&mut self, request: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        loop {
            if let Some(answer) = self.try_dump(request)? {
                return Ok(answer);
            }
        }
    }

    fn try_dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>> {
        let mut message = NetlinkMessage::from(request.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.dumps.send(&bytes, 0).context("cannot ask for a dump")?;
        let (mut answer, mut interrupted) = (Vec::new(), false);
        loop {
            self.datagram.clear();
            self.dumps.recv(&mut self.datagram, 0).context("cannot receive a dump")?;
            for (header, payload) in messages(&self.datagram)? {
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    NetlinkPayload::InnerMessage(inner) => answer.push(inner),
                    NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(answer)),
                    NetlinkPayload::Error(error) => bail!("the kernel refuses a dump: {error}"),
                    _ => {}
                }
            }
        }
    }
}

/// The messages of a datagram.
fn messages(
    mut datagram: &[u8],
) -> Result<Vec<(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>)>> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
            .map_err(|error| anyhow::anyhow!("unreadable netlink message: {error}"))?;
        let length = (message.header.length as usize).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
        messages.push(message.into_parts());
    }
    Ok(messages)
}

fn link_name(message: &RouteNetlinkMessage) -> Option<(u32, String)> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some((link.header.index, name))
}
