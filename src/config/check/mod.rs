//! `[service.*.check.*]`
mod http;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::problem::Problem;
use super::table::{Located, Table, untext};
use super::value::{Percent, Text};
use crate::check::http::address;
use crate::check::schedule::Pace;
use crate::check::tcp::Tcp;
use crate::check::{Check, Probe};
use crate::service::CheckConfig;
use crate::service::health::Thresholds;
use http::http;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: NonZeroU32 = NonZeroU32::new(2).expect("not zero");
const FALL: NonZeroU32 = NonZeroU32::new(3).expect("not zero");
const JITTER: Percent = Percent(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
pub(super) const NO_PORT: &str = "nothing can listen on port 0";
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// Stands for a check that could not be read, so that nothing else is said about it.
pub(super) fn broken() -> CheckConfig {
    let target = SocketAddr::from(([127, 0, 0, 1], 1));
    let pace = Pace { steady: INTERVAL, changing: INTERVAL, down: INTERVAL, jitter_percent: 0 };
    let probe = Probe::Tcp(Tcp { target, send: None, expect: None });
    let check = Arc::new(Check { probe, timeout: TIMEOUT, pace });
    CheckConfig { check, thresholds: Thresholds { rise: RISE, fall: FALL } }
}

/// `[service.*.check.*]`; `None` where it cannot be used.
pub(super) fn check(
    mut table: Table<'_>,
    vips: &[Located<IpAddr>],
    keep_address: bool,
) -> Option<CheckConfig> {
    let kinds_of_later = ["dns", "query", "grpc", "exec", "unit", "file", "tls", "udp"];
    let refused = table.later(&kinds_of_later, "this version cannot do it; use http or tcp");
    let (pace, timeout) = pace(&mut table);
    let mut count = |key, default| {
        let written = table.number::<u32>(key, 1..=1000).and_then(|n| NonZeroU32::new(n.value));
        written.unwrap_or(default)
    };
    let thresholds = Thresholds { rise: count("rise", RISE), fall: count("fall", FALL) };
    let kinds = (table.has("http"), table.has("tcp"));
    let http = kinds.0.as_ref().and_then(|_| http(&mut table));
    let tcp = kinds.1.as_ref().and_then(|_| tcp(&mut table));
    let probe = match kinds {
        (Some(first), Some(second)) => {
            let message = "a check has one kind, this one has two";
            let problem = Problem::new(&second, message).also(&first, "the other one");
            table.problem(problem.help("make it two checks"));
            None
        }
        (Some(_), None) => http.map(|http| Probe::Http(Box::new(http))),
        (None, Some(_)) => tcp.map(Probe::Tcp),
        (None, None) => {
            no_kind(&mut table, refused);
            None
        }
    };
    let target = match &probe {
        Some(Probe::Http(http)) => address(&http.url),
        Some(Probe::Tcp(tcp)) => Some(tcp.target.ip()),
        None => None,
    };
    if !keep_address && vips.iter().any(|vip| Some(vip.value) == target) {
        let message =
            "this check probes the VIP, which is not on the host while the service is down";
        let help = "with keep-address = false, probe another address of the host";
        table.problem(Problem::new(table.place(), message).help(help));
    }
    table.finish();
    let check = Arc::new(Check { probe: probe?, timeout, pace });
    Some(CheckConfig { check, thresholds })
}

/// Reads on with the keys of every kind, so that a misspelt one is found among them.
fn no_kind(table: &mut Table<'_>, is_refused: bool) {
    http(table);
    tcp(table);
    if !is_refused && !table.has_unknown() {
        let message = format!("[{}] does not say what to probe", table.path());
        let help = "write http = \"http://203.0.113.5/healthz\" or tcp = \"203.0.113.5:80\"";
        table.problem(Problem::new(table.place(), message).help(help));
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

fn tcp(table: &mut Table<'_>) -> Option<Tcp> {
    let target = table.optional::<Text<SocketAddr>>("tcp").map(untext);
    if let Some(target) = target.as_ref().filter(|target| target.value.port() == 0) {
        table.problem(Problem::new(&target.place, NO_PORT));
    }
    let send = table.optional::<String>("send").map(|text| text.value);
    let expect = table.optional::<String>("expect").map(|text| text.value);
    Some(Tcp { target: target?.value, send, expect })
}
