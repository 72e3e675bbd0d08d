//! vipcastd with a hostile router at the other end: what it must not do is fall over, or let the
//! other router notice.
//!
//! The hostile router is a script on plain sockets in a router's namespace; the other router is a
//! BIRD with a session and BFD of its own. After every case the daemon runs on, BIRD has kept its
//! session and its route, and the next clean session with the hostile router comes up and gets the
//! routes. Each answer is read off the wire; why it was given is read from the log and the status.
//!
//! | file | what |
//! |---|---|
//! | `stage` | the fabric, the daemon, and the checks that end every case |
//! | `connection` | one TCP connection of the hostile router, and the way into each state |
//! | `message` | octets, right and wrong |
//! | `case` | a row of a table: what is sent, and what answers it |
//! | `header`, `open`, `update` | messages that are wrong in themselves, or odd (RFC 4271 §6) |
//! | `rfc7606` | what each defect of each attribute costs: a table, for the decoder and the daemon |
//! | `fsm` | messages and ends of connections in every state, and in any number of pieces |
//! | `notification` | what the peer says last, and what the log makes of it |
//! | `flood` | too much of everything |
//! | `transport` | silence, closed windows, passwords, refusals, and a router that never learns |
//! | `path` | addresses and interfaces that go, routers without memory, forged segments |
//! | `corpus` | all of these messages and the fuzzer's, fed to what the fuzzer runs; without a daemon |
//! | `bfd` | BFD: packets that are wrong or not the router's, sessions and keys, and all that in floods |
//!
//! Together they are the ways that we know of in which a peer, or whoever reaches the port, has
//! brought down or misled a BGP or BFD speaker: each length, count, type and flag of a message that
//! can be wrong, by one and by far, in each state; junk of attributes, capabilities and families
//! that were not agreed on; more of everything than can be wanted; forged and half-open connections;
//! and a path that is cut at every place. What takes hours is told in `tests/simulation`: how attempts
//! are put off, restarts, routes that change while nobody reads. Real routers are in `tests/interop`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "these tests are the router: they have sockets, wait, and look into JSON"
)]

mod bfd;
mod case;
mod connection;
mod corpus;
mod flood;
mod fsm;
mod header;
mod message;
mod notification;
mod open;
mod path;
mod rfc7606;
mod stage;
mod transport;
mod update;

use std::time::Duration;

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(60);
