//! Is a local service healthy? A [`Check`] is the definition, a probe one execution of it, an
//! [`Outcome`] its result. What follows from outcomes is decided in `service/`.
//!
//! A kind of probe is one file and one line in the table of [`Probe`], and the same on the side of
//! the configuration (`KINDS` in `config/check/`). Probes run on a thread of their own, so that a
//! TLS handshake never delays a withdrawal; the [`schedule`] says when each is due.
//!
//! A target is an address, never a name to be resolved: a health check that depends on DNS fails
//! with it.
pub mod dns;
pub mod driver;
pub mod exec;
pub mod file;
pub mod http;
pub mod schedule;
pub mod socket;
pub mod tcp;
pub mod tls;
pub mod trust;
pub mod udp;
pub mod unit;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::route::{CheckName, ServiceName};
use crate::sys;
use driver::Wake;

/// How late a probe may be on a host that is overloaded and yet at work.
const BUSY: Duration = Duration::from_secs(10);

/// What is probed, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// The kind and its target
    pub probe: Probe,
    /// A probe that takes longer has failed
    pub timeout: Duration,
    /// When probes are due
    pub pace: schedule::Pace,
}

impl Check {
    /// For how long an outcome is worth something when no other follows: several intervals, and
    /// more than what a busy host may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.pace.longest() * 3 + self.timeout + BUSY
    }
}

/// Makes of the table of kinds all that must know each of them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($kind:ty)),+ $(,)?) => {
        /// Every kind of probe.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum Probe {
            $($(#[$doc])* $name(Box<$kind>)),+
        }

        impl Probe {
            fn kind(&self) -> &dyn Kind {
                match self {
                    $(Self::$name(kind) => &**kind),+
                }
            }
        }

        $(impl From<$kind> for Probe {
            fn from(kind: $kind) -> Self {
                Self::$name(Box::new(kind))
            }
        })+
    };
}

kinds! {
    /// A request, and an answer to be judged
    Http(http::Http),
    /// A connection, and perhaps an exchange over it
    Tcp(tcp::Tcp),
    /// A datagram that is answered
    Udp(udp::Udp),
    /// A certificate
    Tls(tls::Tls),
    /// A question about a name
    Dns(dns::Dns),
    /// A file that is there or is not
    File(file::File),
    /// A unit of systemd
    Unit(unit::Unit),
    /// A program that says so
    Exec(exec::Exec),
}

impl Probe {
    /// The addresses that this host must have for it.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.kind().addresses()
    }

    /// Whether it tells what it runs about its service ([`driver::Command::Tell`]).
    #[must_use]
    pub fn follows_service(&self) -> bool {
        self.kind().follows_service()
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

/// What the file of a kind has. `Display` is how the status shows it: "tcp 203.0.113.5:80".
trait Kind: fmt::Display {
    /// The addresses that this host must have for it.
    fn addresses(&self) -> Vec<IpAddr>;

    /// Whether it has to be told of its service.
    fn follows_service(&self) -> bool {
        false
    }

    /// Makes what all its probes need. With `wake` a probe can be had before it is due.
    ///
    /// # Errors
    ///
    /// When that cannot be had; every probe has failed then.
    fn prepare(&self, shared: &mut Shared, wake: Wake) -> Result<Box<dyn Run>, Failure>;
}

/// What is made of a [`Kind`], ready to be run.
trait Run: Send + Sync {
    /// Runs one probe. It can be dropped at any time, when its own is over.
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a>;
}

/// A probe under way.
type Probing<'a> = BoxFuture<'a, Result<(), Failure>>;

/// What probes of one kind share.
#[derive(Debug, Default)]
struct Shared {
    clients: http::Clients,
    verifiers: trust::Verifiers,
    watcher: watch::Watcher,
    units: unit::Watcher,
    services: driver::Services,
}

/// Which check.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CheckId {
    /// Of which service
    pub service: ServiceName,
    /// Its name there
    pub check: CheckName,
}

/// The result of one probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Healthy, or why not
    pub result: Result<(), Failure>,
    /// When the probe began
    pub started: Instant,
    /// When its result was known
    pub finished: Instant,
}

/// Why a probe failed: one line, fit for a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure(String);

impl Failure {
    /// The longest text that is kept.
    const MAX: usize = 200;

    /// Takes what a program or a server may have had a hand in: control characters are replaced,
    /// and what is too long is cut.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        let printable = text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c });
        Self(printable.take(Self::MAX).collect())
    }

    /// What the kernel refused.
    fn io(what: &str, error: &io::Error) -> Self {
        Self::new(format!("{what}: {}", sys::describe(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a probe has come, for the case that its time runs out.
#[derive(Debug, Default)]
enum Progress {
    /// Nothing has been heard
    #[default]
    Silence,
    /// So many octets of an answer that has an end
    Octets(usize),
    /// Something else than what is expected
    Mismatch(String),
}

/// The start of what a server said, with all escaped that is no text.
fn quoted(octets: &[u8]) -> String {
    const MOST: usize = 64;
    let octets = octets.get(..MOST).unwrap_or(octets);
    match octets.utf8_chunks().next() {
        // Of a text that is cut, the end may be missing.
        Some(start) if start.invalid().len() + start.valid().len() == octets.len() => {
            format!("{:?}", start.valid())
        }
        None => "\"\"".into(),
        Some(_) => format!("\"{}\"", octets.escape_ascii()),
    }
}
