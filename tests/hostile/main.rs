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
//! | `bfd` | Control packets that are wrong or not the router's (RFC 5880 §6.8.6, RFC 5881 §5) |
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "these tests are the router: they have sockets, wait, and look into JSON"
)]

mod bfd;
mod case;
mod connection;
mod flood;
mod fsm;
mod header;
mod message;
mod notification;
mod open;
mod rfc7606;
mod stage;
mod transport;
mod update;

use std::time::Duration;

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(60);
