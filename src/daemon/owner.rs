//! The owner's loop: wait for a fact, hand it to the [`Speaker`], carry out what it wishes.
#![expect(clippy::disallowed_methods, reason = "driver: clock, timers and tasks")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::administration::{Administrations, Saved};
use super::hooks::Hooks;
use super::journal::Log;
use super::store::Store;
use super::systemd::{Manager, State, watchdog_interval};
use super::{Metrics, QUEUE};
use crate::bgp::driver::{Connections, Event as TcpEvent};
use crate::config::{self, Config};
use crate::control::Request;
use crate::service::hooks;
use crate::speaker::notice::{Level, Notice};
use crate::speaker::status::{Clock, Summary};
use crate::speaker::{Input, Output, Speaker};
use crate::units::{self, UnitName};
use crate::{bfd, bgp, check, ndp, netlink};

/// How long the last words to peers may take after everything else is done.
const FINISH: Duration = Duration::from_secs(2);
/// How long other threads may take to end what they have started.
const END: Duration = Duration::from_millis(500);

/// The ends of all channels.
pub(super) struct Links {
    pub(super) log: Log,
    pub(super) manager: Manager,
    pub(super) metrics: Metrics,
    pub(super) bfd: bfd::driver::Handle,
    pub(super) checks: check::driver::Handle,
    pub(super) from_bfd: mpsc::Receiver<bfd::driver::Event>,
    pub(super) from_checks: mpsc::Receiver<check::driver::Report>,
    pub(super) from_clients: mpsc::Receiver<Request>,
}

/// A configuration, or what is wrong with it, ready to be shown.
type Loaded = Result<Config, Refusal>;

struct Refusal {
    /// In a line
    summary: String,
    /// With every problem at its place
    text: String,
}

/// Who waits for a reload.
type Waiting = Vec<oneshot::Sender<Result<(), String>>>;

/// The one task that owns the [`Speaker`].
pub(super) struct Owner {
    pub(super) speaker: Speaker,
    config_path: PathBuf,
    pub(super) links: Links,
    pub(super) administrations: Administrations,
    hooks: Hooks,
    connections: Connections,
    from_peers: mpsc::Receiver<TcpEvent>,
    advertise: mpsc::UnboundedSender<BTreeMap<u32, String>>,
    from_advertising: mpsc::UnboundedReceiver<Option<String>>,
    netlink: mpsc::UnboundedSender<netlink::Request>,
    from_netlink: mpsc::Receiver<netlink::Event>,
    watch_units: mpsc::UnboundedSender<BTreeSet<UnitName>>,
    from_units: mpsc::Receiver<units::Event>,
    signals: Signals,
    /// Reading the configuration again, and who waits for that
    loading: Option<(JoinHandle<Loaded>, Waiting)>,
    reload_error: Option<String>,
    metrics_error: Option<String>,
    told: Option<(Summary, bool)>,
    watchdog: Option<(Duration, Instant)>,
    stopped: bool,
}

