//! Serves the D-Bus interface on a Unix socket.
#![expect(clippy::disallowed_methods, reason = "driver: sockets, timers and tasks")]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use zbus::{Guid, fdo, interface};

use super::{Administration, PATH, Refusal, Request};
use crate::bfd::driver::Handle;
use crate::route::{PeerName, ServiceName};
use crate::service::admin::{Keep, Mode};
use crate::speaker::status::Status;

/// Clients at a time that may change things, and that may not: the latter, who can be anybody,
/// never take the place of the former.
const CLIENTS: usize = 16;
/// A client that stays longer is asked to come again.
const LONGEST: Duration = Duration::from_secs(60);

/// Binds the socket. A socket that nobody listens on is left over from a crash and is replaced.
///
/// # Errors
///
/// When another daemon listens on it, its path is too long, or the directory cannot be written to.
pub fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    super::check_length(path)?;
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let text = format!("another vipcastd is running: it answers on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    // Anybody may ask; who may change something is decided by the peer's credentials.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves until the process ends.
///
/// # Errors
///
/// When the socket cannot be used.
pub async fn run(
    listener: std::os::unix::net::UnixListener,
    requests: mpsc::Sender<Request>,
    bfd: Handle,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let guid = Guid::generate();
    let own = nix::unistd::geteuid().as_raw();
    let [trusted_slots, other_slots] = [(); 2].map(|()| Arc::new(Semaphore::new(CLIENTS)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors
            continue;
        };
        let trusted = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own);
        let slots = if trusted { &trusted_slots } else { &other_slots };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let manager = Manager { requests: requests.clone(), bfd: bfd.clone(), trusted };
        let guid = guid.clone();
        tokio::spawn(async move {
            // A client that misbehaves has only itself to blame.
            let _ = timeout(LONGEST, serve(stream, guid, manager)).await;
            drop(slot);
        });
    }
}

async fn serve(stream: UnixStream, guid: Guid<'static>, manager: Manager) -> zbus::Result<()> {
    let stream = stream.into_std()?;
    let connection = zbus::connection::Builder::unix_stream(stream)
        .server(guid)
        .p2p()
        .serve_at(PATH, manager)
        .build()
        .await?;
    connection.closed().await;
    Ok(())
}

/// One client's view of the daemon.
struct Manager {
    requests: mpsc::Sender<Request>,
    bfd: Handle,
    /// It may change things
    trusted: bool,
}

