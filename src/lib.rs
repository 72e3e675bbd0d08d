//! vipcast announces the VIPs of healthy local services to the routers.
//!
//! One daemon per host checks local services ([`check`]), decides which of them deserve their VIPs
//! ([`service`]), puts these on an interface ([`netlink`]), works out which routes each router
//! should have ([`rib`]) and tells it over BGP ([`bgp`]), while BFD ([`bfd`]) watches the path. Routers
//! that are known by an interface alone find this host by its advertisements ([`ndp`]). What
//! systemd does with a service's unit is known before any check could tell ([`units`]).
//! [`speaker`] owns all of that as one state machine; [`daemon`] runs it. [`config`] is what the
//! operator wrote, [`secret`] what it only points at, and [`process`] runs the programs that are named
//! there. [`control`] and [`metrics`] are how one looks at it, [`route`] holds the words that all of
//! them share.
//!
//! # Cores and drivers
//!
//! Everything that decides anything is a *core*: it is told the time, given its randomness, and does
//! no I/O. Cores have four kinds of methods:
//!
//! ```text
//! new(config, seed, now)                 begin
//! handle_x(…, now), handle_timeout(now)  something happened
//! state() and other looks                what is it like?
//! poll_x(now), poll_timeout()            what is to be done about it, and when next?
//! ```
//!
//! The contract: after each `handle_*`, drain the `poll_*` methods until they return nothing, then
//! sleep until `poll_timeout`. Calling `handle_timeout` too early or too often is harmless.
//!
//! A *driver* is the file that does the I/O for a core: wait, feed, drain. Only drivers, and the
//! single files that say so in their first lines, may touch sockets, files, clocks, threads and
//! tasks; clippy and `tests/layering.rs` see to it.
pub mod bfd;
pub mod bgp;
pub mod check;
pub mod config;
pub mod control;
pub mod daemon;
pub mod metrics;
pub mod ndp;
pub mod netlink;
pub mod process;
pub mod rib;
pub mod route;
pub mod secret;
pub mod service;
pub mod speaker;
mod sys;
pub mod units;
