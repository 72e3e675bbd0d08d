//! What is known of the units that are watched, and what there is to ask systemd
//! (org.freedesktop.systemd1(5)).
//!
//! A unit is read in full when it is new, and again whenever systemd may have forgotten what it had
//! told: after a daemon-reload, after it was executed anew, after the bus was gone. From then on
//! PropertiesChanged says everything: systemd puts all properties of a unit into it, the job that
//! is queued for it among them, and sends it before the job begins. What kind of job that is has to
//! be asked.
//!
//! What was known goes on to count for a moment when systemd cannot be reached: it leaves the bus
//! when it is executed anew, and is back in no time.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Activity, Event, State, UnitName};

/// For how long what was known counts when systemd cannot be reached, and for how long a unit that is
/// new may be without an answer.
const GRACE: Duration = Duration::from_secs(2);
/// Before the first attempt to reach the bus again; then twice as long each time
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest time between attempts
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is to be done on the bus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Connect to it
    Connect,
    /// Leave it
    Disconnect,
    /// Let systemd tell of changes
    Subscribe,
    /// Take in what is told of the unit that is this object
    Listen(String),
    /// No longer
    Ignore(String),
    /// Have the unit loaded, and learn which object it is
    Load(UnitName),
    /// Learn which object it is, if it is loaded
    Find(UnitName),
    /// Read the properties of this object, which is the unit
    Read(UnitName, String),
    /// Read how this object, which is the unit, last ended
    ReadResult(UnitName, String),
    /// Read what kind of job this object is, which the unit has
    ReadJob(UnitName, String),
}

/// Properties of a unit, as far as they were told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Properties {
    /// LoadState
    pub load_state: Option<String>,
    /// ActiveState
    pub active_state: Option<String>,
    /// Result
    pub result: Option<String>,
    /// ActiveEnterTimestampMonotonic
    pub activation: Option<u64>,
    /// Job: the object, or `None` for none
    pub job: Option<Option<String>>,
}

/// What systemd answers to a [`Request`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Nothing but that it is done
    Done,
    /// An object
    Object(String),
    /// Properties
    Properties(Properties),
    /// A word
    Word(String),
}

/// What is told without being asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Properties of this object
    Changed(String, Properties),
    /// The unit that is this object is loaded now
    New(String),
    /// It is not any more
    Removed(String),
    /// systemd begins to read all units anew, or has done so
    Reloading(bool),
    /// systemd is on the bus, or is not any more
    OnBus(bool),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Contact {
    /// Nobody is watched, or it is time to connect
    None,
    /// After so many failures it is tried again then
    Waiting(u32, Instant),
    Connecting(u32),
    Connected,
}

/// All units that are watched.
#[derive(Debug)]
pub struct Watch {
    units: BTreeMap<UnitName, Watched>,
    contact: Contact,
    /// systemd reads all units anew: what it says of them meanwhile is not what they are like
    reloading: bool,
    trouble: Option<String>,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
}

#[derive(Debug, Default)]
struct Watched {
    /// As which object systemd has it, which is that of another name where this one is an alias
    object: Option<String>,
    known: Properties,
    job: Option<Job>,
    told: Option<State>,
    /// When it is said that nothing is known, unless something is by then
    unknown_at: Option<Instant>,
}

