//! What is known of units, from what systemd tells.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::watch::{Properties, Reply, Request, Signal, Watch};
use super::{Activity, Event, State, UnitName, WrongName};

const NGINX: &str = "nginx.service";
const RESTART: &str = "/org/freedesktop/systemd1/job/7";

fn name(text: &str) -> UnitName {
    UnitName::new(text).expect("the name of a unit")
}

/// A systemd with one unit, and who watches it.
struct World {
    watch: Watch,
    now: Instant,
    /// It answers
    answers: bool,
    /// What it says of the unit
    unit: Properties,
    jobs: BTreeMap<String, String>,
    /// What it was asked
    asked: Vec<Request>,
}

impl World {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
        let now = Instant::now();
        let (jobs, asked) = (BTreeMap::new(), Vec::new());
        Self { watch: Watch::new(), now, answers: true, unit: properties("active", 5), jobs, asked }
    }

    /// nginx.service is watched, and active.
    fn watching() -> Self {
        let mut world = Self::new();
        world.want(&[NGINX]);
        assert_eq!(world.events(), [told("active", false, 5)]);
        world
    }

    fn want(&mut self, units: &[&str]) {
        let wanted: BTreeSet<_> = units.iter().map(|unit| name(unit)).collect();
        self.watch.set_wanted(&wanted, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(request) = self.watch.poll_request() {
            self.asked.push(request.clone());
            let reply = match &request {
                Request::Connect if self.answers => {
                    self.watch.handle_connected();
                    continue;
                }
                Request::Connect => {
                    self.watch.handle_lost("no such file", self.now);
                    continue;
                }
                Request::Disconnect | Request::Listen(_) | Request::Ignore(_) => continue,
                Request::Subscribe => Ok(Reply::Done),
                Request::Load(name) | Request::Find(name) => {
                    let is_alias = name.as_ref() == "www.service";
                    Ok(Reply::Object(if is_alias { NGINX.into() } else { name.to_string() }))
                }
                Request::Read(..) => Ok(Reply::Properties(self.unit.clone())),
                Request::ReadResult(..) => Ok(Reply::Word("exit-code".into())),
                Request::ReadJob(_, job) => {
                    self.jobs.get(job).cloned().map(Reply::Word).ok_or("no such job".into())
                }
            };
            self.watch.handle_reply(request, reply, self.now);
        }
    }

    /// The unit changes, and systemd tells.
    fn change(&mut self, state: &str, activation: u64, job: Option<&str>) {
        let job = Some(job.map(str::to_owned));
        self.unit = Properties { job, ..properties(state, activation) };
        self.signal(Signal::Changed(NGINX.into(), self.unit.clone()));
    }

    fn signal(&mut self, signal: Signal) {
        self.watch.handle_signal(signal, self.now);
        self.settle();
    }

    /// Time passes, with all that happens in it.
    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.watch.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.watch.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.watch.poll_event()).collect()
    }
}

fn properties(state: &str, activation: u64) -> Properties {
    Properties {
        load_state: Some("loaded".into()),
        active_state: Some(state.into()),
        result: None,
        activation: Some(activation),
        job: Some(None),
    }
}

fn told(state: &str, stopping: bool, activation: u64) -> Event {
    let activity = match state {
        "active" => Activity::Active,
        "reloading" => Activity::Reloading,
        "activating" => Activity::Activating,
        "deactivating" => Activity::Deactivating,
        "inactive" => Activity::Inactive,
        "not-found" => Activity::NotFound,
        "unknown" => return Event::State(name(NGINX), State::UNKNOWN),
        other => panic!("{other}"),
    };
    Event::State(name(NGINX), State { activity, stopping, result: None, activation })
}

