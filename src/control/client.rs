//! Asks the daemon.
#![expect(clippy::disallowed_methods, reason = "driver: sockets and timers")]

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use zbus::{fdo, proxy};

use super::{Administration, check_length, socket_path};
use crate::route::{PeerName, ServiceName};
use crate::service::admin::{Keep, Mode};
use crate::speaker::bfd::PeerBfd;
use crate::speaker::routes::PeerRoutes;
use crate::speaker::status::{CheckStatus, ServiceStatus, Status, VipStatus};
use crate::sys;

/// The daemon answers at once, or not at all; a reload reads files first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much later than it should be a result may be seen.
const MARGIN: Duration = Duration::from_secs(2);
/// Between looks for what may be there at once.
const LOOK_SOON: Duration = Duration::from_millis(10);
/// Between looks at what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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
    /// There is no such peer or service, or not any more
    #[error("{0}")]
    NotThere(String),
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
    fn describe_service(&self, service: &str) -> zbus::Result<String>;
    fn probe(&self, service: &str) -> zbus::Result<String>;
    fn drain(&self, service: &str, reason: &str, runtime: bool) -> zbus::Result<()>;
    fn undrain(&self, service: &str, runtime: bool) -> zbus::Result<()>;
    fn admin_down(&self, service: &str, reason: &str) -> zbus::Result<()>;
    fn admin_up(&self, service: &str) -> zbus::Result<()>;
    fn release(&self, service: &str) -> zbus::Result<()>;
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
            Err(Error::NotThere(_)) => {} // a reload took it away just now
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

/// Lets the daemon do that with a service.
///
/// # Errors
///
/// When it cannot be asked, there is no such service, we may not ask for that, or it cannot be kept.
pub async fn administer(
    runtime_directory: &Path,
    service: &ServiceName,
    wish: &Administration,
) -> Result<(), Error> {
    let manager = connect(runtime_directory).await?;
    let name = service.as_ref();
    let reason = |reason: &Option<String>| reason.clone().unwrap_or_default();
    let is_runtime = |keep: &Keep| *keep == Keep::Runtime;
    match wish {
        Administration::TakeOut(Mode::Drain, keep, text) => {
            within(manager.drain(name, &reason(text), is_runtime(keep))).await
        }
        Administration::TakeOut(Mode::Down, _, text) => {
            within(manager.admin_down(name, &reason(text))).await
        }
        Administration::Undo(Mode::Drain, keep) => {
            within(manager.undrain(name, is_runtime(keep))).await
        }
        Administration::Undo(Mode::Down, _) => within(manager.admin_up(name)).await,
        Administration::Release => within(manager.release(name)).await,
    }
}

/// Has the checks of these services, or of all, probed now, and waits for their results: what the
/// services are like then. A check that has no result in good time has none there.
///
/// # Errors
///
/// When the daemon cannot be asked, there is no such service, or we may not ask for that.
pub async fn probe(
    runtime_directory: &Path,
    only: &[ServiceName],
) -> Result<Vec<ServiceStatus>, Error> {
    let manager = connect(runtime_directory).await?;
    let mut names = only.to_vec();
    if names.is_empty() {
        let status: Status = understood(&within(manager.describe()).await?)?;
        names = status.services.into_iter().map(|service| service.name).collect();
    }
    let mut asked = Vec::new();
    for name in &names {
        let date = within(manager.probe(name.as_ref())).await?;
        let date: Timestamp =
            date.parse().map_err(|_| Error::NoAnswer(format!("it says that it is {date}")))?;
        // What is told is rounded to the millisecond.
        asked.push((name, date - SignedDuration::from_millis(1)));
    }
    let begun = Instant::now();
    let mut services = Vec::new();
    for (name, asked) in asked {
        services.push(probed(&manager, name, asked, begun).await?);
    }
    Ok(services)
}

/// Waits for the results of a service's probes, which were asked for at `asked`, and before `begun`.
async fn probed(
    manager: &ManagerProxy<'_>,
    service: &ServiceName,
    asked: Timestamp,
    begun: Instant,
) -> Result<ServiceStatus, Error> {
    let is_done = |check: &CheckStatus| {
        check.last.as_ref().is_some_and(|last| {
            let took = SignedDuration::try_from_secs_f64(last.duration).unwrap_or_default();
            last.at.parse::<Timestamp>().is_ok_and(|at| at - took >= asked)
        })
    };
    loop {
        let answer = within(manager.describe_service(service.as_ref())).await?;
        let mut status: ServiceStatus = understood(&answer)?;
        let timeouts = status.checks.iter().map(|check| check.timeout);
        // One that was under way ends first.
        let patience = Duration::from_secs_f64(timeouts.fold(0.0, f64::max) * 2.0) + MARGIN;
        let is_late = begun.elapsed() >= patience;
        if is_late || status.checks.iter().all(is_done) {
            for check in status.checks.iter_mut().filter(|check| !is_done(check)) {
                check.last = None;
            }
            return Ok(status);
        }
        tokio::time::sleep(LOOK_SOON).await;
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goal {
    /// No router is told of the service, and no packets are expected
    Withdrawn,
    /// Its VIPs are announced
    Announced,
}

impl Goal {
    /// What is missing to that, if anything.
    fn missing(self, service: &ServiceStatus) -> Option<String> {
        let announced = |vip: &&VipStatus| vip.announcing_since.is_some();
        match self {
            Self::Announced => {
                let vip = service.vips.iter().find(|vip| !announced(vip))?;
                let obstacle = service.obstacle.as_ref().map(|obstacle| &obstacle.description);
                let reason = obstacle.or(service.reason.as_ref()).or(vip.reason.as_ref());
                let reason = reason.map_or("no reason known", String::as_str);
                Some(format!("{} is not announced: {reason}", vip.address))
            }
            Self::Withdrawn => {
                let mut vips = service.vips.iter();
                if let Some(vip) = vips.clone().find(announced) {
                    return Some(format!("{} is announced", vip.address));
                }
                if let Some(peer) = vips.find_map(|vip| vip.peers.first()) {
                    let reason = peer.reason.as_deref().unwrap_or("no reason known");
                    return Some(format!("{} still has it: {reason}", peer.peer));
                }
                let left = service.obstacle.as_ref().map_or(0.0, |obstacle| obstacle.left);
                (left > 0.0).then(|| format!("packets may come for another {left:.1}s"))
            }
        }
    }
}

/// Waits until a service is there, for as long as that takes; `tell` is told what is missing, when
/// that changes after a while.
///
/// # Errors
///
/// When the daemon cannot be asked, or there is no such service any more.
pub async fn wait(
    runtime_directory: &Path,
    service: &ServiceName,
    goal: Goal,
    mut tell: impl FnMut(&str),
) -> Result<(), Error> {
    const QUIET: u32 = 20;
    let mut told = String::new();
    for turn in 0_u32.. {
        let status = describe_service(runtime_directory, service).await?;
        let Some(missing) = goal.missing(&status) else { break };
        // What only takes its time counts down, which is no news.
        let is_news = missing.split(" for another").next() != told.split(" for another").next();
        if turn >= QUIET && is_news {
            tell(&missing);
            told = missing;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// What a service is like.
///
/// # Errors
///
/// When the daemon cannot be asked, or there is no such service.
pub async fn describe_service(
    runtime_directory: &Path,
    service: &ServiceName,
) -> Result<ServiceStatus, Error> {
    let manager = connect(runtime_directory).await?;
    understood(&within(manager.describe_service(service.as_ref())).await?)
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
        Error::NotThere(text)
    } else {
        Error::NoAnswer(error.to_string())
    }
}
