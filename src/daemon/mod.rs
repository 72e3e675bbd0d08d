//! The life of the process: starts the threads, then is the owner's loop until it is told to stop.
//!
//! ```text
//! main     the owner: Speaker, BGP sockets, netlink
//! bfd      BFD sessions, real-time priority where allowed
//! checks   probes
//! hooks    programs that services have told, once there are some to be run
//! control  D-Bus interface and metrics
//! log      writes the log
//! notify   tells systemd
//! ```
//!
//! Facts come in over bounded channels. Wishes go out over unbounded ones: there are never more of
//! them than the configuration has things to wish for, and the owner must not wait for anybody.
#![expect(clippy::disallowed_methods, reason = "driver: clock, threads and files")]

mod administration;
mod hooks;
mod journal;
mod owner;
mod store;
mod systemd;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;

use crate::config;
use crate::{bfd, check, control, metrics, sys};
use journal::Log;
use owner::Owner;

/// Facts that may wait for the owner, of each kind.
const QUEUE: usize = 1024;
/// Where the configuration is.
pub const CONFIG: &str = "/etc/vipcast/vipcast.toml";
/// Where the control socket is, unless `RUNTIME_DIRECTORY` says otherwise.
const RUNTIME_DIRECTORY: &str = "/run/vipcast";

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong: exit status 78, `EX_CONFIG` of sysexits(3)
    #[error("{0}")]
    Config(#[from] config::Error),
    /// The system does not give us what we need
    #[error("error: {what}: {}", sys::describe(error))]
    System {
        /// What was tried
        what: String,
        /// How it failed
        error: io::Error,
    },
}

/// The runtime directory: what systemd made for the service, or the default.
#[must_use]
pub fn runtime_directory() -> PathBuf {
    let given = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
    // Several are separated by colons (systemd.exec(5)); the first is ours.
    match given.split(':').next() {
        Some(first) if !first.is_empty() => first.into(),
        _ => RUNTIME_DIRECTORY.into(),
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// When it cannot start.
pub fn run(config_path: &Path) -> Result<(), Error> {
    let config = config::load(config_path)?;
    let system = |what: &str| {
        let what = what.to_owned();
        move |error| Error::System { what, error }
    };
    let runtime = runtime_directory();
    make_directory(&runtime).map_err(system(&format!("cannot make {}", runtime.display())))?;
    let socket = control::socket_path(&runtime);
    let control_listener = control::server::bind(&socket)
        .map_err(system(&format!("cannot listen on {}", socket.display())))?;
    check::trust::install_provider();

    let log = Log::start(config.log_level).map_err(system("cannot start a thread"))?;
    let manager = systemd::Manager::start().map_err(system("cannot start a thread"))?;
    let mut random = fastrand::Rng::new();
    let (bfd_events, from_bfd) = mpsc::channel(QUEUE);
    let bfd = bfd::driver::spawn(random.u64(..), bfd_events)
        .map_err(system("cannot start the BFD thread"))?;
    raise_descriptor_limit();
    let (reports, from_checks) = mpsc::channel(QUEUE);
    let checks = check::driver::spawn(random.u64(..), reports)
        .map_err(system("cannot start the check thread"))?;
    let (requests, from_clients) = mpsc::channel(QUEUE);
    let metrics = spawn_control(control_listener, requests, bfd.clone())
        .map_err(system("cannot start the control thread"))?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("cannot start the event loop"))?;
    let links = owner::Links {
        log: log.clone(),
        manager,
        metrics,
        bfd,
        checks,
        from_bfd,
        from_checks,
        from_clients,
    };
    let ended = runtime.block_on(async {
        let owner = Owner::start(config, config_path.to_owned(), random.u64(..), links)?;
        owner.run().await
    });
    // Left behind, it would only be in the way of the next start.
    let _ = std::fs::remove_file(&socket);
    log.flush();
    ended.map_err(system("cannot receive signals"))
}

fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path).map_err(|error| match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            let text = "it is there and not a directory; remove it, or set RUNTIME_DIRECTORY to \
                        another place";
            io::Error::new(error.kind(), text)
        }
        _ => error,
    })
}

/// Takes as many descriptors as we may have. The soft limit is low for the sake of programs that use
/// select(2); with it, a few hundred services that hang would leave none for the routers.
fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What cannot be had is not used: probes keep to the limit.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Reaches the metrics server.
#[derive(Debug)]
struct Metrics {
    /// Where it is to listen
    wanted: mpsc::UnboundedSender<Option<SocketAddr>>,
    /// What keeps it from that
    troubles: mpsc::UnboundedReceiver<Option<String>>,
}

/// Starts the thread that serves clients: the control socket, and metrics where they are wanted.
fn spawn_control(
    listener: std::os::unix::net::UnixListener,
    requests: mpsc::Sender<control::Request>,
    bfd: bfd::driver::Handle,
) -> io::Result<Metrics> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (wanted, addresses) = mpsc::unbounded_channel();
    let (sender, troubles) = mpsc::unbounded_channel();
    let serve = async move {
        tokio::spawn(control::server::run(listener, requests.clone(), bfd.clone()));
        metrics::server::run(addresses, sender, requests, bfd).await;
    };
    thread::Builder::new().name("control".into()).spawn(move || runtime.block_on(serve))?;
    Ok(Metrics { wanted, troubles })
}