#[test]
fn names_are_whole_and_of_something_that_has_a_state() {
    for good in [
        "nginx.service",
        "nginx@blue.service",
        "dev-sda1.device",
        "-.mount",
        "app-a\\x2db:c_d.socket",
        "a@b@c.service",
    ] {
        assert!(UnitName::new(good).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("nginx", WrongName::NoType),
        ("nginx.conf", WrongName::NoType),
        ("nginx@.service", WrongName::Template),
        ("@blue.service", WrongName::Characters),
        (".service", WrongName::Characters),
        ("", WrongName::Characters),
        ("nginx .service", WrongName::Characters),
        ("größe.service", WrongName::Characters),
    ] {
        assert_eq!(UnitName::new(bad), Err(why), "{bad}");
    }
    assert_eq!(UnitName::new(&format!("{}.service", "x".repeat(248))), Err(WrongName::Characters));
}

#[test]
fn a_stop_is_told_before_anything_has_stopped() {
    let mut world = World::watching();
    world.jobs.insert(RESTART.into(), "stop".into());
    world.change("active", 5, Some(RESTART));
    assert_eq!(world.events(), [told("active", true, 5)]);
    world.change("deactivating", 5, Some(RESTART));
    world.jobs.clear();
    world.change("inactive", 5, None);
    let expected = [told("deactivating", true, 5), told("inactive", false, 5)];
    assert_eq!(world.events(), expected);
}

#[test]
fn jobs_of_other_kinds_ask_nobody_to_stop() {
    for kind in ["start", "reload", "verify-active", "nop"] {
        let mut world = World::watching();
        world.jobs.insert(RESTART.into(), kind.into());
        world.change("active", 5, Some(RESTART));
        assert_eq!(world.events(), [], "{kind}");
    }
}

#[test]
fn a_restart_that_has_become_a_start_before_it_was_asked_about_was_a_stop() {
    let mut world = World::watching();
    let job = Some(RESTART.to_owned());
    let changed = |state: &str| {
        let properties = Properties { job: Some(job.clone()), ..properties(state, 5) };
        Signal::Changed(NGINX.into(), properties)
    };
    // All of this before the answer.
    world.watch.handle_signal(changed("active"), world.now);
    world.watch.handle_signal(changed("deactivating"), world.now);
    world.watch.handle_signal(changed("inactive"), world.now);
    world.jobs.insert(RESTART.into(), "start".into());
    world.settle();
    assert_eq!(world.events(), [told("deactivating", true, 5), told("inactive", true, 5)]);
    world.change("active", 9, None);
    assert_eq!(world.events(), [told("active", false, 9)]);
}

#[test]
fn the_start_of_what_failed_is_no_stop() {
    let mut world = World::watching();
    world.change("activating", 5, None);
    world.jobs.insert(RESTART.into(), "start".into());
    world.change("activating", 5, Some(RESTART));
    world.change("active", 9, None);
    assert_eq!(world.events(), [told("activating", false, 5), told("active", false, 9)]);
}

#[test]
fn a_failure_is_told_in_systemds_word() {
    let mut world = World::watching();
    world.unit.result = Some("exit-code".into());
    let failed = Properties { result: Some("exit-code".into()), ..properties("failed", 5) };
    world.signal(Signal::Changed(NGINX.into(), failed));
    let events = world.events();
    let [Event::State(unit, state)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(state.describe(unit), "nginx.service is failed (exit-code)");
}

#[test]
fn a_unit_that_there_is_not_is_said_not_to_be_there() {
    let mut world = World::new();
    world.unit = Properties { load_state: Some("not-found".into()), ..properties("inactive", 0) };
    world.want(&[NGINX]);
    assert_eq!(world.events(), [told("not-found", false, 0)]);
    // Its file comes, and is read.
    world.unit = properties("inactive", 0);
    world.signal(Signal::Reloading(true));
    world.signal(Signal::Reloading(false));
    assert_eq!(world.events(), [told("inactive", false, 0)]);
    // What runs goes on without its file.
    world.unit = Properties { load_state: Some("not-found".into()), ..properties("active", 6) };
    world.signal(Signal::Reloading(false));
    assert_eq!(world.events(), [told("active", false, 6)]);
}

#[test]
fn a_daemon_reload_in_which_all_units_go_and_come_is_no_news() {
    let mut world = World::watching();
    world.signal(Signal::Reloading(true));
    world.signal(Signal::Removed(NGINX.into()));
    world.signal(Signal::Changed(NGINX.into(), properties("inactive", 0)));
    world.signal(Signal::New(NGINX.into()));
    world.asked.clear();
    world.signal(Signal::Reloading(false));
    assert!(world.asked.contains(&Request::Load(name(NGINX))), "all is read again");
    assert_eq!(world.events(), []);
    world.change("failed", 5, None);
    assert_eq!(world.events().len(), 1, "and followed");
}

#[test]
fn what_is_unloaded_is_not_loaded_again_by_being_looked_at() {
    let mut world = World::watching();
    world.change("inactive", 5, None);
    world.asked.clear();
    world.signal(Signal::Removed(NGINX.into()));
    assert_eq!(world.asked, []);
    world.signal(Signal::New(NGINX.into()));
    assert_eq!(world.asked[0], Request::Find(name(NGINX)), "which loads nothing");
    let mut world = World::watching();
    world.signal(Signal::Removed(NGINX.into()));
    assert_eq!(world.events(), [told("inactive", false, 5)], "what ran is gone");
}

#[test]
fn systemd_that_is_executed_anew_is_read_again_and_nothing_is_said() {
    let mut world = World::watching();
    world.signal(Signal::OnBus(false));
    world.run(Duration::from_millis(500));
    world.signal(Signal::OnBus(true));
    world.run(Duration::from_secs(60));
    let is_state = |event: &Event| matches!(event, Event::State(..));
    assert!(!world.events().iter().any(is_state), "it is as it was");
    world.change("deactivating", 5, None);
    assert_eq!(world.events(), [told("deactivating", false, 5)]);
}

#[test]
fn a_bus_that_goes_is_tried_again_ever_less_often_and_nothing_is_known_meanwhile() {
    let mut world = World::watching();
    world.answers = false;
    world.watch.handle_lost("it is gone", world.now);
    world.settle();
    world.run(Duration::from_secs(1));
    let unreachable = |text: &str| Event::Unreachable(Some(text.into()));
    let gone = unreachable("cannot ask systemd about units: it is gone");
    let missing = unreachable("cannot ask systemd about units: no such file");
    assert_eq!(world.events(), [gone, missing], "what was known counts for a moment");
    world.run(Duration::from_secs(2));
    assert_eq!(world.events(), [told("unknown", false, 0)]);
    world.asked.clear();
    world.run(Duration::from_secs(600));
    let attempts = world.asked.iter().filter(|r| **r == Request::Connect).count();
    assert!((50..=70).contains(&attempts), "{attempts} attempts in ten minutes");
    assert_eq!(world.events(), [], "once is enough");
    world.answers = true;
    world.unit = properties("inactive", 5);
    world.run(Duration::from_secs(10));
    assert_eq!(world.events(), [Event::Unreachable(None), told("inactive", false, 5)]);
}

#[test]
fn without_a_bus_a_unit_is_soon_said_to_be_unknown() {
    let mut world = World::new();
    world.answers = false;
    world.want(&[NGINX]);
    world.run(Duration::from_millis(1900));
    assert_eq!(world.events().len(), 1, "why systemd cannot be asked");
    world.run(Duration::from_millis(200));
    assert_eq!(world.events(), [told("unknown", false, 0)]);
}

#[test]
fn a_refusal_is_told_in_systemds_words() {
    let mut world = World::new();
    world.want(&[]);
    world.watch.set_wanted(&BTreeSet::from([name(NGINX)]), world.now);
    world.watch.handle_connected();
    let load = Request::Load(name(NGINX));
    world.watch.handle_reply(load, Err("Access denied".into()), world.now);
    let expected = "systemd does not say what nginx.service is like: Access denied";
    assert_eq!(world.events(), [Event::Unreachable(Some(expected.into()))]);
}

#[test]
fn an_alias_is_followed_where_systemd_tells_of_it() {
    let mut world = World::new();
    world.want(&[NGINX, "www.service"]);
    world.events();
    world.change("deactivating", 5, None);
    assert_eq!(world.events().len(), 2);
    world.asked.clear();
    world.want(&["www.service"]);
    assert_eq!(world.asked, [], "it is still listened to");
    world.want(&[]);
    assert_eq!(world.asked.last(), Some(&Request::Disconnect));
    assert_eq!(world.watch.poll_timeout(), None);
}
