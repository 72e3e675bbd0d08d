//! What the status says of learned routes: how many, which, and why some are not used.
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Received;
use crate::bgp::accept::Accept;
use crate::netlink::routes::Installation;
use crate::route::PeerName;

/// How many routes of a peer the status lists.
const MOST_LISTED: usize = 100;

/// What is taken in from a peer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Accepted {
    /// Prefixes that were let in
    pub prefixes: usize,
    /// Announcements in this session, whether let in or not
    pub announcements: u64,
    /// More prefixes than this end the session
    pub limit: usize,
    /// The kernel's table that they go into
    pub table: u32,
    /// How many of them are used and in the kernel
    pub installed: usize,
    /// The first of them, those that are not in the kernel before the others
    pub routes: Vec<AcceptedRoute>,
}

/// A route that was let in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcceptedRoute {
    /// Where it leads
    pub prefix: IpNet,
    /// By way of whom
    pub next_hop: IpAddr,
    /// It is from a session that is over, and kept for the next one
    pub stale: bool,
    /// Whether it is used, and in the kernel
    pub installed: bool,
    /// Why it is not
    pub reason: Option<String>,
}

impl Received {
    /// What is taken in from a peer; `None` if nothing is to be.
    pub(in crate::speaker) fn status(&self, name: &PeerName) -> Option<Accepted> {
        let peer = self.peers.get(name)?;
        let Accept { table, max_prefixes, .. } = *peer.rib.accept();
        let reason = |prefix| match peer.unused.get(&prefix) {
            Some(unused) => Some(unused.to_string()),
            None => match self.routes.installation(table, prefix) {
                Installation::Pending => Some("about to be installed".into()),
                Installation::Installed => None,
                Installation::Refused(reason) => Some(reason.clone()),
            },
        };
        let mut routes: Vec<AcceptedRoute> = peer
            .rib
            .routes()
            .map(|(prefix, route)| {
                let reason = reason(prefix);
                let (stale, installed) = (peer.rib.is_stale(prefix), reason.is_none());
                AcceptedRoute { prefix, next_hop: route.next_hop, stale, installed, reason }
            })
            .collect();
        let (prefixes, announcements) = (routes.len(), peer.rib.announcements());
        let installed = routes.iter().filter(|route| route.installed).count();
        routes.sort_by_key(|route| route.installed);
        routes.truncate(MOST_LISTED);
        Some(Accepted { prefixes, announcements, limit: max_prefixes, table, installed, routes })
    }
}