struct Signals {
    hangup: Signal,
    user: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// What woke the loop.
enum Wake {
    Bfd(bfd::driver::Event),
    Peer(TcpEvent),
    Netlink(netlink::Event),
    /// Router advertisements cannot be sent, or can again
    Advertising(Option<String>),
    Check(check::driver::Report),
    Unit(units::Event),
    Hook(hooks::Report),
    Client(Request),
    /// Metrics cannot be served, or can again
    Metrics(Option<String>),
    Loaded(Box<Loaded>),
    /// What operators want is kept
    Saved(Saved),
    Reload,
    Probe,
    Stop,
    Time,
}

impl Owner {
    /// Starts with a configuration.
    pub(super) fn start(
        config: Config,
        config_path: PathBuf,
        seed: u64,
        links: Links,
    ) -> io::Result<Self> {
        let (events, from_peers) = mpsc::channel(QUEUE);
        let (netlink, netlink_requests) = mpsc::unbounded_channel();
        let (netlink_events, from_netlink) = mpsc::channel(QUEUE);
        tokio::spawn(netlink::driver::run(netlink_requests, netlink_events));
        let (advertise, advertised) = mpsc::unbounded_channel();
        let (troubles, from_advertising) = mpsc::unbounded_channel();
        tokio::spawn(ndp::driver::run(advertised, troubles));
        let (watch_units, watched_units) = mpsc::unbounded_channel();
        let (unit_events, from_units) = mpsc::channel(QUEUE);
        tokio::spawn(units::driver::run(watched_units, unit_events));
        let signals = Signals {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let now = Instant::now();
        Ok(Self {
            speaker: Speaker::new(config, host_name(), seed, now),
            config_path,
            links,
            administrations: Administrations::new(Store::new()),
            hooks: Hooks::new(),
            connections: Connections::new(events),
            from_peers,
            advertise,
            from_advertising,
            netlink,
            from_netlink,
            watch_units,
            from_units,
            signals,
            loading: None,
            reload_error: None,
            metrics_error: None,
            told: None,
            watchdog: watchdog_interval().map(|interval| (interval, now)),
            stopped: false,
        })
    }

    /// Runs until everything is withdrawn and closed.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let text = format!("vipcastd {} started", env!("CARGO_PKG_VERSION"));
        self.links.log.write(Notice::new(Level::Info, text));
        self.load_wishes(Instant::now());
        self.apply_surroundings(None);
        self.carry_out();
        self.links.manager.tell(State::Ready);
        while !self.stopped {
            let wake = self.wait().await;
            self.handle(wake);
            self.carry_out();
            self.report();
        }
        let _ = timeout(FINISH, self.connections.finish()).await;
        let ends = async { tokio::join!(self.hooks.end(), end_checks(self.links)) };
        let _ = timeout(END, ends).await;
        Ok(())
    }

    /// Waits for the next fact. Nothing is lost by dropping the waits that did not win.
    async fn wait(&mut self) -> Wake {
        let watchdog = self.watchdog.map(|(_, at)| at);
        let deadline = self.speaker.poll_timeout().into_iter().chain(watchdog).min();
        let time = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let loading = &mut self.loading;
        let loaded = async {
            match loading {
                Some((task, _)) => task.await.expect("a panic ends the process"),
                None => std::future::pending().await,
            }
        };
        // In order of urgency: signals, BFD, what moves routes, then those who only ask.
        tokio::select! {
            biased;
            _ = self.signals.terminate.recv() => Wake::Stop,
            _ = self.signals.interrupt.recv() => Wake::Stop,
            Some(event) = self.links.from_bfd.recv() => Wake::Bfd(event),
            () = time => Wake::Time,
            Some(event) = self.from_units.recv() => Wake::Unit(event),
            Some(report) = self.links.from_checks.recv() => Wake::Check(report),
            Some(event) = self.from_peers.recv() => Wake::Peer(event),
            Some(event) = self.from_netlink.recv() => Wake::Netlink(event),
            Some(report) = self.hooks.ended() => Wake::Hook(report),
            Some(trouble) = self.from_advertising.recv() => Wake::Advertising(trouble),
            config = loaded => Wake::Loaded(Box::new(config)),
            saved = self.administrations.saved() => Wake::Saved(saved),
            _ = self.signals.hangup.recv() => Wake::Reload,
            _ = self.signals.user.recv() => Wake::Probe,
            Some(trouble) = self.links.metrics.troubles.recv() => Wake::Metrics(trouble),
            Some(request) = self.links.from_clients.recv() => Wake::Client(request),
        }
    }

