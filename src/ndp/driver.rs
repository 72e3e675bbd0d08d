//! Sends router advertisements and solicitations on some interfaces.
#![expect(clippy::disallowed_methods, reason = "driver: sockets and timers")]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{advertisement, solicitation};
use crate::sys;

/// As often as FRR sends its own on unnumbered interfaces.
const INTERVAL: Duration = Duration::from_secs(10);
/// MAX_RTR_SOLICITATIONS (RFC 4861 §10): so many at the most, on an interface that is new.
const SOLICITATIONS: u8 = 3;
/// All nodes and all routers on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Speaks on the interfaces, by number with their names, that were asked for last: at once, and from
/// then on. What keeps it from that is told when it changes. Ends with the owner.
pub async fn run(
    mut wanted: mpsc::UnboundedReceiver<BTreeMap<u32, String>>,
    troubles: mpsc::UnboundedSender<Option<String>>,
) {
    let mut interfaces = BTreeMap::new();
    let mut solicited: BTreeMap<u32, u8> = BTreeMap::new();
    let mut next = Instant::now();
    let mut told = None;
    loop {
        tokio::select! {
            changed = wanted.recv() => {
                let Some(changed) = changed else { return };
                interfaces = changed;
                solicited.retain(|index, _| interfaces.contains_key(index));
            }
            () = sleep_until(next), if !interfaces.is_empty() => {}
        }
        next = Instant::now() + INTERVAL;
        let mut failed = Vec::new();
        for (index, name) in &interfaces {
            let times = solicited.entry(*index).or_default();
            let asks = *times < SOLICITATIONS;
            *times = times.saturating_add(1);
            // A link that cannot be used is no reason to be silent on the others.
            if let Err(why) = speak(*index, asks) {
                failed.push(format!("{name}: {why}"));
            }
        }
        let trouble = (!failed.is_empty()).then(|| {
            let all = failed.join("; ");
            format!("cannot send router advertisements, by which FRR finds us, on {all}")
        });
        if told != trouble {
            told.clone_from(&trouble);
            if troubles.send(trouble).is_err() {
                return;
            }
        }
    }
}

/// Says on an interface that we are there, and asks the routers to do so too. The socket is there for
/// that alone: it would take in all ICMPv6 that comes to the host.
fn speak(index: u32, asks: bool) -> Result<(), String> {
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6)).map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            "not permitted (CAP_NET_RAW is needed)".into()
        } else {
            sys::describe(&error)
        }
    })?;
    let send = || {
        socket.set_multicast_hops_v6(255)?; // RFC 4861 §6.1: others are dropped
        socket.set_multicast_loop_v6(false)?;
        let to = |all| SocketAddr::V6(SocketAddrV6::new(all, 0, 0, index)).into();
        if asks {
            socket.send_to(&solicitation(), &to(ALL_ROUTERS))?;
        }
        socket.send_to(&advertisement(), &to(ALL_NODES)).map(drop)
    };
    send().map_err(|error| sys::describe(&error))
}
