//! How `vipcast` and others talk to the daemon: a D-Bus interface, spoken peer to peer over a Unix
//! socket in the runtime directory, so that it works where no bus runs.
//!
//! `Describe` returns a JSON document, as the methods of that name of systemd's own daemons do;
//! [`Status`] is its schema. `Routes` does so for one peer at a time, with
//! [`PeerRoutes`](crate::speaker::routes::PeerRoutes), and `Bfd` with a list of
//! [`PeerBfd`](crate::speaker::bfd::PeerBfd). Anybody on the host may ask; only root and the daemon's own
//! user may change anything.
pub mod client;
pub mod render;
pub mod server;

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::route::{PeerName, ServiceName};
use crate::service::admin::{Keep, Mode};
use crate::speaker::routes::Snapshot;
use crate::speaker::status::{ServiceStatus, Status};

/// The object that is served.
pub const PATH: &str = "/org/vipcast1";

/// Where the socket is.
#[must_use]
pub fn socket_path(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("control")
}

/// The kernel's limit for a socket's path is 108 octets with the NUL (unix(7)).
fn check_length(path: &Path) -> io::Result<()> {
    const MOST: usize = 107;
    let length = path.as_os_str().len();
    if length <= MOST {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "its path is too long for a socket ({length} octets, at most {MOST}); choose a \
             shorter runtime directory"
        ),
    ))
}

/// What a client asks of the owner.
#[derive(Debug)]
pub enum Request {
    /// What is the daemon like?
    Describe(oneshot::Sender<Box<Status>>),
    /// How are the peers called?
    Peers(oneshot::Sender<Vec<PeerName>>),
    /// What has a peer been sent? Nothing is answered about one that there is not
    Routes(PeerName, oneshot::Sender<Option<Box<Snapshot>>>),
    /// End the session with this peer, tell it this text, and begin another; whether there is such a
    /// peer
    Reset(PeerName, String, oneshot::Sender<bool>),
    /// What is this service like? Nothing is answered about one that there is not
    DescribeService(ServiceName, oneshot::Sender<Option<Box<ServiceStatus>>>),
    /// Probe all checks now, or those of one service; the answer is the time, or nothing if there is no
    /// such service
    Probe(Option<ServiceName>, oneshot::Sender<Option<String>>),
    /// Do that with a service; the answer comes when it will not be forgotten
    Administer(ServiceName, Administration, oneshot::Sender<Result<(), Refusal>>),
    /// Read the configuration again; the answer comes when it is in force, or says why it is not
    Reload(oneshot::Sender<Result<(), String>>),
}

/// What an operator may do with a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Administration {
    /// Take it out, for so long and this reason
    TakeOut(Mode, Keep, Option<String>),
    /// Undo that; a drain leaves a service alone that is down
    Undo(Mode, Keep),
    /// Hold it down no longer for having flapped
    Release,
}

/// Why that was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is no such service; there are these
    NoService(Vec<ServiceName>),
    /// It cannot be done, for this reason
    Failed(String),
}
