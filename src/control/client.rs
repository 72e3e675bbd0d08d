//! Asks the daemon.
#![expect(clippy::disallowed_methods, reason = "driver: sockets and timers")]

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zbus::{fdo, proxy};

use super::{check_length, socket_path};
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
    let status = serde_json::from_str(&json)
        .map_err(|error| Error::NoAnswer(format!("it is of another version ({error})")))?;
    Ok((json, status))
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
    } else {
        Error::NoAnswer(error.to_string())
    }
}
