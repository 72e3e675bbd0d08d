//! `[bfd.*]`
use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::Problem;
use super::secret::{KEY, required_secret};
use super::table::{LATER, Located, Table};
use super::value::{Text, Written};
use super::{Named, in_order};
use crate::bfd::authentication::{Authentication, Method};
use crate::bfd::session;

const INTERVAL: Duration = Duration::from_millis(300);
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
    let mut interval = |key| match table.optional::<Text<Duration>>(key) {
        None => INTERVAL,
        Some(interval) => {
            let (Text(value), place) = (interval.value, interval.place);
            if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&value) {
                let message = format!("`{key}` must be from 3ms to 60s");
                table.problem(Problem::new(&place, message));
            }
            value
        }
    };
    let required_min_rx = interval("receive-interval");
    let desired_min_tx = interval("transmit-interval");
    let detect_mult =
        table.number("detect-multiplier", 1..=255).and_then(|m| NonZeroU8::new(m.value));
    let minimum_ttl = table.number("minimum-ttl", 1..=255).map_or(254, |ttl| ttl.value);
    let passive = table.or("passive", false);
    let demand = demand(&mut table);
    let authentication = authentication(&mut table);
    let strict = table.or("strict", false);
    table.only_false(&["echo"]);
    table.later(&["echo-interval"], LATER);
    table.finish();
    let detect_mult = detect_mult.unwrap_or(DETECT_MULTIPLIER);
    let session = session::Config { detect_mult, desired_min_tx, required_min_rx, passive, demand };
    Profile { session, minimum_ttl, authentication, strict }
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
