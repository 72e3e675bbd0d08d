//! What is worth a line in the log, as data: the owner decides what to say, a driver says it.
use std::fmt;
use std::net::IpAddr;

use crate::route::{CheckName, PeerName, ServiceName};

/// How much it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Only when something is being looked for
    Debug,
    /// A change that was meant to happen
    Info,
    /// A change that was not
    Warn,
    /// Something that does not work
    Error,
}

/// One line of the log, with the fields that `journalctl PEER=tor1` and the like go by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// How much it matters
    pub level: Level,
    /// The whole line
    pub message: String,
    /// PEER=
    pub peer: Option<PeerName>,
    /// SERVICE=
    pub service: Option<ServiceName>,
    /// CHECK=
    pub check: Option<CheckName>,
    /// PREFIX=
    pub prefix: Option<IpAddr>,
    /// REASON=
    pub reason: Option<String>,
}

impl Notice {
    /// A line without fields.
    #[must_use]
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { level, message, peer: None, service: None, check: None, prefix: None, reason: None }
    }

    /// About this peer; its name goes in front.
    #[must_use]
    pub fn peer(level: Level, peer: &PeerName, message: impl fmt::Display) -> Self {
        Self { peer: Some(peer.clone()), ..Self::new(level, format!("peer {peer}: {message}")) }
    }

    /// About this service; its name goes in front.
    #[must_use]
    pub fn service(level: Level, service: &ServiceName, message: impl fmt::Display) -> Self {
        let message = format!("service {service}: {message}");
        Self { service: Some(service.clone()), ..Self::new(level, message) }
    }

    /// For this reason; it is put behind the message.
    #[must_use]
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        self.message = format!("{}: {reason}", self.message);
        self.reason = Some(reason);
        self
    }
}
