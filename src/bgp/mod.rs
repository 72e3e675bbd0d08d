//! BGP-4 (RFC 4271) as a host speaks it: routes go out, and only such are taken in as were asked for.
//!
//! # Pieces
//!
//! * [`wire`]: messages and their octets; no state.
//! * [negotiation](self): what we offer in our OPEN, and what it comes to with the peer's.
//! * [`connection`]: the state machine of one TCP connection, from OpenSent on.
//! * [`peer`]: one configured router: when to connect ([retry](self)), which of two connections
//!   survives, what BFD's verdict means, what the router is sent, whether it takes that
//!   ([send_hold](self)), and whether anything can reach us ([cut_off](self)). What it asks for and
//!   tells is in [`event`].
//! * [`adj_rib_out`]: what a router should have and what it has; UPDATEs are the difference.
//! * [`accept`], [`adj_rib_in`], [`decision`]: which routes are taken in from a router, what it has
//!   announced of them, and which of several routes to a prefix are used.
//! * [`history`]: what became of a peer's sessions and attempts, and what of it was told.
//! * [`down`]: why a session ended or did not come up, in one type.
//! * [`transport`]: where a router is, as data; [`socket`] and [`driver`] make TCP of it.
//!
//! # Both directions
//!
//! *In*: the driver reads octets in whatever pieces they come; [`connection::Connection`] cuts
//! messages out of them, checks them and reports events; [`peer::Peer`] acts on those and reports
//! the few that the owner must know. UPDATEs are decoded, with the error handling of RFC 7606, and
//! counted; where the configuration has `accept`, the owner feeds them to an
//! [`adj_rib_in::AdjRibIn`], elsewhere their routes are not kept.
//!
//! *Out*: the owner sets what a peer should have. Nothing is built until the connection's writer
//! has room; then [`peer::Peer::poll_transmit`] takes from the connection what it has to say, and
//! from the Adj-RIB-Out as many UPDATEs as fit into a chunk. What cancels out before that is never
//! sent. A router that does not read holds up nobody but itself.
//!
//! # Supported standards
//!
//! * RFC 4271 BGP-4; RFC 6286 AS-wide unique identifiers; RFC 6608 FSM error subcodes
//! * RFC 4760, RFC 2545 IPv6 unicast beside IPv4 unicast, over either
//! * RFC 5492, RFC 9072 capabilities, in optional parameters of either length; left out for a peer
//!   that refuses them
//! * RFC 6793 four-octet AS numbers, AS_TRANS and AS4_PATH towards peers without
//! * RFC 1997, RFC 4360, RFC 5668, RFC 8092 communities: standard, extended and large ones
//! * RFC 10005 link bandwidth, for the weight of a service
//! * RFC 2918, RFC 7313 route refresh, answered with its beginning and end, and asked for where a
//!   filter was widened
//! * RFC 8654 extended messages; RFC 8950 IPv4 routes with an IPv6 next hop
//! * RFC 4007 sessions between link-local addresses, "unnumbered" where the router is found by its
//!   router advertisements (RFC 4861)
//! * RFC 9234 roles and Only to Customer; draft-walton-bgp-hostname-capability
//! * RFC 4724, RFC 8538 graceful restart of either side, with End-of-RIB once everything is known
//!   and a hard reset at the end; RFC 9494 long-lived stale routes, offered
//! * RFC 4271 §9.1 the decision process, equal routes together; §6.7 a bound on their number
//! * RFC 4486, RFC 9003, RFC 9384 Cease: subcodes, shutdown communication, BFD Down
//! * RFC 7606 error handling of UPDATEs: all of it for the attributes of the RFCs named here and of
//!   RFC 4456, "session reset" where "AFI/SAFI disable" could be chosen; RFC 7607 AS 0. What each
//!   defect of each attribute costs is a table in `tests/hostile/rfc7606`
//! * RFC 2385 TCP MD5 signatures; RFC 5925 and 5926 TCP-AO, as the kernel has them; RFC 5082 GTSM
//!   (`ttl-security`)
//! * RFC 5882 what BFD means to BGP; draft-ietf-idr-bgp-bfd-strict-mode-19, sessions that wait for
//!   BFD whether the peer does or not
//! * RFC 9687 send hold timer, which watches what the router's TCP acknowledges
//!
//! # Not implemented
//!
//! * RFC 7313 as the one who asks: the end of a refresh sweeps nothing, withdrawals come by themselves
//! * RFC 4271 §6.3 for a well-known attribute that nobody knows: in place of a reset its routes are
//!   treated as withdrawn, as for any other that is wrong; the next session would bring it again
//! * RFC 7606 §6, to log the whole of a malformed UPDATE: a peer could fill the log with it. The
//!   attribute and what is wrong with it are told, once a session, and UPDATEs are counted
//! * RFC 9234 §5 for received routes: their Only to Customer is not looked at, but for its length.
//!   What is learned is announced to nobody
//! * AS4_PATH of received routes: a two-octet peer's path is read as it stands
//! * DelayOpen, and MinRouteAdvertisementInterval: a withdrawal is a health signal
//! * Confederations and route reflection: a host is neither
pub mod accept;
pub mod adj_rib_in;
pub mod adj_rib_out;
pub mod authentication;
pub mod connection;
mod cut_off;
pub mod decision;
pub mod down;
pub mod driver;
pub mod event;
pub mod history;
mod negotiation;
mod pair;
pub mod peer;
mod retry;
mod send_hold;
mod signature;
pub mod socket;
pub mod timer;
pub mod transport;
pub mod wire;

pub use pair::Serial;

#[cfg(test)]
mod tests;