    fn handle(&mut self, wake: Wake) {
        let now = Instant::now();
        match wake {
            Wake::Bfd(event) => self.speaker.handle(Input::Bfd(event), now),
            Wake::Check(report) => self.speaker.handle(Input::Probed(report), now),
            Wake::Unit(units::Event::State(unit, state)) => {
                self.speaker.handle(Input::Unit(unit, state), now);
            }
            Wake::Unit(units::Event::Unreachable(trouble)) => {
                self.speaker.handle(Input::CannotWatchUnits(trouble), now);
            }
            Wake::Hook(report) => self.speaker.handle(Input::HookEnded(report), now),
            Wake::Netlink(event) => self.speaker.handle(Input::Netlink(event), now),
            Wake::Advertising(trouble) => {
                self.speaker.handle(Input::CannotAdvertise(trouble), now);
            }
            Wake::Peer(event) => self.handle_peer(event, now),
            Wake::Time => self.speaker.handle_timeout(now),
            Wake::Client(Request::Describe(reply)) => {
                let mut status = self.speaker.status(Clock { now, wall: SystemTime::now() });
                status.reload_error.clone_from(&self.reload_error);
                status.metrics_error.clone_from(&self.metrics_error);
                // The client may have gone.
                let _ = reply.send(Box::new(status));
            }
            Wake::Client(Request::Peers(reply)) => drop(reply.send(self.speaker.peer_names())),
            Wake::Client(Request::Routes(peer, reply)) => {
                let clock = Clock { now, wall: SystemTime::now() };
                drop(reply.send(self.speaker.routes(&peer, clock).map(Box::new)));
            }
            Wake::Client(Request::Reset(peer, text, reply)) => {
                let is_there = self.speaker.config().peers.contains_key(&peer);
                // The client may have gone.
                let _ = reply.send(is_there);
                self.speaker.handle(Input::Reset(peer, text), now);
            }
            Wake::Client(Request::DescribeService(service, reply)) => {
                let clock = Clock { now, wall: SystemTime::now() };
                drop(reply.send(self.speaker.describe_service(&service, clock).map(Box::new)));
            }
            Wake::Client(Request::Probe(service, reply)) => {
                let services = &self.speaker.config().services;
                let is_there = service.as_ref().is_none_or(|name| services.contains_key(name));
                drop(reply.send(is_there.then(|| Self::date(now))));
                self.speaker.handle(Input::Probe(service), now);
            }
            Wake::Client(Request::Administer(service, administration, reply)) => {
                self.administer(service, administration, reply, now);
            }
            Wake::Saved(saved) => self.finish_saving(saved, now),
            Wake::Client(Request::Reload(reply)) => self.begin_reload(Some(reply)),
            Wake::Metrics(trouble) => self.handle_metrics(trouble),
            Wake::Reload => self.begin_reload(None),
            Wake::Probe => self.speaker.handle(Input::Probe(None), now),
            Wake::Loaded(config) => self.finish_reload(*config, now),
            Wake::Stop => {
                self.links.manager.tell(State::Stopping);
                let host = host_name().unwrap_or_default();
                let text = format!("vipcastd stopped on {host}");
                self.speaker.handle(Input::Stop(text), now);
            }
        }
    }

    /// The date of a moment.
    pub(super) fn date(now: Instant) -> String {
        Clock { now, wall: SystemTime::now() }.date(now)
    }

    fn handle_metrics(&mut self, trouble: Option<String>) {
        match &trouble {
            Some(text) => self.links.log.write(Notice::new(Level::Error, text)),
            None => {
                if let Some(address) = self.speaker.config().metrics {
                    let text = format!("metrics are served on {address} now");
                    self.links.log.write(Notice::new(Level::Info, text));
                }
            }
        }
        self.metrics_error = trouble;
    }

    fn handle_peer(&mut self, event: TcpEvent, now: Instant) {
        match event {
            TcpEvent::Tcp(peer, serial, event) => {
                self.speaker.handle(Input::Tcp(peer, serial, event), now);
            }
            TcpEvent::CannotListen(place, trouble) => {
                self.speaker.handle(Input::CannotListen(place, trouble), now);
            }
            TcpEvent::Accepted(accepted) => {
                let Some(ends) = accepted.ends() else { return };
                // A stranger is not answered.
                let Some((name, serial)) = self.speaker.handle_accepted(ends, now) else { return };
                let Some(peer) = self.speaker.config().peers.get(&name) else { return };
                self.connections.adopt(name, serial, accepted, &peer.bgp);
            }
        }
    }

