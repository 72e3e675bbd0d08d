//! The lab: network namespaces with real routers, for tests, the demo and benchmarks.
//!
//! From the ground up:
//!
//! * [`site`] is one lab on this machine and owns everything in it,
//! * [`netns`] a machine, [`link`] a cable, [`process`] what runs on a machine,
//! * [`router`] is BIRD, FRR or GoBGP in one set of words, [`nginx`] a service, [`daemon`] vipcastd
//!   with its [`configuration`], [`announcer`] BIRD in its place,
//! * [`container`] boots systemd on a machine, from a root file system of [`debian`]; [`guest`]
//!   boots a kernel of its own from another,
//! * [`fabric`] puts them together: ToRs, [`host`]s and a [`client`],
//! * [`fault`] breaks it and [`outage`] kills a host, [`watch`] sees what the kernel's routes do and
//!   [`ecmp`] which hosts have a VIP, [`wait`] waits for the rest,
//! * [`responder`] is a service that knows when it answered, [`tap`] sees connections come about,
//!   [`resources`] tells what a process uses, and [`samples`] sums up what was measured.
//!
//! Needs root. Everything is gone when the values are dropped, and also when the process dies.

pub mod announcer;
mod cache;
pub mod client;
pub mod configuration;
pub mod container;
pub mod daemon;
pub mod debian;
pub mod ecmp;
pub mod fabric;
pub mod fault;
pub mod guest;
pub mod host;
mod initramfs;
pub mod link;
pub mod netns;
pub mod nginx;
pub mod outage;
pub mod process;
pub mod resources;
pub mod responder;
pub mod router;
pub mod samples;
pub mod site;
pub mod tap;
pub mod wait;
pub mod watch;

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
