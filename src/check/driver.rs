//! Runs probes when they are due, on a thread and a runtime of their own.
#![expect(clippy::disallowed_methods, reason = "driver: clock, timers and a thread")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::schedule::{Mode, Schedule};
use super::{Check, CheckId, Failure, Outcome, Progress, Run, Shared};
use crate::process::Surroundings;
use crate::route::ServiceName;
use crate::sys;

/// So many probes at a time, as when all checks begin or their services hang, need so much memory
/// that it is worth being given back afterwards.
const BURST: usize = 64;

/// What the owner wants.
#[derive(Debug)]
pub enum Command {
    /// Probe this from now on, in place of what had the same name
    Start(CheckId, Arc<Check>, Generation),
    /// No longer
    Stop(CheckId),
    /// Go by another interval
    Pace(CheckId, Mode),
    /// Probe it now
    Hasten(CheckId),
    /// This is so with a service from now on, for checks that
    /// [follow](super::Probe::follows_service) it
    Tell(ServiceName, Surroundings),
}

/// What the thread is sent.
#[derive(Debug)]
enum Message {
    Command(Command),
    /// Give a sign of life
    Ping,
}

/// Reaches the thread.
#[derive(Clone, Debug)]
pub struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    /// A ping is on its way
    unanswered: Arc<AtomicBool>,
}

impl Handle {
    /// Carries out a command.
    pub fn send(&self, command: Command) {
        self.post(Message::Command(command));
    }

    /// Asks the thread for a sign of life; whether it has given the one that was asked for before.
    #[must_use]
    pub fn ping(&self) -> bool {
        let is_alive = !self.unanswered.swap(true, Ordering::Relaxed);
        if is_alive {
            self.post(Message::Ping);
        }
        is_alive
    }

    fn post(&self, message: Message) {
        // The thread is gone only when the process ends.
        let _ = self.messages.send(message);
    }
}

/// Tells the outcomes of a check from those of the one that had its name before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Generation(pub u64);

/// Has a check probed at once, when what it asks about may have changed.
#[derive(Debug)]
pub(super) struct Wake {
    id: CheckId,
    generation: Generation,
    driver: mpsc::UnboundedSender<(CheckId, Generation)>,
}

impl Wake {
    /// Which check.
    pub(super) fn id(&self) -> &CheckId {
        &self.id
    }

    /// Does so.
    pub(super) fn wake(&self) {
        // The driver is gone only when the process ends.
        let _ = self.driver.send((self.id.clone(), self.generation));
    }
}

/// What is so with services, as far as checks follow them.
#[derive(Debug, Default)]
pub(super) struct Services(HashMap<ServiceName, watch::Sender<Surroundings>>);

/// What is so with one service.
#[derive(Debug)]
pub(super) struct Followed(watch::Receiver<Surroundings>);

impl Services {
    fn tell(&mut self, service: ServiceName, surroundings: Surroundings) {
        self.0.entry(service).or_default().send_replace(surroundings);
    }

    /// Lets a check know, for as long as it keeps what is returned.
    pub(super) fn follow(&mut self, service: &ServiceName) -> Followed {
        Followed(self.0.entry(service.clone()).or_default().subscribe())
    }

    /// What nobody follows any more is told again when somebody does.
    fn forget_unfollowed(&mut self) {
        self.0.retain(|_, sender| sender.receiver_count() > 0);
    }
}

impl Followed {
    /// As it is now.
    pub(super) fn now(&self) -> Surroundings {
        self.0.borrow().clone()
    }
}

/// What the owner is told.
#[derive(Debug)]
pub struct Report {
    /// Which check
    pub id: CheckId,
    /// As it was started
    pub generation: Generation,
    /// How it went
    pub outcome: Outcome,
}

/// Starts the thread; it ends when all handles are dropped. Then `reports` is closed, as soon as no
/// probe has anything under way that would outlive the process.
///
/// # Errors
///
/// When the kernel has no thread or descriptor left.
pub fn spawn(seed: u64, reports: mpsc::Sender<Report>) -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (waker, wakes) = mpsc::unbounded_channel();
    let (sender, messages) = mpsc::unbounded_channel();
    let handle = Handle { messages: sender, unanswered: Arc::default() };
    let driver = Driver {
        unanswered: handle.unanswered.clone(),
        limit: limit()?,
        waker,
        wakes,
        schedule: Schedule::new(seed),
        checks: HashMap::new(),
        shared: Shared::default(),
        probes: JoinSet::new(),
        most_probes: 0,
        reports,
    };
    thread::Builder::new().name("checks".into()).spawn(move || {
        let reports = runtime.block_on(driver.run(messages));
        // It ends what probes have started, and does not wait for file systems that hang.
        runtime.shutdown_background();
        drop(reports);
    })?;
    Ok(handle)
}

/// How many probes there may be at a time: a program takes three descriptors, and a quarter of all is
/// for what else there is.
fn limit() -> io::Result<usize> {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(descriptors / 4).unwrap_or(usize::MAX).max(1))
}

