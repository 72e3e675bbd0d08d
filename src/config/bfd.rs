//! `[bfd.*]`
use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::{Place, Problem};
use super::secret::{KEY, required_secret};
use super::table::{Located, Table};
use super::value::{Text, Value, Written};
use super::{Named, in_order};
use crate::bfd::authentication::{Authentication, Method};
use crate::bfd::echo;
use crate::bfd::session;

const INTERVAL: Duration = Duration::from_millis(300);
const ECHO_INTERVAL: Duration = Duration::from_millis(50);
/// What is of no use with a router that has no BFD.
const OF_CONTROL_PACKETS: [&str; 7] = [
    "auth",
    "demand-interval",
    "minimum-ttl",
    "passive",
    "receive-interval",
    "strict",
    "transmit-interval",
];
const DETECT_MULTIPLIER: NonZeroU8 = NonZeroU8::new(3).expect("not zero");
/// Below this, a host's scheduler is the larger part of the interval.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(3);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
const DEMAND_INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

impl Written for Method {
    const EXPECTED: &'static str = "\"simple-password\", \
                                    \"keyed-md5\", \"meticulous-keyed-md5\", \
                                    \"keyed-sha1\" or \"meticulous-keyed-sha1\"";
    const WORDS: &'static [&'static str] = &[
        "simple-password",
        "keyed-md5",
        "meticulous-keyed-md5",
        "keyed-sha1",
        "meticulous-keyed-sha1",
    ];

    fn understand(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, word)| *word == text).map(|(method, _)| method)
    }
}

/// What a `[bfd.*]` says.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) session: session::Config,
    pub(super) minimum_ttl: u8,
    pub(super) authentication: Option<Authentication>,
    /// BGP waits for BFD
    pub(super) strict: bool,
}

/// `[bfd.*]`
pub(super) fn profiles(named: Named<'_>) -> BTreeMap<String, Profile> {
    in_order(named).into_iter().map(|(name, _, table)| (name, profile(table))).collect()
}

fn profile(mut table: Table<'_>) -> Profile {
    let written = OF_CONTROL_PACKETS.iter().filter_map(|key| Some((*key, table.has(key)?)));
    let written: Vec<_> = written.collect();
    let required_min_rx = interval(&mut table, "receive-interval", INTERVAL);
    let desired_min_tx = interval(&mut table, "transmit-interval", INTERVAL);
    let detect_mult =
        table.number("detect-multiplier", 1..=255).and_then(|m| NonZeroU8::new(m.value));
    let minimum_ttl = table.number("minimum-ttl", 1..=255).map_or(254, |ttl| ttl.value);
    let passive = table.or("passive", false);
    let demand = demand(&mut table);
    let authentication = authentication(&mut table);
    let strict = table.or("strict", false);
    let echo = echo(&mut table, &written);
    table.finish();
    let detect_mult = detect_mult.unwrap_or(DETECT_MULTIPLIER);
    let session =
        session::Config { detect_mult, desired_min_tx, required_min_rx, passive, demand, echo };
    Profile { session, minimum_ttl, authentication, strict }
}

/// Whether a session uses the Echo function.
enum Mode {
    Off,
    On,
    Unaffiliated,
}

impl Value for Mode {
    const EXPECTED: &'static str = "true, false or \"unaffiliated\"";
    const WORDS: &'static [&'static str] = &["unaffiliated"];

    fn read(written: &DeValue<'_>) -> Option<Self> {
        match (written.as_bool(), written.as_str()) {
            (Some(false), _) => Some(Self::Off),
            (Some(true), _) => Some(Self::On),
            (None, Some("unaffiliated")) => Some(Self::Unaffiliated),
            (None, _) => None,
        }
    }
}

/// `echo` and `echo-interval` (RFC 5880 §6.4); `of_control_packets` are the keys that are written and
/// need a router that has BFD.
fn echo(table: &mut Table<'_>, of_control_packets: &[(&str, Place)]) -> Option<echo::Config> {
    let mode = table.or("echo", Mode::Off);
    let interval = interval(table, "echo-interval", ECHO_INTERVAL);
    let unaffiliated = match mode {
        Mode::Off => return None,
        Mode::On => false,
        Mode::Unaffiliated => true,
    };
    for (key, place) in of_control_packets.iter().filter(|_| unaffiliated) {
        let message = format!("`{key}` has no use with echo = \"unaffiliated\"");
        let help = "leave it out: the router has no BFD that could be told (RFC 9747)";
        table.problem(Problem::new(place, message).help(help));
    }
    Some(echo::Config { interval, unaffiliated })
}

/// A duration that lies in what BFD can do.
fn interval(table: &mut Table<'_>, key: &'static str, default: Duration) -> Duration {
    let written = table.optional::<Text<Duration>>(key);
    let Some(Located { value: Text(value), place }) = written else { return default };
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&value) {
        let message = format!("`{key}` must be from 3ms to 60s");
        table.problem(Problem::new(&place, message));
    }
    value
}

/// `demand-interval` (RFC 5880 §6.6).
fn demand(table: &mut Table<'_>) -> Option<Duration> {
    let Located { value: Text(interval), place } = table.optional("demand-interval")?;
    if !DEMAND_INTERVALS.contains(&interval) {
        let message = "`demand-interval` must be from 100ms to 1h";
        table.problem(Problem::new(&place, message));
    }
    Some(interval)
}

/// `auth` (RFC 5880 §6.7).
fn authentication(table: &mut Table<'_>) -> Option<Authentication> {
    let mut auth = table.subtable("auth", "bfd.NAME.auth")?;
    let method = auth.required::<Text<Method>>("type", "\"meticulous-keyed-sha1\"");
    auth.needs("key-id", "1");
    let key_id = auth.number::<u8>("key-id", 0..=255);
    let secret = required_secret(&mut auth, &KEY);
    auth.finish();
    Some(Authentication { method: method?.value.0, key_id: key_id?.value, secret: secret?.value })
}