/// The interface.
#[interface(name = "org.vipcast1.Manager")]
impl Manager {
    /// What the daemon is like, as JSON.
    async fn describe(&self) -> fdo::Result<String> {
        let status: Box<Status> = self.ask(Request::Describe).await?;
        serde_json::to_string(&status).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// The names of the peers.
    async fn peers(&self) -> fdo::Result<Vec<String>> {
        let peers = self.ask(Request::Peers).await?;
        Ok(peers.into_iter().map(String::from).collect())
    }

    /// What a peer has been sent and what not, as JSON.
    async fn routes(&self, peer: String) -> fdo::Result<String> {
        let name = PeerName::from(peer);
        let snapshot = self.ask(|reply| Request::Routes(name.clone(), reply)).await?;
        let no_peer = || fdo::Error::InvalidArgs(format!("no peer {name}"));
        let routes = snapshot.ok_or_else(no_peer)?.describe();
        serde_json::to_string(&routes).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// What the BFD session of each peer that has one is like, as JSON.
    async fn bfd(&self) -> fdo::Result<String> {
        let status: Box<Status> = self.ask(Request::Describe).await?;
        let sessions = crate::speaker::bfd::describe(&status, &self.bfd.report().await.sessions);
        serde_json::to_string(&sessions).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// Ends the session with a peer, tells it why (the text may be empty), and begins another.
    async fn reset(&self, peer: String, text: String) -> fdo::Result<()> {
        self.must_be_trusted("reset a session")?;
        let name = PeerName::from(peer);
        let is_there = self.ask(|reply| Request::Reset(name.clone(), text, reply)).await?;
        is_there.then_some(()).ok_or_else(|| fdo::Error::InvalidArgs(format!("no peer {name}")))
    }

    /// What a service is like, as JSON.
    async fn describe_service(&self, service: String) -> fdo::Result<String> {
        let name = ServiceName::from(service);
        let status = self.ask(|reply| Request::DescribeService(name.clone(), reply)).await?;
        let status = status.ok_or_else(|| fdo::Error::InvalidArgs(format!("no service {name}")))?;
        serde_json::to_string(&status).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// Probes all checks of a service now, or of all if the name is empty; what is found is in
    /// `DescribeService` by and by. Returns the time, as RFC 3339.
    async fn probe(&self, service: String) -> fdo::Result<String> {
        self.must_be_trusted("have services probed")?;
        let name = text(service).map(ServiceName::from);
        let date = self.ask(|reply| Request::Probe(name.clone(), reply)).await?;
        let no_service = || {
            let name = name.as_ref().map_or("", AsRef::as_ref);
            fdo::Error::InvalidArgs(format!("no service {name}"))
        };
        date.ok_or_else(no_service)
    }

    /// Withdraws a service's VIPs and serves them for as long as packets may come. That is kept over
    /// restarts and reboots, or only until the daemon ends; the reason may be empty.
    async fn drain(&self, service: String, reason: String, runtime: bool) -> fdo::Result<()> {
        let wish = Administration::TakeOut(Mode::Drain, keep(runtime), text(reason));
        self.administer(service, wish).await
    }

    /// Undoes a drain that was to be kept for so long.
    async fn undrain(&self, service: String, runtime: bool) -> fdo::Result<()> {
        self.administer(service, Administration::Undo(Mode::Drain, keep(runtime))).await
    }

    /// Withdraws a service's VIPs, over restarts and reboots; the reason may be empty.
    async fn admin_down(&self, service: String, reason: String) -> fdo::Result<()> {
        let wish = Administration::TakeOut(Mode::Down, Keep::Persistent, text(reason));
        self.administer(service, wish).await
    }

    /// Leaves it to a service's health again whether its VIPs are announced.
    async fn admin_up(&self, service: String) -> fdo::Result<()> {
        let wish = Administration::Undo(Mode::Down, Keep::Persistent);
        self.administer(service, wish).await
    }

    /// Announces a service that is held down for having flapped.
    async fn release(&self, service: String) -> fdo::Result<()> {
        self.administer(service, Administration::Release).await
    }

    /// Reads the configuration again and puts it into force; fails with what is wrong with it.
    async fn reload(&self) -> fdo::Result<()> {
        self.must_be_trusted("reload the configuration")?;
        self.ask(Request::Reload).await?.map_err(fdo::Error::Failed)
    }
}

fn keep(runtime: bool) -> Keep {
    if runtime { Keep::Runtime } else { Keep::Persistent }
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl Manager {
    async fn administer(&self, service: String, wish: Administration) -> fdo::Result<()> {
        self.must_be_trusted("do that")?;
        let name = ServiceName::from(service);
        let done = self.ask(|reply| Request::Administer(name.clone(), wish, reply)).await?;
        done.map_err(|refusal| match refusal {
            Refusal::NoService(known) => {
                let known: Vec<_> = known.iter().map(AsRef::as_ref).collect();
                let text = format!("no service {name}; there are: {}", known.join(", "));
                fdo::Error::InvalidArgs(text)
            }
            Refusal::Failed(text) => fdo::Error::Failed(text),
        })
    }

    fn must_be_trusted(&self, to: &str) -> fdo::Result<()> {
        let text = || format!("only root and the user of vipcastd may {to}");
        self.trusted.then_some(()).ok_or_else(|| fdo::Error::AccessDenied(text()))
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> fdo::Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || fdo::Error::Failed("vipcastd is stopping".into());
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}
