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

use crate::route::PeerName;
use crate::speaker::routes::Snapshot;
use crate::speaker::status::Status;

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
    /// Read the configuration again; the answer comes when it is in force, or says why it is not
    Reload(oneshot::Sender<Result<(), String>>),
}