/// A job of a unit.
#[derive(Debug)]
struct Job {
    object: String,
    /// "stop", "restart", "start", …, once that is known
    kind: Option<String>,
    /// The unit has run while it was there
    has_run: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Nothing is watched.
    #[must_use]
    pub fn new() -> Self {
        Self {
            units: BTreeMap::new(),
            contact: Contact::None,
            reloading: false,
            trouble: None,
            requests: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Watches these units, and no others.
    pub fn set_wanted(&mut self, wanted: &BTreeSet<UnitName>, now: Instant) {
        let is_gone = |name: &UnitName| !wanted.contains(name);
        let gone: Vec<_> = self.units.extract_if(.., |name, _| is_gone(name)).collect();
        for object in gone.into_iter().filter_map(|(_, unit)| unit.object) {
            // An alias may be watched by its own name too.
            if !self.units.values().any(|unit| unit.object.as_ref() == Some(&object)) {
                self.requests.push_back(Request::Ignore(object));
            }
        }
        for name in wanted {
            if !self.units.contains_key(name) {
                let unknown_at = Some(now + GRACE);
                self.units.insert(name.clone(), Watched { unknown_at, ..Watched::default() });
                if self.contact == Contact::Connected {
                    self.requests.push_back(Request::Load(name.clone()));
                }
            }
        }
        if self.units.is_empty() {
            self.contact = Contact::None;
            self.requests.clear();
            self.requests.push_back(Request::Disconnect);
            self.tell_trouble(None);
        } else if self.contact == Contact::None {
            self.contact = Contact::Connecting(0);
            self.requests.push_back(Request::Connect);
        }
    }

    /// The bus is there.
    pub fn handle_connected(&mut self) {
        if self.units.is_empty() {
            return;
        }
        self.contact = Contact::Connected;
        self.read_all();
    }

    /// The bus is not there, or not any more.
    pub fn handle_lost(&mut self, why: &str, now: Instant) {
        if self.units.is_empty() {
            return;
        }
        let failures = match self.contact {
            Contact::Connecting(failures) | Contact::Waiting(failures, _) => failures,
            Contact::None | Contact::Connected => 0,
        };
        let pause = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(LAST_RETRY);
        self.contact = Contact::Waiting(failures + 1, now + pause);
        self.requests.clear();
        self.requests.push_back(Request::Disconnect);
        self.lose_sight(now);
        self.tell_trouble(Some(format!("cannot ask systemd about units: {why}")));
    }

    /// systemd answered, or refused in these words.
    pub fn handle_reply(&mut self, request: Request, reply: Result<Reply, String>, now: Instant) {
        match (request, reply) {
            (Request::Load(name), Ok(Reply::Object(object))) => self.handle_object(&name, object),
            (Request::Find(name), Ok(Reply::Object(object))) => {
                // Only what is loaded is asked about: a look loads a unit that is not, which is
                // told as news, which would be looked into, without end.
                self.handle_object(&name, object);
            }
            (Request::Read(name, object), Ok(Reply::Properties(properties))) => {
                let Some(unit) = self.units.get_mut(&name) else { return };
                if !self.reloading && unit.object.as_ref() == Some(&object) {
                    self.tell_trouble(None);
                    self.take_in(&name, properties);
                }
            }
            (Request::ReadResult(name, _), Ok(Reply::Word(result))) => {
                self.take_in(&name, Properties { result: Some(result), ..Properties::default() });
            }
            (Request::ReadJob(name, object), answer) => {
                let Some(unit) = self.units.get_mut(&name) else { return };
                let job = unit.job.as_mut().filter(|job| job.object == object);
                if let (Some(job), Ok(Reply::Word(kind))) = (job, answer) {
                    job.kind.get_or_insert(kind);
                    self.tell(&name);
                }
            }
            (Request::Load(name) | Request::Read(name, _), Err(why)) => {
                self.lose_sight_of(&name, now);
                let text = format!("systemd does not say what {name} is like: {why}");
                self.tell_trouble(Some(text));
            }
            (Request::Subscribe | Request::Listen(_), Err(why)) => {
                self.tell_trouble(Some(format!("cannot hear of changes to units: {why}")));
            }
            // What is not loaded is as it was known to be; what has no result has none.
            _ => {}
        }
    }

    /// systemd, or the bus, told this.
    pub fn handle_signal(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Changed(object, properties) if !self.reloading => {
                for name in self.names(&object) {
                    self.take_in(&name, properties.clone());
                }
            }
            Signal::New(object) if !self.reloading => {
                let names = self.names(&object);
                self.requests.extend(names.into_iter().map(Request::Find));
            }
            Signal::Removed(object) if !self.reloading => {
                for name in self.names(&object) {
                    self.handle_removed(&name);
                }
            }
            // All units go and come meanwhile, without any being stopped.
            Signal::Changed(..) | Signal::New(_) | Signal::Removed(_) => {}
            Signal::Reloading(true) => self.reloading = true,
            Signal::Reloading(false) | Signal::OnBus(true) => self.read_all(),
            Signal::OnBus(false) => {
                self.lose_sight(now);
                self.tell_trouble(Some("systemd is not on the bus".into()));
            }
        }
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Contact::Waiting(failures, at) = self.contact
            && at <= now
        {
            self.contact = Contact::Connecting(failures);
            self.requests.push_back(Request::Connect);
        }
        for (name, unit) in &mut self.units {
            if unit.unknown_at.is_some_and(|at| at <= now) {
                unit.unknown_at = None;
                if unit.told.replace(State::UNKNOWN) != Some(State::UNKNOWN) {
                    self.events.push_back(Event::State(name.clone(), State::UNKNOWN));
                }
            }
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retry = match self.contact {
            Contact::Waiting(_, at) => Some(at),
            Contact::None | Contact::Connecting(_) | Contact::Connected => None,
        };
        self.units.values().filter_map(|unit| unit.unknown_at).chain(retry).min()
    }

    /// The next thing for a driver to do.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next thing to be told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Reads everything, whatever was known.
    fn read_all(&mut self) {
        self.reloading = false;
        self.requests.push_back(Request::Subscribe);
        self.requests.extend(self.units.keys().cloned().map(Request::Load));
    }

    /// It is known as which object systemd has a unit.
    fn handle_object(&mut self, name: &UnitName, object: String) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.object.as_ref() != Some(&object) {
            // From then on nothing is missed that happens after the properties are read.
            self.requests.push_back(Request::Listen(object.clone()));
            if let Some(old) = unit.object.replace(object.clone())
                && !self.units.values().any(|unit| unit.object.as_ref() == Some(&old))
            {
                self.requests.push_back(Request::Ignore(old));
            }
        }
        self.requests.push_back(Request::Read(name.clone(), object.clone()));
        self.requests.push_back(Request::ReadResult(name.clone(), object));
    }

    /// systemd forgets units that do nothing; that it was running is no longer true in any case.
    fn handle_removed(&mut self, name: &UnitName) {
        let known = self.units.get(name).and_then(|unit| unit.known.active_state.as_deref());
        if known.is_some_and(|state| state != "failed") {
            let inactive = Some("inactive".into());
            let gone =
                Properties { active_state: inactive, job: Some(None), ..Properties::default() };
            self.take_in(name, gone);
        }
    }

    /// The names under which an object is watched.
    fn names(&self, object: &str) -> Vec<UnitName> {
        let is_it = |unit: &Watched| unit.object.as_deref() == Some(object);
        self.units.iter().filter(|(_, unit)| is_it(unit)).map(|(name, _)| name.clone()).collect()
    }

    fn take_in(&mut self, name: &UnitName, properties: Properties) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let Properties { load_state, active_state, result, activation, job } = properties;
        let known = &mut unit.known;
        for (slot, value) in [
            (&mut known.load_state, load_state),
            (&mut known.active_state, active_state),
            (&mut known.result, result),
        ] {
            if value.is_some() {
                *slot = value;
            }
        }
        known.activation = activation.or(known.activation);
        let runs =
            unit.activity().is_some_and(|activity| State { activity, ..State::UNKNOWN }.runs());
        match job {
            Some(None) => unit.job = None,
            Some(Some(object)) if unit.job.as_ref().is_none_or(|job| job.object != object) => {
                self.requests.push_back(Request::ReadJob(name.clone(), object.clone()));
                unit.job = Some(Job { object, kind: None, has_run: runs });
            }
            Some(Some(_)) | None => {}
        }
        if let Some(job) = &mut unit.job {
            // A restart becomes a start when the unit has been stopped, perhaps before it was asked
            // what it is.
            let is_stop = job.has_run && !runs;
            if is_stop && job.kind.as_deref() != Some("stop") {
                job.kind = Some("restart".into());
            }
            job.has_run |= runs;
        }
        self.tell(name);
    }