struct Driver {
    unanswered: Arc<AtomicBool>,
    /// No more probes at a time; one that is due then waits
    limit: usize,
    waker: mpsc::UnboundedSender<(CheckId, Generation)>,
    wakes: mpsc::UnboundedReceiver<(CheckId, Generation)>,
    schedule: Schedule,
    checks: HashMap<CheckId, (Arc<Running>, Option<AbortHandle>)>,
    shared: Shared,
    probes: JoinSet<(CheckId, Generation)>,
    /// The most there were at a time, since memory was last given back
    most_probes: usize,
    reports: mpsc::Sender<Report>,
}

/// A check with all that its probes need.
struct Running {
    /// Or why it could not be set up, and fails
    probe: Result<Box<dyn Run>, Failure>,
    timeout: Duration,
    generation: Generation,
}

impl Driver {
    /// Returns where it reported to.
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) -> mpsc::Sender<Report> {
        loop {
            let has_room = |driver: &Self| driver.probes.len() < driver.limit;
            while has_room(&self)
                && let Some(id) = self.schedule.poll_due(Instant::now())
            {
                self.start_probe(id);
            }
            let next = self.schedule.poll_timeout().filter(|_| has_room(&self));
            let due = async {
                match next {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            // All can be dropped half-way without losing anything.
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Command(command)) => self.handle_command(command),
                    Some(Message::Ping) => self.unanswered.store(false, Ordering::Relaxed),
                    None => return self.reports,
                },
                Some((id, generation)) = self.wakes.recv() => {
                    if self.is_current(&id, generation) {
                        self.schedule.hasten(&id, Instant::now());
                    }
                }
                Some(finished) = self.probes.join_next() => {
                    // The others were ended by us.
                    if let Ok((id, generation)) = finished
                        && self.is_current(&id, generation)
                    {
                        self.schedule.handle_finished(&id, Instant::now());
                    }
                    self.release_memory();
                }
                () = due => {}
            }
        }
    }

    fn is_current(&self, id: &CheckId, generation: Generation) -> bool {
        self.checks.get(id).is_some_and(|(check, _)| check.generation == generation)
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Start(id, check, generation) => {
                let wake = Wake { id: id.clone(), generation, driver: self.waker.clone() };
                let probe = check.probe.kind().prepare(&mut self.shared, wake);
                let running = Running { probe, timeout: check.timeout, generation };
                self.end_probe(&id);
                self.checks.insert(id.clone(), (Arc::new(running), None));
                self.schedule.insert(id, check.pace, Instant::now());
            }
            Command::Stop(id) => {
                self.end_probe(&id);
                self.checks.remove(&id);
                self.schedule.remove(&id);
                self.shared.services.forget_unfollowed();
            }
            Command::Pace(id, mode) => self.schedule.set_mode(&id, mode, Instant::now()),
            Command::Hasten(id) => self.schedule.hasten(&id, Instant::now()),
            Command::Tell(service, surroundings) => {
                self.shared.services.tell(service, surroundings);
            }
        }
    }

    /// Gives back what a burst of probes needed, once it is over: each takes some 20 KiB, which
    /// the allocator would keep.
    fn release_memory(&mut self) {
        if self.most_probes >= BURST && self.probes.len() <= self.most_probes / 8 {
            self.most_probes = 0;
            sys::release_free_memory();
        }
    }

    /// Ends the probe of a check that is replaced or stopped, if one is under way.
    fn end_probe(&mut self, id: &CheckId) {
        if let Some((_, Some(probe))) = self.checks.get(id) {
            probe.abort();
        }
    }

    fn start_probe(&mut self, id: CheckId) {
        let Some((check, probe)) = self.checks.get_mut(&id) else { return };
        let check = check.clone();
        let reports = self.reports.clone();
        *probe = Some(self.probes.spawn(async move {
            let generation = check.generation;
            let outcome = check.run().await;
            // The owner is gone only when the process ends.
            let _ = reports.send(Report { id: id.clone(), generation, outcome }).await;
            (id, generation)
        }));
        self.most_probes = self.most_probes.max(self.probes.len());
    }
}

impl Running {
    async fn run(&self) -> Outcome {
        let started = Instant::now();
        let mut progress = Progress::default();
        let probe = async {
            match &self.probe {
                Ok(probe) => probe.run(&mut progress).await,
                Err(failure) => Err(failure.clone()),
            }
        };
        let limit = self.timeout;
        let ended = timeout(limit, probe).await;
        let result = ended.unwrap_or_else(|_| {
            Err(Failure::new(match progress {
                Progress::Silence => format!("no answer within {limit:?}"),
                Progress::Octets(count) => {
                    format!("the answer did not end within {limit:?} ({count} octets came)")
                }
                Progress::Mismatch(text) => format!("{text} within {limit:?}"),
            }))
        });
        Outcome { result, started, finished: Instant::now() }
    }
}