    /// Carries out everything that is wished for.
    fn carry_out(&mut self) {
        let now = Instant::now();
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Connect(peer, serial, transport, to, user_timeout) => {
                    self.connections.connect(peer, serial, transport, to, user_timeout);
                }
                Output::Close(peer, serial, last_words) => {
                    self.connections.close(&peer, serial, last_words);
                }
                Output::SetUserTimeout(peer, serial, limit) => {
                    self.connections.set_user_timeout(&peer, serial, limit);
                }
                Output::CountAcknowledged(peer, serial) => {
                    self.connections.count_acknowledged(&peer, serial);
                }
                Output::CompareKeys(peer, authentication) => {
                    self.connections.compare_keys(&peer, authentication);
                }
                Output::Listen(port, peers) => self.connections.listen(port, &peers),
                Output::FindRouterId(peers) => {
                    let ours = peers.iter().filter_map(bgp::socket::local_address_towards);
                    self.speaker.handle(Input::RouterId(ours.collect()), now);
                }
                Output::Bfd(command) => self.links.bfd.send(command),
                // That task ends with this one.
                Output::Advertise(interfaces) => drop(self.advertise.send(interfaces)),
                Output::Check(command) => self.links.checks.send(command),
                Output::Hook(run) => self.hooks.run(*run),
                // Those tasks end with this one.
                Output::WatchUnits(units) => drop(self.watch_units.send(units)),
                Output::Netlink(request) => drop(self.netlink.send(request)),
                Output::Notice(notice) => self.links.log.write(notice),
                Output::Stopped => self.stopped = true,
            }
        }
        while let Some((peer, serial, octets)) = self.speaker.poll_transmit(now) {
            self.connections.write(&peer, serial, octets);
        }
    }

    /// Keeps systemd informed.
    fn report(&mut self) {
        let now = Instant::now();
        if let Some((interval, at)) = &mut self.watchdog
            && *at <= now
        {
            *at = now + *interval;
            // Half a daemon is none: without BFD the routers are told that the path is dead, or we
            // never hear that it is; without checks what is dead stays announced.
            let is_alive = [self.links.bfd.ping(), self.links.checks.ping()];
            if is_alive == [true; 2] {
                self.links.manager.tell(State::Watchdog);
            }
        }
        let summary = self.speaker.summary();
        let told = Some((summary, self.reload_error.is_some()));
        if self.told != told {
            self.told = told;
            let Summary { peers_up, peers, services_up, services, taken_out } = summary;
            let mut text =
                format!("{peers_up} of {peers} peers, {services_up} of {services} services up");
            if taken_out > 0 {
                text = format!("{text}, {taken_out} taken out by the operator");
            }
            if let Some(error) = &self.reload_error {
                text = format!("reload failed, old configuration in force: {error}; {text}");
            }
            self.links.manager.tell(State::Status(text));
        }
    }

    /// Reads the configuration again, away from the loop. Those who ask meanwhile share the answer
    /// only if the reading had not begun, so each gets one of its own.
    fn begin_reload(&mut self, reply: Option<oneshot::Sender<Result<(), String>>>) {
        self.links.manager.tell(State::Reloading);
        let mut waiting: Waiting = reply.into_iter().collect();
        if let Some((task, before)) = self.loading.take() {
            task.abort();
            waiting.extend(before);
        }
        let path = self.config_path.clone();
        // Drawing thousands of problems takes its time too.
        let task = tokio::task::spawn_blocking(move || {
            config::load(&path)
                .map_err(|error| Refusal { summary: error.summary(), text: error.to_string() })
        });
        self.loading = Some((task, waiting));
    }

    fn finish_reload(&mut self, config: Loaded, now: Instant) {
        let Some((_, waiting)) = self.loading.take() else { return };
        let result = match config {
            Ok(config) => {
                let before = self.speaker.config().metrics;
                self.speaker.handle(Input::Reload(Box::new(config)), now);
                self.apply_surroundings(Some(before));
                self.reload_error = None;
                Ok(())
            }
            Err(Refusal { summary, text }) => {
                let message = "the new configuration is not loaded, the old one stays in force";
                self.links.log.write(Notice::new(Level::Error, message).because(&summary));
                self.reload_error = Some(summary);
                Err(text)
            }
        };
        self.links.manager.tell(State::Ready);
        for reply in waiting {
            // Whoever asked may have gone.
            let _ = reply.send(result.clone());
        }
    }

    /// Puts into force what is configured but is not the speaker's.
    fn apply_surroundings(&self, metrics_before: Option<Option<std::net::SocketAddr>>) {
        let config = self.speaker.config();
        self.links.log.set_level(config.log_level);
        if metrics_before != Some(config.metrics) {
            // The control thread is gone only when the process ends.
            let _ = self.links.metrics.wanted.send(config.metrics);
        }
    }
}

/// Ends the checks with all that they have started: programs would go on without us.
async fn end_checks(links: Links) {
    let Links { checks, mut from_checks, .. } = links;
    drop(checks);
    while from_checks.recv().await.is_some() {}
}

fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned())
}