    fn tell(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let Some(state) = unit.state() else { return };
        unit.unknown_at = None;
        if unit.told.as_ref() != Some(&state) {
            unit.told = Some(state.clone());
            self.events.push_back(Event::State(name.clone(), state));
        }
    }

    /// Nothing is known of any unit any more, unless that is over at once.
    fn lose_sight(&mut self, now: Instant) {
        self.reloading = false;
        for name in self.units.keys().cloned().collect::<Vec<_>>() {
            self.lose_sight_of(&name, now);
        }
    }

    fn lose_sight_of(&mut self, name: &UnitName, now: Instant) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let told = unit.told.take();
        let is_known = told.as_ref().is_none_or(State::is_known);
        let unknown_at = unit.unknown_at.or_else(|| is_known.then_some(now + GRACE));
        *unit = Watched { told, unknown_at, ..Watched::default() };
    }

    fn tell_trouble(&mut self, trouble: Option<String>) {
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            self.events.push_back(Event::Unreachable(trouble));
        }
    }
}

impl Watched {
    fn activity(&self) -> Option<Activity> {
        Some(match self.known.active_state.as_deref()? {
            "active" => Activity::Active,
            // It runs all the same; "refreshing" is its extensions being exchanged.
            "reloading" | "refreshing" => Activity::Reloading,
            "activating" => Activity::Activating,
            "deactivating" => Activity::Deactivating,
            "failed" => Activity::Failed,
            // What runs without its file does run.
            "inactive" | "maintenance" => match self.known.load_state.as_deref() {
                Some("not-found") => Activity::NotFound,
                _ => Activity::Inactive,
            },
            _ => Activity::Unknown,
        })
    }

    fn state(&self) -> Option<State> {
        let activity = self.activity()?;
        let kind = self.job.as_ref().and_then(|job| job.kind.as_deref());
        let result = self.known.result.clone().filter(|_| activity == Activity::Failed);
        Some(State {
            activity,
            stopping: matches!(kind, Some("stop" | "restart" | "try-restart")),
            result: result.filter(|result| result != "success" && !result.is_empty()),
            activation: self.known.activation.unwrap_or_default(),
        })
    }
}
