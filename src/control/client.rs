//! Asks the daemon.
#![expect(clippy::disallowed_methods, reason = "driver: sockets and timers")]

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use zbus::{fdo, proxy};

use super::{check_length, socket_path};
use crate::route::PeerName;
use crate::speaker::bfd::PeerBfd;
use crate::speaker::routes::PeerRoutes;
use crate::speaker::status::Status;
use crate::sys;

/// The daemon answers at once, or not at all; a reload reads files first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the daemon could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens
    #[error(
        "vipcastd is not running: nothing answers on {path} ({})\n\
        start it with: systemctl start vipcast",
        sys::describe(error)
    )]
    NotRunning {
        /// The socket
        path: String,
        /// What connecting to it said
        error: io::Error,
    },
    /// We may not ask, or there is no way to ask
    #[error("{path}: {}", sys::describe(error))]
    NoAccess {
        /// The socket
        path: String,
        /// What connecting to it said
        error: io::Error,
    },
    /// It refused
    #[error("{0}")]
    Refused(String),
    /// There is no such peer, or not any more
    #[error("{0}")]
    NoPeer(String),
    /// It did not answer
    #[error("vipcastd does not answer: {0}")]
    NoAnswer(String),
}

#[proxy(
    interface = "org.vipcast1.Manager",
    default_service = "org.vipcast1",
    default_path = "/org/vipcast1"
)]
trait Manager {
    fn describe(&self) -> zbus::Result<String>;
    fn peers(&self) -> zbus::Result<Vec<String>>;
    fn routes(&self, peer: &str) -> zbus::Result<String>;
    fn bfd(&self) -> zbus::Result<String>;
    fn reset(&self, peer: &str, text: &str) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
}

/// The daemon's status, as the JSON document it sent and as data.
///
/// # Errors
///
/// When it cannot be asked.
pub async fn describe(runtime_directory: &Path) -> Result<(String, Status), Error> {
    let manager = connect(runtime_directory).await?;
    let json = within(manager.describe()).await?;
    let status = understood(&json)?;
    Ok((json, status))
}

fn understood<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json)
        .map_err(|error| Error::NoAnswer(format!("it is of another version ({error})")))
}

/// What one peer, or each, has been sent and what not. The daemon is asked peer by peer, so each
/// answer is about a moment of its own.
///
/// # Errors
///
/// When it cannot be asked, or there is no such peer.
pub async fn routes(
    runtime_directory: &Path,
    only: Option<PeerName>,
) -> Result<Vec<PeerRoutes>, Error> {
    let manager = connect(runtime_directory).await?;
    let peers = within(manager.peers()).await?;
    if let Some(name) = &only {
        must_be_there(name, &peers)?;
    }
    let mut all = Vec::new();
    for peer in peers.iter().filter(|p| only.as_ref().is_none_or(|name| *p == name.as_ref())) {
        match within(manager.routes(peer)).await {
            Ok(json) => all.push(understood(&json)?),
            Err(Error::NoPeer(_)) => {} // a reload took it away just now
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What the BFD session of one peer, or of each that has one, is like.
///
/// # Errors
///
/// When it cannot be asked, or the peer has no BFD.
pub async fn bfd(runtime_directory: &Path, only: Option<PeerName>) -> Result<Vec<PeerBfd>, Error> {
    let manager = connect(runtime_directory).await?;
    let mut all: Vec<PeerBfd> = understood(&within(manager.bfd()).await?)?;
    if let Some(name) = only {
        must_be_there(&name, &within(manager.peers()).await?)?;
        all.retain(|peer| peer.name == name);
        if all.is_empty() {
            return Err(Error::Refused(format!("peer {name} has no BFD")));
        }
    }
    Ok(all)
}

fn must_be_there(name: &PeerName, peers: &[String]) -> Result<(), Error> {
    let is_there = peers.iter().any(|peer| peer == name.as_ref());
    let text = || format!("no peer {name}; there are: {}", peers.join(", "));
    is_there.then_some(()).ok_or_else(|| Error::Refused(text()))
}

/// Lets the daemon end its session with a peer, which is told this text, and begin another.
///
/// # Errors
///
/// When it cannot be asked, there is no such peer, or we may not ask for that.
pub async fn reset(runtime_directory: &Path, peer: &PeerName, text: &str) -> Result<(), Error> {
    let manager = connect(runtime_directory).await?;
    must_be_there(peer, &within(manager.peers()).await?)?;
    within(manager.reset(peer.as_ref(), text)).await
}

/// Lets the daemon read its configuration again, and waits until it is in force.
///
/// # Errors
///
/// When it cannot be asked, or what is wrong with the configuration.
pub async fn reload(runtime_directory: &Path) -> Result<(), Error> {
    within(connect(runtime_directory).await?.reload()).await
}

async fn connect(runtime_directory: &Path) -> Result<ManagerProxy<'static>, Error> {
    let path = socket_path(runtime_directory);
    let stream =
        check_length(&path).and_then(|()| UnixStream::connect(&path)).map_err(|error| {
            let path = path.display().to_string();
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) {
                Error::NoAccess { path, error }
            } else {
                Error::NotRunning { path, error }
            }
        })?;
    let proxy = async {
        let connection = zbus::connection::Builder::unix_stream(stream).p2p().build().await?;
        ManagerProxy::new(&connection).await
    };
    within(proxy).await
}

async fn within<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(zbus::Error::FDO(error))) => Err(refusal(*error)),
        Ok(Err(error)) => Err(Error::NoAnswer(error.to_string())),
        Err(_) => Err(Error::NoAnswer(format!("nothing came within {PATIENCE:?}"))),
    }
}

fn refusal(error: fdo::Error) -> Error {
    if let fdo::Error::Failed(text) | fdo::Error::AccessDenied(text) = error {
        Error::Refused(text)
    } else if let fdo::Error::InvalidArgs(text) = error {
        Error::NoPeer(text)
    } else {
        Error::NoAnswer(error.to_string())
    }
}
