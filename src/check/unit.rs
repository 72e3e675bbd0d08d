//! The `unit` probe: a unit of systemd is active. What systemd told last is the answer, and news of
//! it is a probe at once.
#![expect(clippy::disallowed_methods, reason = "driver: tasks")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, watch};

use super::driver::Wake;
use super::{Failure, Kind, Probing, Progress, Run, Shared};
use crate::units::{self, Activity, Event, State, UnitName};

/// News that may wait here.
const QUEUE: usize = 64;

/// Which unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unit {
    /// Its whole name
    pub name: UnitName,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {}", self.name)
    }
}

impl Kind for Unit {
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn prepare(&self, shared: &mut Shared, wake: Wake) -> Result<Box<dyn Run>, Failure> {
        let (known, watched) = shared.units.watch(&self.name, wake);
        Ok(Box::new(Prepared { name: self.name.clone(), known, _watched: watched }))
    }
}

/// A unit that is watched.
struct Prepared {
    name: UnitName,
    /// What systemd said last, or why it cannot be asked
    known: watch::Receiver<Known>,
    /// It is watched for as long as this is there
    _watched: Watched,
}

impl Run for Prepared {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Prepared {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        *progress = Progress::Mismatch(format!("systemd did not say what {} is like", self.name));
        let mut known = self.known.clone();
        let is_there = |known: &Known| known.state.is_some() || known.trouble.is_some();
        // Whoever tells is gone only when the process ends.
        let gone = |_| Failure::new("nobody watches systemd any more");
        let known = known.wait_for(is_there).await.map_err(gone)?.clone();
        let state = known.state.unwrap_or(State::UNKNOWN);
        let words = state.describe(&self.name);
        match (state.activity, known.trouble) {
            (Activity::Active | Activity::Reloading, _) => Ok(()),
            (Activity::Unknown, Some(trouble)) => Err(Failure::new(trouble)),
            _ => Err(Failure::new(words)),
        }
    }
}

/// What is known of a unit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    /// `None` before anything was said
    state: Option<State>,
    trouble: Option<String>,
}

/// Units that are watched for checks.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// To the task that does, once there is one
    task: Option<mpsc::UnboundedSender<Command>>,
}

#[derive(Debug)]
enum Command {
    /// Watch this unit for a check, which is woken by news
    Watch(UnitName, watch::Sender<Known>, Weak<Wake>),
    /// A check is gone
    Prune,
}

/// Has a unit watched until it is dropped.
struct Watched {
    wake: Option<Arc<Wake>>,
    task: mpsc::UnboundedSender<Command>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.wake = None;
        // The task is gone only when the process ends.
        let _ = self.task.send(Command::Prune);
    }
}

impl Watcher {
    fn watch(&mut self, name: &UnitName, wake: Wake) -> (watch::Receiver<Known>, Watched) {
        let wake = Arc::new(wake);
        let (sender, receiver) = watch::channel(Known::default());
        let task = self.task.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(run(receiver));
            sender
        });
        let command = Command::Watch(name.clone(), sender, Arc::downgrade(&wake));
        // As above.
        let _ = task.send(command);
        (receiver, Watched { wake: Some(wake), task: task.clone() })
    }
}

/// Checks that want to know, by unit.
#[derive(Default)]
struct Audience {
    checks: Vec<(UnitName, watch::Sender<Known>, Weak<Wake>)>,
    states: BTreeMap<UnitName, State>,
    trouble: Option<String>,
}

async fn run(mut commands: mpsc::UnboundedReceiver<Command>) {
    let (wanted, requests) = mpsc::unbounded_channel();
    let (sender, mut events) = mpsc::channel(QUEUE);
    tokio::spawn(units::driver::run(requests, sender));
    let mut audience = Audience::default();
    loop {
        tokio::select! {
            command = commands.recv() => {
                match command {
                    Some(Command::Watch(name, sender, wake)) => audience.add(name, sender, wake),
                    Some(Command::Prune) => audience.prune(),
                    None => return,
                }
                // It ends with this task.
                let _ = wanted.send(audience.wanted());
            }
            Some(event) = events.recv() => audience.handle(event),
        }
    }
}

impl Audience {
    fn add(&mut self, name: UnitName, sender: watch::Sender<Known>, wake: Weak<Wake>) {
        self.checks.push((name, sender, wake));
        self.tell_all(false);
    }

    fn prune(&mut self) {
        self.checks.retain(|(_, _, wake)| wake.strong_count() > 0);
        let wanted = self.wanted();
        self.states.retain(|name, _| wanted.contains(name));
    }

    fn wanted(&self) -> BTreeSet<UnitName> {
        self.checks.iter().map(|(name, ..)| name.clone()).collect()
    }

    fn handle(&mut self, event: Event) {
        match event {
            // What was known goes on to count: a bus that is away is no reason to withdraw.
            Event::State(name, state) if state.is_known() || !self.states.contains_key(&name) => {
                self.states.insert(name, state);
            }
            Event::State(..) => {}
            Event::Unreachable(trouble) => self.trouble = trouble,
        }
        self.tell_all(true);
    }

    fn tell_all(&self, wakes: bool) {
        for (name, sender, wake) in &self.checks {
            let (state, trouble) = (self.states.get(name).cloned(), self.trouble.clone());
            let known = Known { state, trouble };
            let mut is_news = false;
            // A probe that waits for the first word hears of trouble too.
            sender.send_if_modified(|before| {
                is_news = before.state != known.state;
                let is_changed = *before != known;
                *before = known;
                is_changed
            });
            if let Some(wake) = wake.upgrade().filter(|_| wakes && is_news) {
                wake.wake();
            }
        }
    }
}
