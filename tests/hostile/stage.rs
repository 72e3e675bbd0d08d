//! Where all cases play: one host with the daemon, a machine for the hostile router (tor1), and a
//! BIRD (tor2) that must not notice anything.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{CLIENT_IPV4, Fabric, FabricConfig, TorConfig, vip};
use vipcast_lab::netns::Namespace;
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

use super::BOUND;
use super::connection::{Connection, State};

/// The hostile router of the configuration.
pub(crate) const HOSTILE: &str = "tor1";
const BIRD: &str = "tor2";

/// Where the daemon's counters are.
const METRICS: &str = "127.0.0.1:9179";

/// A running daemon with both its routers.
pub(crate) struct Stage {
    pub(crate) fabric: Fabric,
    pub(crate) daemon: Daemon,
    pid: u32,
}

/// How the daemon and the hostile router come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialer {
    /// The daemon connects, and waits ever longer before it does so again.
    Daemon,
    /// The hostile router connects, as often as it likes.
    Hostile,
}

impl Stage {
    /// The daemon listens for the hostile router.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(Dialer::Hostile, |_, text| Ok(text))
    }

    /// The daemon connects to the hostile router.
    pub(crate) fn start_dialing() -> Result<Self> {
        Self::start_with(Dialer::Daemon, |_, text| Ok(text))
    }

    /// With this change to the configuration.
    pub(crate) fn start_with(
        dialer: Dialer,
        change: impl FnOnce(&Fabric, String) -> Result<String>,
    ) -> Result<Self> {
        let tors = vec![TorConfig::new(Kind::Bird), TorConfig::new(Kind::Bird)];
        let mut fabric = Fabric::start(&FabricConfig { hosts: 1, tors })?;
        fabric.tor_mut(1).router.stop()?;
        // Only the hostile router knows the way to its cable.
        let (to, via) = (fabric.host(1).end(1).ipv4, "10.1.100.0");
        let client = fabric.client.namespace();
        client.ip(&format!("route add {to} via {via} src {CLIENT_IPV4}"))?;
        let keys = match dialer {
            Dialer::Daemon => "connect-retry-time = \"1s\"",
            Dialer::Hostile => "passive = true",
        };
        // No case takes as long as this hold time, and none waits for it.
        let text = peers(&fabric, 1).replacen(
            "hold-time = \"9s\"",
            &format!("hold-time = \"300s\"\n{keys}"),
            1,
        ) + POOLS
            + WEB
            + &format!("\n[metrics]\nlisten = \"{METRICS}\"\n");
        let binaries = std::path::Path::new(env!("CARGO_BIN_EXE_vipcastd"));
        let binaries = binaries.parent().context("no folder of binaries")?;
        let daemon = Daemon::start(fabric.host(1), binaries, &change(&fabric, text)?)?;
        let pid = daemon.process()?.pid();
        fabric.tor(2).router.wait_established("host1", BOUND)?;
        fabric.tor(2).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        let stage = Self { fabric, daemon, pid };
        stage
            .wait_status("BFD with BIRD is up", |status| peer(status, BIRD)["bfd"]["up"] == true)?;
        Ok(stage)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The machine of the hostile router.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.fabric.tor(1).namespace
    }

    /// The daemon's address on the cable to the hostile router.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.fabric.host(1).end(1).ipv4
    }

    /// The hostile router connects.
    pub(crate) fn connect(&self) -> Result<Connection> {
        self.connect_from(self.namespace())
    }

    pub(crate) fn connect_from(&self, namespace: &Namespace) -> Result<Connection> {
        let stream = wait::until("the daemon listens", BOUND, || {
            Ok(namespace.enter(|| TcpStream::connect(self.listener()))?.ok())
        });
        Connection::new(stream?)
    }

    /// The hostile router connects and does what is right until the daemon is in a state.
    pub(crate) fn connect_to(&self, state: State) -> Result<Connection> {
        let mut connection = self.connect()?;
        connection.proceed_to(state).with_context(|| format!("on the way to {state:?}"))?;
        Ok(connection)
    }

    /// As [`connect`](Self::connect), with a receive window of a few hundred octets.
    pub(crate) fn connect_narrow(&self) -> Result<Connection> {
        let socket = self.socket()?;
        socket.set_recv_buffer_size(1)?; // the kernel makes it the least there is
        socket.connect(&self.listener().into())?;
        Connection::new(socket.into())
    }

    /// Asks for a connection that may never come about, and does not wait for it.
    pub(crate) fn dial(&self) -> Result<Socket> {
        let socket = self.socket()?;
        socket.set_nonblocking(true)?;
        // It is under way when this returns, which is said by an error.
        let _ = socket.connect(&self.listener().into());
        Ok(socket)
    }

    fn socket(&self) -> Result<Socket> {
        let socket = self.namespace().enter(|| Socket::new(Domain::IPV4, Type::STREAM, None))?;
        socket.context("no socket")
    }

    /// Where the daemon listens.
    fn listener(&self) -> SocketAddr {
        SocketAddr::new(self.address().into(), 179)
    }

    /// Waits until the daemon's kernel has octets for the hostile router that it cannot send.
    pub(crate) fn wait_stuck(&self) -> Result<()> {
        wait::until_true("the window is closed", BOUND, || {
            Ok(self.sockets()?.contains("timer:(persist"))
        })
    }

    /// Waits until the daemon's kernel has no connection with the hostile router.
    pub(crate) fn wait_gone(&self) -> Result<()> {
        wait::until_true("the connection is gone", BOUND, || Ok(self.sockets()?.is_empty()))
    }

    /// The daemon's end of the connections with the hostile router.
    fn sockets(&self) -> Result<String> {
        let to = format!("dst {}", self.fabric.host(1).far_end(1).ipv4);
        self.fabric.host(1).namespace.run("ss", ["-Htno", &to])
    }

    /// The hostile router listens.
    pub(crate) fn listen(&self) -> Result<TcpListener> {
        let at = SocketAddr::new(self.fabric.host(1).far_end(1).ipv4.into(), 179);
        let listener = self.namespace().enter(|| TcpListener::bind(at))?;
        let listener = listener.context("cannot listen")?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// A connection that has come in, if one has.
    pub(crate) fn try_accept(listener: &TcpListener) -> Result<Option<Connection>> {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Connection::new(stream).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot accept"),
        }
    }

    /// The daemon connects.
    pub(crate) fn accept(listener: &TcpListener) -> Result<Connection> {
        wait::until("the daemon connects", BOUND, || Self::try_accept(listener))
    }

    /// What ends every case: nobody was harmed, and a clean session comes up with the routes.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_unharmed()?;
        Self::check_clean(self.connect()?)
    }

    /// On this connection a clean session comes up and gets the routes.
    pub(crate) fn check_clean(mut connection: Connection) -> Result<()> {
        connection.proceed_to(State::Established).context("the next clean session")?;
        connection.finish().context("the end of the clean session")
    }

    /// The daemon runs, and BIRD has the session it had and its route.
    pub(crate) fn check_unharmed(&self) -> Result<()> {
        let process = self.daemon.process()?;
        ensure!(process.is_running(), "the daemon ended{}", process.log_tail());
        let status = self.daemon.status()?;
        let bird = peer(&status, BIRD);
        ensure!(bird["established"] == true && bird["sessions"] == 1, "BIRD is gone: {bird:#}");
        ensure!(bird["bfd"]["up"] == true, "BFD with BIRD is down: {bird:#}");
        let routes = &self.fabric.tor(2).routes;
        ensure!(routes.next_hops(vip(5)[0]).len() == 1, "BIRD has lost its route");
        Ok(())
    }

    /// What `vipcast status --json` says of the hostile router.
    pub(crate) fn status(&self) -> Result<Value> {
        Ok(peer(&self.daemon.status()?, HOSTILE).clone())
    }

    /// Waits until the status has this, and says what it had instead if it never does.
    pub(crate) fn wait_status(&self, what: &str, truth: impl Fn(&Value) -> bool) -> Result<Value> {
        let status = || self.daemon.status();
        wait::until(what, BOUND, || Ok(status().ok().filter(&truth)))
            .with_context(|| format!("{:#}", status().unwrap_or_default()))
    }

    /// Waits until status and log, from `mark` on, give a reason with all these words for the end
    /// of the hostile router's session or attempt.
    pub(crate) fn wait_named(&self, mark: usize, words: &[&str]) -> Result<()> {
        let all = |text: &str| words.iter().all(|word| text.contains(word));
        self.wait_status(&format!("the status says {words:?}"), |status| {
            let peer = peer(status, HOSTILE);
            let mut ends = ["last-down", "last-failure", "last-notification"].into_iter();
            ends.any(|end| peer[end]["reason"].as_str().is_some_and(all))
        })?;
        self.wait_logged(mark, words)
    }

    /// Waits until a line of the log, from `mark` on, names the hostile router and has all these
    /// words.
    pub(crate) fn wait_logged(&self, mark: usize, words: &[&str]) -> Result<()> {
        let name = format!("peer {HOSTILE}: ");
        let is_it = |line: &str| line.contains(&name) && words.iter().all(|w| line.contains(w));
        let logged = wait::until_true(&format!("the log says {words:?}"), BOUND, || {
            Ok(self.log_since(mark)?.lines().any(is_it))
        });
        logged.with_context(|| self.log_since(mark).unwrap_or_default())
    }

    /// How long the log is, to read on from there.
    pub(crate) fn mark(&self) -> Result<usize> {
        Ok(self.log()?.len())
    }

    pub(crate) fn log_since(&self, mark: usize) -> Result<String> {
        let log = self.log()?;
        String::from_utf8(log.get(mark..).unwrap_or_default().to_vec()).context("the log")
    }

    fn log(&self) -> Result<Vec<u8>> {
        fs::read(self.daemon.process()?.log()).context("no log")
    }

    /// One of the daemon's counters, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Result<u64> {
        let text = self.metrics()?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("no {name} in {text}"))?.parse().context("no number")
    }

    pub(crate) fn metrics(&self) -> Result<String> {
        let url = format!("{METRICS}/metrics");
        self.fabric.host(1).namespace.run("curl", ["-sS", &url])
    }
}

/// What a status says of a peer.
pub(crate) fn peer<'a>(status: &'a Value, name: &str) -> &'a Value {
    let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    peers.iter().find(|peer| peer["name"] == name).unwrap_or(&Value::Null)
}
