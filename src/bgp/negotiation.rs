//! What we offer in our OPEN, and what it comes to with the peer's (RFC 4271 §4.2, §6.2, RFC 5492).
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::down::DownReason;
use super::wire::{Capabilities, Encoding, GracefulRestart, Open, OpenError};
use crate::route::{Asn, Family, Role};

/// Who may be at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RemoteAsn {
    /// This one
    Number(Asn),
    /// Any but ours
    External,
    /// Ours
    Internal,
}

/// What both ends must agree on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Our AS number
    pub local_asn: Asn,
    /// The peer's
    pub remote_asn: RemoteAsn,
    /// What we offer; at least one
    pub families: Vec<Family>,
    /// What we offer; zero or at least 3 s
    pub hold_time: Duration,
    /// At most this long between two KEEPALIVEs; a third of the hold time when `None`
    pub keepalive_time: Option<Duration>,
    /// What our AS is to the peer's (RFC 9234)
    pub role: Option<Role>,
    /// How the peer is to keep our routes while we restart; `None`: not at all
    pub restart: Option<Restart>,
    /// No session before BFD is up (draft-ietf-idr-bgp-bfd-strict-mode-19), whatever the peer says
    /// about that
    pub bfd_strict: bool,
}

/// For how long a peer is to keep our routes (RFC 4724, RFC 9494).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Restart {
    /// Until the session is back
    pub time: Duration,
    /// And after that as routes of the last resort
    pub long_lived: Duration,
}

/// What our side says of itself on one connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opening {
    /// Our BGP Identifier
    pub router_id: Ipv4Addr,
    /// This host's name, for the people at the router
    pub host_name: Option<String>,
    /// Whether any capability is offered: some peers refuse the parameter (RFC 5492 §3)
    pub capabilities: bool,
    /// The daemon has restarted and had no session with this peer since
    pub restarted: bool,
    /// Families whose VIPs stayed on the host meanwhile
    pub preserved: BTreeSet<Family>,
}

impl Opening {
    /// That of a daemon that has not restarted.
    #[must_use]
    pub fn new(router_id: Ipv4Addr) -> Self {
        let preserved = Family::ALL.into();
        Self { router_id, host_name: None, capabilities: true, restarted: false, preserved }
    }
}

/// What the two OPENs came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The smaller of both; zero for none (RFC 4271 §4.2)
    pub hold_time: Duration,
    /// Between our KEEPALIVEs, before jitter
    pub keepalive_time: Duration,
    /// What both offered
    pub families: Vec<Family>,
    /// How UPDATEs are written
    pub encoding: Encoding,
    /// The peer can be asked to announce everything again (RFC 2918)
    pub route_refresh: bool,
    /// A refresh has a beginning and an end (RFC 7313)
    pub enhanced_route_refresh: bool,
    /// What the peer says about its restarts, if both do
    pub graceful_restart: Option<GracefulRestart>,
    /// The peer's AS number
    pub remote_asn: Asn,
    /// The peer's BGP Identifier
    pub remote_router_id: Ipv4Addr,
    /// The peer's name for itself
    pub remote_host_name: Option<String>,
    /// Both ends wait for BFD
    pub bfd_strict: bool,
}

impl Session {
    /// For which families, and for how long, the peer's routes are kept when it restarts; `None`:
    /// not at all, for this reason.
    #[must_use]
    pub fn keeps_routes(&self, reason: &DownReason) -> Option<(Vec<Family>, Duration)> {
        let restart = self.graceful_restart.as_ref()?;
        let families: Vec<Family> = restart.families.keys().copied().collect();
        let keeps = !families.is_empty() && reason.may_be_restart(restart.notification);
        keeps.then(|| (families, Duration::from_secs(restart.time.into())))
    }

    /// Whether the peer has said for any family what its restarts mean to it (RFC 4724 §3).
    #[must_use]
    pub fn tells_of_restarts(&self) -> bool {
        self.graceful_restart.as_ref().is_some_and(|restart| !restart.families.is_empty())
    }

    /// Whether the peer says that it has restarted, which one that has MUST (RFC 4724 §4.1: the R bit).
    #[must_use]
    pub fn follows_restart(&self) -> bool {
        self.graceful_restart.as_ref().is_some_and(|restart| restart.restarted)
    }

    /// Families for which the peer forwarded packets all the time while it restarted.
    pub fn preserved(&self) -> impl Iterator<Item = Family> + '_ {
        let families = self.graceful_restart.iter().flat_map(|restart| &restart.families);
        families.filter(|(_, preserved)| **preserved).map(|(family, _)| *family)
    }

    /// Whether the peer keeps our routes over a NOTIFICATION, unless it is a hard reset
    /// (RFC 8538 §2: both must have said so).
    #[must_use]
    pub fn keeps_routes_over_notifications(&self) -> bool {
        self.graceful_restart.as_ref().is_some_and(|restart| restart.notification)
    }
}

/// Our OPEN.
pub(super) fn offer(config: &Config, opening: &Opening) -> Open {
    Open {
        asn: config.local_asn,
        hold_time: u16::try_from(config.hold_time.as_secs()).unwrap_or(u16::MAX),
        router_id: opening.router_id,
        capabilities: if opening.capabilities {
            capabilities(config, opening)
        } else {
            Capabilities::default()
        },
    }
}

