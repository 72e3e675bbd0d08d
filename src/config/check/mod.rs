//! `[service.*.check.*]`: a file for each kind of check, and what all have in common.
mod dns;
mod endpoint;
mod exec;
mod file;
mod http;
mod tcp;
mod tls;
mod trust;
mod udp;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::problem::{Place, Problem};
use super::resolve;
use super::table::{Located, Table, asked_by, untext};
use super::value::{Percent, Text};
use crate::check::schedule::Pace;
use crate::check::tcp::Tcp;
use crate::check::{Check, Probe};
use crate::route::GroupName;
use crate::service::health::Thresholds;
use crate::service::{CheckConfig, Require};

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: NonZeroU32 = NonZeroU32::new(2).expect("not zero");
const FALL: NonZeroU32 = NonZeroU32::new(3).expect("not zero");
const JITTER: Percent = Percent(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const NO_PORT: &str = "nothing can listen on port 0";
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// A kind of check.
struct Kind {
    /// The key that says it
    key: &'static str,
    /// What that may be set to
    example: &'static str,
    /// Takes it and all that goes with it, whatever is written. `None` where it cannot be used,
    /// which is reported.
    read: fn(&mut Table<'_>) -> Option<Probe>,
    /// How many outcomes make a verdict, unless it is written
    thresholds: Thresholds,
}

/// For what may fail once and be well: a packet may be lost.
const REPEATED: Thresholds = Thresholds { rise: RISE, fall: FALL };
/// For what is so or is not.
const ONCE: Thresholds = Thresholds { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN };

const KINDS: &[Kind] = &[
    kind("http", "\"http://203.0.113.5/healthz\"", http::read, REPEATED),
    kind("tcp", "\"203.0.113.5:80\"", tcp::read, REPEATED),
    kind("udp", "\"203.0.113.5:123\"", udp::read, REPEATED),
    kind("tls", "\"203.0.113.5:443\"", tls::read, REPEATED),
    kind("dns", "\"203.0.113.5:53\"", dns::read, REPEATED),
    kind("file", "\"/run/web.up\"", file::read, ONCE),
    kind("unit", "\"nginx.service\"", unit::read, ONCE),
    kind("exec", "[\"/usr/lib/web/check\"]", exec::read, REPEATED),
];

const fn kind(
    key: &'static str,
    example: &'static str,
    read: fn(&mut Table<'_>) -> Option<Probe>,
    thresholds: Thresholds,
) -> Kind {
    Kind { key, example, read, thresholds }
}

/// Keys that say kinds of later versions, or go with them.
const LATER: &[&str] = &["grpc"];

/// The keys of which a check has one.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.key)
}

/// Stands for a check that could not be read, so that nothing else is said about it.
pub(super) fn broken() -> CheckConfig {
    let target = SocketAddr::from(([127, 0, 0, 1], 1));
    let pace = Pace { steady: INTERVAL, changing: INTERVAL, down: INTERVAL, jitter_percent: 0 };
    let probe = Tcp::to(target).into();
    let check = Arc::new(Check { probe, timeout: TIMEOUT, pace });
    CheckConfig { check, thresholds: Thresholds { rise: RISE, fall: FALL }, group: None }
}

/// `[service.*.check.*]`; `None` where it cannot be used.
pub(super) fn check(
    mut table: Table<'_>,
    vips: &[Located<IpAddr>],
    keep_address: bool,
    groups: &BTreeMap<GroupName, Require>,
) -> Option<CheckConfig> {
    let group = group(&mut table, groups);
    let (pace, timeout) = pace(&mut table);
    let written: Vec<_> =
        KINDS.iter().filter_map(|kind| Some((kind, table.has(kind.key)?))).collect();
    let refused = refuse_later(&mut table, written.is_empty());
    let thresholds = thresholds(&mut table, written.first().map(|(kind, _)| kind.thresholds));
    let mut probes: Vec<_> = written.iter().map(|(kind, _)| (kind.read)(&mut table)).collect();
    match &written[..] {
        [] => no_kind(&mut table, refused),
        [(kind, _)] => refuse_other_kinds(&mut table, kind),
        [(_, first), (_, second), ..] => several_kinds(&table, first, second, written.len()),
    }
    let probe = probes.pop().flatten().filter(|_| written.len() == 1);
    let needed = probe.as_ref().map(Probe::addresses).unwrap_or_default();
    if !keep_address && vips.iter().any(|vip| needed.contains(&vip.value)) {
        let message =
            "this check needs the VIP, which is not on the host while the service is down";
        let help = "with keep-address = false, use another address of the host";
        table.problem(Problem::new(table.place(), message).help(help));
    }
    table.finish();
    let check = Arc::new(Check { probe: probe?, timeout, pace });
    Some(CheckConfig { check, thresholds, group })
}

/// `group`, one of those that there are.
fn group(table: &mut Table<'_>, groups: &BTreeMap<GroupName, Require>) -> Option<GroupName> {
    let written = table.optional::<String>("group")?;
    let known = groups.keys().map(|name| (name.as_ref(), name.clone()));
    resolve(table, "group", &written, known)
}

/// Whether there were any. They are no suggestions for checks that have a kind.
fn refuse_later(table: &mut Table<'_>, is_without_kind: bool) -> bool {
    let mut written = LATER.iter().filter(|key| table.has(key).is_some());
    let help = format!("this version cannot do it; use {}", either(kinds()));
    (written.next().is_some() || is_without_kind) && table.later(LATER, &help)
}

/// `rise` and `fall`, or those of the kind.
fn thresholds(table: &mut Table<'_>, of_kind: Option<Thresholds>) -> Thresholds {
    let default = of_kind.unwrap_or(REPEATED);
    let mut count = |key, default| {
        let written = table.number::<u32>(key, 1..=1000).and_then(|n| NonZeroU32::new(n.value));
        written.unwrap_or(default)
    };
    Thresholds { rise: count("rise", default.rise), fall: count("fall", default.fall) }
}

/// Nothing says what to probe. A misspelt key is searched for among those of every kind.
fn no_kind(table: &mut Table<'_>, is_refused: bool) {
    for kind in KINDS {
        table.skip(&asked_by(kind.read));
    }
    if !is_refused && !table.has_unknown() {
        let message = format!("[{}] does not say what to probe", table.path());
        let help =
            format!("write {}", either(KINDS.iter().map(|k| format!("{} = {}", k.key, k.example))));
        table.problem(Problem::new(table.place(), message).help(help));
    }
}

fn several_kinds(table: &Table<'_>, first: &Place, second: &Place, count: usize) {
    let number = if count == 2 { "two".into() } else { count.to_string() };
    let message = format!("a check has one kind, this one has {number}");
    let problem = Problem::new(second, message).also(first, "the other one");
    table.problem(problem.help(format!("make it {number} checks")));
}

/// Keys that only checks of other kinds have.
fn refuse_other_kinds(table: &mut Table<'_>, kind: &Kind) {
    let others: Vec<_> = KINDS.iter().map(|kind| (kind.key, asked_by(kind.read))).collect();
    let keys: BTreeSet<_> = others.iter().flat_map(|(_, keys)| keys).copied().collect();
    for key in keys {
        let Some(place) = table.take_unknown(key) else { continue };
        let theirs = others.iter().filter(|(_, keys)| keys.contains(key));
        let theirs = either(theirs.map(|(kind, _)| format!("`{kind}`")));
        let message = format!("`{key}` has no use with `{}`", kind.key);
        table.problem(Problem::new(&place, message).help(format!("it goes with {theirs}")));
    }
}

/// "a, b or c"
fn either(all: impl Iterator<Item = impl ToString>) -> String {
    let mut all: Vec<String> = all.map(|one| one.to_string()).collect();
    match all.pop() {
        Some(last) if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// Intervals and timeout.
fn pace(table: &mut Table<'_>) -> (Pace, Duration) {
    let is_written = table.has("interval").is_some();
    // A value and, where it is written and can be used, its place.
    let mut interval = |key, default| match table.optional::<Text<Duration>>(key).map(untext) {
        None => (default, None),
        Some(Located { value, place }) => {
            let in_range = (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&value);
            if !in_range {
                table.problem(Problem::new(&place, format!("`{key}` must be from 10ms to 1h")));
            }
            (value, in_range.then_some(place))
        }
    };
    let (steady, place) = interval("interval", INTERVAL);
    // What cannot be used is nothing to compare with.
    let is_known = place.is_some() == is_written;
    let (changing, _) = interval("fast-interval", steady);
    let (down, _) = interval("down-interval", steady);
    let (timeout, place) = interval("timeout", TIMEOUT.min(steady));
    if let Some(place) = place.filter(|_| is_known && timeout > steady) {
        let message = format!("`timeout` must be at most the interval ({steady:?})");
        let help = "a check never has two probes under way";
        table.problem(Problem::new(&place, message).help(help));
    }
    let Text(Percent(jitter_percent)) = table.or("jitter", Text(JITTER));
    (Pace { steady, changing, down, jitter_percent }, timeout)
}
