//! Sends router advertisements on some interfaces.
#![expect(clippy::disallowed_methods, reason = "driver: sockets and timers")]

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::advertisement;
use crate::sys;

/// As often as FRR sends its own on unnumbered interfaces.
const INTERVAL: Duration = Duration::from_secs(10);
/// All nodes on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Advertises on the interfaces that were asked for last: at once, and from then on. What keeps it from
/// that is told when it changes. Ends with the owner.
pub async fn run(
    mut wanted: mpsc::UnboundedReceiver<BTreeSet<u32>>,
    troubles: mpsc::UnboundedSender<Option<String>>,
) {
    let mut interfaces = BTreeSet::new();
    let mut next = Instant::now();
    let mut told = None;
    loop {
        tokio::select! {
            changed = wanted.recv() => {
                let Some(changed) = changed else { return };
                interfaces = changed;
            }
            () = sleep_until(next), if !interfaces.is_empty() => {}
        }
        next = Instant::now() + INTERVAL;
        let failed = interfaces.iter().find_map(|index| advertise(*index).err());
        let trouble = failed.map(|error| explain(&error));
        if told != trouble {
            told.clone_from(&trouble);
            if troubles.send(trouble).is_err() {
                return;
            }
        }
    }
}

/// The socket is there for one message: it would take in all ICMPv6 that comes to the host.
fn advertise(index: u32) -> io::Result<()> {
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
    socket.set_multicast_hops_v6(255)?; // RFC 4861 §6.1.2: others are dropped
    socket.set_multicast_loop_v6(false)?;
    let everybody = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    socket.send_to(&advertisement(), &everybody.into()).map(drop)
}

fn explain(error: &io::Error) -> String {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        " (CAP_NET_RAW is needed)"
    } else {
        ""
    };
    let text = sys::describe(error);
    format!("cannot send router advertisements, by which FRR finds us: {text}{hint}")
}
