//! The BFD thread: runs [`Sessions`] on sockets of its own and shares nothing, so that no probe,
//! TLS handshake or log can delay a packet.
#![expect(clippy::disallowed_methods, reason = "driver: clock, sockets and a thread")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tokio::sync::{mpsc, oneshot};

use super::alarm::Alarm;
use super::authentication::Authentication;
use super::diagnosis::Evidence;
use super::discard::Discards;
use super::echo;
use super::receivers::{Receivers, cannot_receive};
use super::session;
use super::sessions::{Config, Generation, Look, Sessions, Transmit};
use super::socket::Sender;
use crate::route::PeerName;
use crate::secret::Key;
use crate::sys;

/// Above every thread of normal priority, below the kernel's own.
const PRIORITY: i32 = 20;
/// How long to wait before a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long events wait that did not fit into the channel.
const RETRY_EVENTS: Duration = Duration::from_millis(10);
/// So many turns of reading are more than a socket's buffer has room for.
const MOST_TURNS: usize = 64;
/// So many commands are carried out before packets are looked at again.
const COMMANDS: usize = 64;
/// The stack of the thread.
const STACK: usize = 256 << 10;

/// What the owner wants.
#[derive(Debug)]
pub enum Command {
    /// A session like this with the peer
    Set(PeerName, Config),
    /// The key of a session's authentication, or why there is none
    Key(PeerName, Authentication, Result<Key, String>),
    /// Where the Echo packets of the session with the peer go
    EchoPath(PeerName, echo::Path),
    /// No session with the peer
    Remove(PeerName),
    /// AdminDown to every peer: we are about to stop
    AdminDown,
    /// What has been seen of the session with the peer, as an [`Event::Look`]
    Look(PeerName),
    /// A sign of life is wanted
    Ping,
    /// A report, for status and metrics
    Report(oneshot::Sender<Report>),
}

/// What the owner is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A session changed
    Session(PeerName, Generation, session::Event),
    /// Sending to a peer, or receiving at all, does not work, or (`None`) works again
    Trouble(PeerName, Generation, Option<String>),
    /// The key of a session that has one cannot be read again, for this reason
    KeyUnreadable(PeerName, String),
    /// What was asked for
    Look(PeerName, Evidence),
    /// The thread runs at normal priority, for this reason
    NoRealtime(String),
    /// Echo packets cannot be sent or received, for this reason
    NoEcho(String),
    /// What the thread needs may have to be read from a disk first, for this reason
    MemoryNotLocked(String),
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Datagrams dropped, by reason
    pub discards: Discards,
    /// Every session there is
    pub sessions: Vec<Look>,
}

/// Reaches the thread.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: std_mpsc::Sender<Command>,
    wake: Arc<EventFd>,
    /// A ping is on its way
    unanswered: Arc<AtomicBool>,
}

impl Handle {
    /// Carries out a command. Where it needs a key, that is read meanwhile; the file may be where
    /// nobody answers.
    pub fn send(&self, command: Command) {
        let mut signed = None;
        if let Command::Set(peer, Config { authentication: Some(authentication), .. }) = &command {
            signed = Some((peer.clone(), authentication.clone()));
        }
        self.post(command);
        let Some((peer, authentication)) = signed else { return };
        let handle = self.clone();
        tokio::task::spawn_blocking(move || {
            let Authentication { method, secret, .. } = &authentication;
            let key = secret.read(method.longest_key()).map_err(|error| {
                format!("cannot use {}: {}", secret.written("key"), sys::describe(&error))
            });
            handle.post(Command::Key(peer, authentication, key));
        });
    }

    /// Sends a command; it is lost if the thread is gone, and with it the process.
    fn post(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // A full counter means that the thread is being woken already.
            let _ = self.wake.write(1);
        }
    }

    /// Asks the thread for a sign of life; whether it has given the one that was asked for before.
    #[must_use]
    pub fn ping(&self) -> bool {
        let is_alive = !self.unanswered.swap(true, Ordering::Relaxed);
        if is_alive {
            self.post(Command::Ping);
        }
        is_alive
    }

    /// Counters; empty if the thread does not answer.
    pub async fn report(&self) -> Report {
        let (reply, answer) = oneshot::channel();
        self.post(Command::Report(reply));
        answer.await.unwrap_or_default()
    }
}

/// Starts the thread. Events go to `events`, which is never waited for.
///
/// # Errors
///
/// When the kernel has no thread or descriptor left.
pub fn spawn(seed: u64, events: mpsc::Sender<Event>) -> io::Result<Handle> {
    let (sender, commands) = std_mpsc::channel();
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
    let unanswered = Arc::new(AtomicBool::new(false));
    let handle = Handle { commands: sender, wake: wake.clone(), unanswered: unanswered.clone() };
    let alarm = Alarm::new()?;
    thread::Builder::new().name("bfd".into()).stack_size(STACK).spawn(move || {
        let driver = Driver {
            sessions: Sessions::new(seed),
            receivers: Receivers::default(),
            no_echo: None,
            echo_awaited: BTreeMap::new(),
            senders: BTreeMap::new(),
            trouble: BTreeMap::new(),
            retry_at: None,
            random: fastrand::Rng::with_seed(seed),
            commands,
            has_more: false,
            wake,
            unanswered,
            alarm,
            events,
            unsent: Vec::new(),
        };
        driver.run();
    })?;
    Ok(handle)
}

