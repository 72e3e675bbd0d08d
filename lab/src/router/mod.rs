//! A router of the fabric: BIRD, FRR or GoBGP, described and read back in the same words.
//!
//! [`RouterConfig`] says what the router shall be; each implementation's file turns it into that
//! router's own configuration, starts it, and turns its answers into [`Session`], [`BfdSession`]
//! and [`Route`].

mod bird;
mod bird_control;
mod bird_text;
mod config;
mod frr;
mod frr_json;
mod gobgp;
mod gobgp_json;
mod state;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;

pub(crate) use bird::announcement as bird_announcement;
pub use bird_control::BirdControl;
pub(crate) use config::family as bird_family;
pub use config::{BfdTimers, Neighbour, Peering, RouterConfig};
pub use state::{BfdSession, BfdState, Origin, Route, Session, SessionState};

use crate::netns::Namespace;
use crate::process::Process;
use crate::site::make_directory;
use crate::wait;

/// How long a router may take until it answers on its control socket, on a slow and busy machine.
const READY: Duration = Duration::from_secs(30);
/// How long it may take to end by SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Which implementation a router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BIRD 2, controlled with `birdc`.
    Bird,
    /// FRR's zebra, bgpd and bfdd, controlled with `vtysh`.
    Frr,
    /// GoBGP, controlled with `gobgp`. It has no BFD and puts no routes into the kernel.
    Gobgp,
}

/// A router, running or stopped.
#[derive(Debug)]
pub struct Router {
    kind: Kind,
    config: RouterConfig,
    place: Place,
    processes: Vec<Process>,
}

/// Where a router runs.
#[derive(Debug)]
struct Place {
    namespace: Namespace,
    directory: PathBuf,
}

/// What each implementation does in its own way.
trait Implementation {
    /// Writes the configuration and starts the processes, until they take orders.
    fn start(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Process>>;
    /// Lets the router's own command line tool carry out a command.
    fn command(&self, place: &Place, command: &str) -> Result<String>;
    fn sessions(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Session>>;
    fn bfd_sessions(&self, place: &Place) -> Result<Vec<BfdSession>>;
    fn routes(&self, config: &RouterConfig, place: &Place, prefix: IpNet) -> Result<Vec<Route>>;
    /// What to type to look around.
    fn shell_hint(&self, place: &Place) -> String;
}

impl Kind {
    fn implementation(self) -> &'static dyn Implementation {
        match self {
            Self::Bird => &bird::Bird,
            Self::Frr => &frr::Frr,
            Self::Gobgp => &gobgp::Gobgp,
        }
    }

    /// The name as one types it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
        }
    }
}

impl Router {
    /// Starts a router in a namespace and waits until it answers.
    pub fn start(namespace: &Namespace, kind: Kind, config: RouterConfig) -> Result<Self> {
        let directory = namespace.directory().join(kind.name());
        let place = Place { namespace: namespace.clone(), directory };
        let mut router = Self { kind, config, place, processes: Vec::new() };
        router.run()?;
        Ok(router)
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub fn run(&mut self) -> Result<()> {
        make_directory(&self.place.directory)?;
        self.processes = (self.kind.implementation().start(&self.config, &self.place))
            .with_context(|| {
                format!("cannot start {} in {}", self.kind.name(), self.place.namespace.name())
            })?;
        Ok(())
    }

    /// Ends it in good order (SIGTERM), last process first.
    pub fn stop(&mut self) -> Result<()> {
        while let Some(mut process) = self.processes.pop() {
            process.stop(GRACE)?;
        }
        Ok(())
    }

    /// Kills all its processes at once (SIGKILL): the sockets close, nothing is said to the
    /// neighbours.
    pub fn kill(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.kill()?;
        }
        self.processes.clear();
        Ok(())
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    /// Which implementation it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it was told to be.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// What it is told to be when it is [run](Self::run) next.
    pub fn config_mut(&mut self) -> &mut RouterConfig {
        &mut self.config
    }

    /// Where it runs.
    pub fn namespace(&self) -> &Namespace {
        &self.place.namespace
    }

    /// Its processes, in the order in which they were started: for signals.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Runs a command of the router's own language (`birdc`, `vtysh -c`, `gobgp`) and gives the
    /// answer.
    pub fn command(&self, command: &str) -> Result<String> {
        self.kind.implementation().command(&self.place, command)
    }

    /// Lets a BIRD carry out a command of `birdc`, and tells at which moment it was told to.
    pub fn order(&self, command: &str) -> Result<Instant> {
        self.control()?.order(command)
    }

    /// A BIRD's control socket, to ask it often.
    pub fn control(&self) -> Result<BirdControl> {
        ensure!(self.kind == Kind::Bird, "{} takes no orders of BIRD's", self.kind.name());
        BirdControl::connect(&self.place.directory.join("bird.ctl"))
    }

    /// The command line with which a person talks to it.
    pub fn shell_hint(&self) -> String {
        self.kind.implementation().shell_hint(&self.place)
    }

    /// All its BGP sessions.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        self.kind.implementation().sessions(&self.config, &self.place)
    }

    /// The BGP session with the neighbour of that name.
    pub fn session(&self, neighbour: &str) -> Result<Session> {
        let mut sessions = self.sessions()?.into_iter();
        sessions
            .find(|session| session.neighbour == neighbour)
            .with_context(|| format!("{} shows no neighbour {neighbour}", self.kind.name()))
    }

    /// All its BFD sessions (GoBGP: none).
    pub fn bfd_sessions(&self) -> Result<Vec<BfdSession>> {
        self.kind.implementation().bfd_sessions(&self.place)
    }

    /// All routes it has learned or made for exactly this prefix, with their attributes.
    pub fn routes(&self, prefix: IpNet) -> Result<Vec<Route>> {
        self.kind.implementation().routes(&self.config, &self.place, prefix)
    }

    /// Waits until the session with the neighbour of that name is established.
    pub fn wait_established(&self, neighbour: &str, bound: Duration) -> Result<Session> {
        let what = format!(
            "the session of {} with {neighbour} is established",
            self.place.namespace.name()
        );
        wait::until(&what, bound, || {
            Ok(Some(self.session(neighbour)?)
                .filter(|session| session.state == SessionState::Established))
        })
        .with_context(|| format!("{:?}", self.session(neighbour)))
    }
}