fn capabilities(config: &Config, opening: &Opening) -> Capabilities {
    let families = config.families.iter().copied();
    let f_bits = families.map(|family| (family, opening.preserved.contains(&family)));
    let f_bits: Vec<(Family, bool)> = f_bits.collect();
    let graceful_restart = config.restart.map(|restart| GracefulRestart {
        restarted: opening.restarted,
        notification: true,
        time: u16::try_from(restart.time.as_secs()).unwrap_or(u16::MAX),
        families: f_bits.iter().copied().collect(),
    });
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let long_lived = config.restart.map(|restart| seconds(restart.long_lived));
    let long_lived = long_lived.filter(|time| *time != 0).map_or_else(BTreeMap::new, |time| {
        f_bits.iter().map(|(family, preserved)| (*family, (*preserved, time))).collect()
    });
    Capabilities {
        route_refresh: true,
        extended_next_hop: true,
        extended_message: true,
        roles: config.role.iter().map(|role| role.number()).collect(),
        graceful_restart,
        four_octet_asn: Some(config.local_asn),
        enhanced_route_refresh: true,
        long_lived,
        host_name: opening.host_name.clone(),
        // draft-ietf-idr-bgp-bfd-strict-mode-19 §6
        bfd_strict: config.bfd_strict,
        ..Capabilities::of_families(&config.families)
    }
}

/// RFC 4271 §6.2: is this the peer that was configured, and what have we in common?
pub(super) fn negotiate(
    config: &Config,
    opening: &Opening,
    open: &Open,
) -> Result<Session, OpenError> {
    check_asn(config, open.asn)?;
    let local_asn = config.local_asn;
    let internal = open.asn == local_asn;
    if internal && open.router_id == opening.router_id {
        return Err(OpenError::BadBgpIdentifier(open.router_id, "also ours (RFC 6286 §2.2)"));
    }
    let ours = offer(config, opening).capabilities;
    let theirs = &open.capabilities;
    check_role(config.role, &theirs.roles)?;
    let in_common = |family: &Family| {
        config.families.contains(family) && ours.families().any(|other| other == *family)
    };
    let families: Vec<Family> = theirs.families().filter(in_common).collect();
    if families.is_empty() {
        let offered = name_families(&theirs.multiprotocol);
        let own = ours.families().map(|family| family.to_string()).collect::<Vec<_>>();
        let text = format!("the peer offers {offered}, we offer {}", own.join(" and "));
        return Err(OpenError::UnsupportedCapability(text, config.families.clone()));
    }
    let hold_time = config.hold_time.min(Duration::from_secs(open.hold_time.into()));
    let third = hold_time / 3;
    let marks = config.role.is_some_and(Role::marks_routes);
    Ok(Session {
        hold_time,
        keepalive_time: config.keepalive_time.map_or(third, |time| time.min(third)),
        families,
        encoding: Encoding {
            four_octet_asn: ours.four_octet_asn.is_some() && theirs.four_octet_asn.is_some(),
            internal,
            extended_message: ours.extended_message && theirs.extended_message,
            extended_next_hop: ours.extended_next_hop && theirs.extended_next_hop,
            only_to_customer: (marks && !internal).then_some(local_asn),
        },
        route_refresh: theirs.route_refresh,
        enhanced_route_refresh: ours.enhanced_route_refresh && theirs.enhanced_route_refresh,
        graceful_restart: ours.graceful_restart.and(theirs.graceful_restart.clone()),
        remote_asn: open.asn,
        remote_router_id: open.router_id,
        remote_host_name: theirs.host_name.clone(),
        bfd_strict: ours.bfd_strict && theirs.bfd_strict,
    })
}

fn check_asn(config: &Config, received: Asn) -> Result<(), OpenError> {
    let local_asn = config.local_asn;
    let expected = match config.remote_asn {
        RemoteAsn::Number(asn) if asn == received => None,
        RemoteAsn::Number(asn) => Some(asn.to_string()),
        RemoteAsn::External if received != local_asn => None,
        RemoteAsn::External => Some(format!("\"external\" (not {local_asn})")),
        RemoteAsn::Internal if received == local_asn => None,
        RemoteAsn::Internal => Some(format!("\"internal\" ({local_asn})")),
    };
    if let Some(expected) = expected {
        return Err(OpenError::BadPeerAs { received, expected });
    }
    if received == Asn(0) {
        let expected = "an AS number (RFC 7607)".into();
        return Err(OpenError::BadPeerAs { received, expected });
    }
    Ok(())
}

/// RFC 9234 §4.2. A peer that says nothing about roles need not agree with ours.
fn check_role(ours: Option<Role>, theirs: &BTreeSet<u8>) -> Result<(), OpenError> {
    let Some(ours) = ours else { return Ok(()) };
    let expected = ours.counterpart();
    if theirs.iter().all(|number| *number == expected.number()) {
        return Ok(());
    }
    let name = |number: &u8| match Role::from_number(*number) {
        Some(role) => format!("\"{role}\""),
        None => format!("role {number}"),
    };
    let received = a_few(theirs.iter().map(name)).join(" and ");
    Err(OpenError::RoleMismatch { ours, expected, received })
}

/// Families by their numbers.
fn name_families(families: &[(u16, u8)]) -> String {
    let names = families.iter().map(|(afi, safi)| format!("AFI {afi} SAFI {safi}"));
    let mut names = a_few(names);
    if names.is_empty() {
        // RFC 4760 §8: what a peer that names none can do
        names.push("IPv4 unicast".into());
    }
    names.join(", ")
}

/// Hundreds of names fit into an OPEN, and a few into a line of the log.
fn a_few(mut names: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let mut few: Vec<String> = names.by_ref().take(8).collect();
    if names.len() != 0 {
        few.push(format!("{} more", names.len()));
    }
    few
}