struct Driver {
    sessions: Sessions,
    receivers: Receivers,
    /// Why no Echo packets can be sent or received, as it was told
    no_echo: Option<String>,
    /// Where they would go
    echo_awaited: BTreeMap<PeerName, echo::Path>,
    /// By our discriminator
    senders: BTreeMap<NonZeroU32, Sender>,
    /// By our discriminator
    trouble: BTreeMap<NonZeroU32, String>,
    retry_at: Option<Instant>,
    random: fastrand::Rng,
    commands: std_mpsc::Receiver<Command>,
    /// Some of them may still wait
    has_more: bool,
    wake: Arc<EventFd>,
    unanswered: Arc<AtomicBool>,
    alarm: Alarm,
    events: mpsc::Sender<Event>,
    /// Events that did not fit into the channel
    unsent: Vec<Event>,
}

impl Driver {
    /// Runs until the owner is gone.
    fn run(mut self) {
        self.prepare();
        while self.handle_commands() {
            // What had come by then has been read when timeouts are judged, however late that is.
            let now = Instant::now();
            let mut turns = 1;
            while !self.receivers.receive(&mut self.sessions, now) && turns < MOST_TURNS {
                turns += 1;
                self.transmit();
            }
            let before = self.sessions.count();
            self.sessions.handle_timeout(now);
            if self.sessions.count() != before {
                self.close_unused();
            }
            if self.retry_at.is_some_and(|at| at <= now) {
                self.retry_at = None;
                self.open_receivers();
                for (peer, path) in std::mem::take(&mut self.echo_awaited) {
                    self.set_echo_path(peer, path, now);
                }
            }
            self.transmit();
            self.tell();
            self.wait();
        }
    }

    /// Sees to it that neither other threads nor memory that is elsewhere hold this one up, as far
    /// as that is allowed.
    fn prepare(&mut self) {
        // The first memory that a thread asks for is where the rest will be, too; what is locked
        // is what there is by then.
        self.unsent.reserve(64);
        sys::touch_stack();
        if let Err(error) = sys::lock_memory() {
            self.unsent.push(Event::MemoryNotLocked(sys::describe(&error)));
        }
        if let Err(error) = sys::set_realtime_priority(PRIORITY) {
            self.unsent.push(Event::NoRealtime(sys::describe(&error)));
        }
    }

