//! Bidirectional Forwarding Detection (RFC 5880): is the path to the router alive, to within
//! milliseconds?
//!
//! # Pieces
//!
//! * [`authentication`]: signatures of packets, and the change of a key.
//! * [`packet`]: the Control packet and its octets; no state.
//! * [`session`]: the state machine and timers of one session.
//! * [`sessions`]: all of them; which one a datagram belongs to, or why it is dropped; which one is
//!   next, by their `schedule`.
//! * [`echo`]: packets to ourselves that the router sends back.
//! * [`diagnosis`]: what is wrong with one that does not come up, in words.
//! * [`driver`]: the thread, with `receivers` for what it reads from: `socket` for what UDP needs, `echo/socket`
//!   for Echo packets; with `arrival` for when a datagram came and `alarm` for its deadlines.
//!
//! # Threads
//!
//! BFD is the only part of the daemon besides the owner that owns state, and it shares none of it.
//! Its thread has sockets and a queue of commands of its own and runs at real-time priority where
//! that is allowed, so that neither a TLS handshake nor a busy host delays a packet. It writes no
//! log and waits for nobody: what it has to tell goes into a channel or stays until there is room.
//!
//! # What it means
//!
//! A session that had been Up and fails takes the BGP session with it at once. One that never came
//! up, or that the router's operator took down (AdminDown), does not (RFC 5882 §4); where the
//! configuration says `strict`, a session that is yet to come waits for the former.
//!
//! # Supported standards
//!
//! * RFC 5880 asynchronous and demand mode of either end, active and passive role, Poll Sequences, slow
//!   start, all discards of §6.8.6, all authentication of §6.7
//! * RFC 5881 single hop over IPv4 and IPv6: TTL 255 sent and demanded, source ports of §4
//! * RFC 5883 multihop, on its own port, with a minimum TTL
//! * RFC 5882 meaning to BGP, also in a router's graceful restart
//! * RFC 5880 §6.4 the Echo function of either end, where the router is on the same link; a host that
//!   forwards offers the router none, since its firewall may drop them
//! * RFC 9747 unaffiliated Echo: the router has no BFD
//! * RFC 7419 common intervals: any from 3 ms to a minute can be had
//!
//! # Not as it is written
//!
//! * RFC 5881 §4 wants a source of Echo packets that is not of the link's subnet, so that the router
//!   sends no redirects. Ours is the address that they come back to, which passes a reverse path check;
//!   routers are to be told to send no redirects (the man page says so).
mod alarm;
mod arrival;
pub mod authentication;
pub mod diagnosis;
pub mod discard;
pub mod driver;
pub mod echo;
pub mod pace;
pub mod packet;
mod reader;
mod receivers;
mod schedule;
pub mod session;
pub mod sessions;
mod socket;

#[cfg(test)]
mod tests;