    /// Takes commands that wait; `false` when the owner is gone.
    fn handle_commands(&mut self) -> bool {
        self.has_more = true;
        let mut sessions_changed = false;
        for _ in 0..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => sessions_changed |= self.handle_command(command),
                Err(std_mpsc::TryRecvError::Empty) => {
                    self.has_more = false;
                    break;
                }
                Err(std_mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        if sessions_changed {
            self.close_unused();
            self.open_receivers();
        }
        true
    }

    /// Carries out a command; whether other sockets may be needed now.
    fn handle_command(&mut self, command: Command) -> bool {
        let now = Instant::now();
        match command {
            Command::Set(peer, config) => {
                self.sessions.set(&peer, config, now);
                return true;
            }
            Command::Key(peer, authentication, key) => self.take_key(&peer, &authentication, key),
            Command::EchoPath(peer, path) => self.set_echo_path(peer, path, now),
            Command::Remove(peer) => self.sessions.remove(&peer, now),
            Command::Look(peer) => {
                let look = self.sessions.evidence(&peer, now);
                self.unsent.extend(look.map(|look| Event::Look(peer, look)));
            }
            Command::AdminDown => self.sessions.admin_down(now),
            Command::Ping => self.unanswered.store(false, Ordering::Relaxed),
            Command::Report(reply) => {
                // The asker may have given up waiting.
                let sessions = self.sessions.looks(now).collect();
                let _ = reply.send(Report { discards: *self.sessions.discards(), sessions });
            }
        }
        false
    }

    /// Opens what Echo packets need, now or later.
    fn set_echo_path(&mut self, peer: PeerName, path: echo::Path, now: Instant) {
        match self.receivers.open_echo(path.local.is_ipv4()) {
            Ok(()) => {
                self.echo_awaited.remove(&peer);
                self.no_echo = self.no_echo.take().filter(|_| !self.echo_awaited.is_empty());
                self.sessions.set_echo_path(&peer, Some(path), now);
            }
            Err(error) => {
                self.sessions.set_echo_path(&peer, None, now);
                self.echo_awaited.insert(peer, path);
                self.retry_at = Some(now + RETRY);
                if self.no_echo.as_ref() != Some(&error) {
                    self.unsent.push(Event::NoEcho(error.clone()));
                    self.no_echo = Some(error);
                }
            }
        }
    }

    fn take_key(
        &mut self,
        peer: &PeerName,
        authentication: &Authentication,
        key: Result<Key, String>,
    ) {
        let had_key = self.sessions.has_key(peer);
        let discriminator = self.sessions.session_with(peer);
        match (key, discriminator) {
            (Ok(key), _) => {
                self.sessions.set_key(peer, authentication, key, Instant::now());
                let heard = discriminator.filter(|it| !self.trouble_with_receiving(*it));
                heard.into_iter().for_each(|it| self.note(it, None));
            }
            (Err(error), _) if had_key => {
                self.unsent.push(Event::KeyUnreadable(peer.clone(), error));
            }
            (Err(error), Some(discriminator)) => self.note(discriminator, Some(error)),
            (Err(_), None) => {}
        }
    }

    fn close_unused(&mut self) {
        let sessions = &self.sessions;
        self.senders.retain(|discriminator, _| sessions.config(*discriminator).is_some());
        self.trouble.retain(|discriminator, _| sessions.owner(*discriminator).is_some());
        self.receivers.close_unused(sessions);
    }

    fn open_receivers(&mut self) {
        let configs = self.sessions.configs();
        let deaf = configs.filter(|(_, config)| !self.receivers.hear(config));
        let deaf: Vec<_> = deaf.map(|(one, config)| (one, config.clone())).collect();
        for (discriminator, config) in deaf {
            let trouble = self.receivers.open(&config).err();
            let trouble = trouble.map(|error| cannot_receive(config.hops.port(), &error));
            if trouble.is_some() {
                self.retry_at = Some(Instant::now() + RETRY);
            }
            self.note(discriminator, trouble);
        }
    }

    fn transmit(&mut self) {
        // What falls due meanwhile is of the next turn: there is always one.
        let now = Instant::now();
        while let Some(packet) = self.sessions.poll_transmit(now) {
            if self.trouble_with_receiving(packet.session) {
                continue; // a session that cannot hear must not say that it is there
            }
            let trouble = self.send(&packet).err();
            if packet.echo.is_some() {
                continue; // that nothing comes back says enough
            }
            let trouble = trouble.map(|error| format!("cannot send: {}", sys::describe(&error)));
            self.note(packet.session, trouble);
        }
    }

    fn trouble_with_receiving(&self, discriminator: NonZeroU32) -> bool {
        let config = self.sessions.config(discriminator);
        config.is_some_and(|(_, config)| !self.receivers.hear(config))
    }

    fn send(&mut self, Transmit { session, echo, payload }: &Transmit) -> io::Result<()> {
        let Some((_, config)) = self.sessions.config(*session) else { return Ok(()) };
        if let Some(path) = echo {
            let link = self.receivers.link(path.local.is_ipv4());
            return link.map_or(Ok(()), |link| link.send(path, payload.octets()));
        }
        match self.senders.entry(*session) {
            Entry::Occupied(entry) => entry.into_mut().send(payload.octets()),
            Entry::Vacant(entry) => {
                entry.insert(Sender::open(config, &mut self.random)?).send(payload.octets())
            }
        }
    }

    /// Tells the owner about trouble once, and once that it is over. Nobody wants to know about a
    /// session that is on its way out.
    fn note(&mut self, discriminator: NonZeroU32, trouble: Option<String>) {
        let Some((peer, generation)) = self.sessions.owner(discriminator) else { return };
        let before = match &trouble {
            Some(text) => self.trouble.insert(discriminator, text.clone()),
            None => self.trouble.remove(&discriminator),
        };
        if before != trouble {
            self.unsent.push(Event::Trouble(peer.clone(), generation, trouble));
        }
    }

    /// Hands over events without ever waiting; what does not fit is kept for the next turn.
    fn tell(&mut self) {
        while let Some((peer, generation, event)) = self.sessions.poll_event() {
            self.unsent.push(Event::Session(peer, generation, event));
        }
        let sent = self
            .unsent
            .iter()
            .take_while(|event| self.events.try_send((*event).clone()).is_ok())
            .count();
        self.unsent.drain(..sent);
    }

    /// Sleeps until a datagram, a command or the next deadline.
    fn wait(&mut self) {
        let unsent = (!self.unsent.is_empty()).then(|| Instant::now() + RETRY_EVENTS);
        let more = self.has_more.then(Instant::now);
        let deadlines = [self.sessions.poll_timeout(), self.retry_at, unsent, more];
        let set = self.alarm.set(deadlines.into_iter().flatten().min());
        // It can always be set; if not, that must not be for ever.
        let limit = set.err().map(|_| TimeSpec::from(Duration::from_millis(1)));
        let receivers = self.receivers.fds();
        let mut fds = [self.wake.as_fd(), self.alarm.as_fd()].into_iter().chain(receivers);
        let mut fds: [PollFd<'_>; 2 + Receivers::MOST] = std::array::from_fn(|_| {
            PollFd::new(fds.next().unwrap_or(self.alarm.as_fd()), PollFlags::POLLIN)
        });
        // Interrupted or not, the loop looks at everything.
        let _ = ppoll(&mut fds, limit, None);
        if fds[0].any() == Some(true) {
            // Nonblocking; an error means that nobody woke us.
            let _ = self.wake.read();
        }
    }
}
