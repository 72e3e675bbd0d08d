//! `[service.*]` and `[service.*.check.*]`.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, Url};

use super::files;
use super::problem::{Place, Problem};
use super::table::{Located, Reading, Table, untext};
use super::value::{Percent, Statuses, Text, WrittenRequire};
use super::{Named, Peers};
use crate::check::http::{self, Http, Tls};
use crate::check::schedule::Pace;
use crate::check::tcp::Tcp;
use crate::check::{Check, Probe};
use crate::rib::policy::Policy;
use crate::route::{CheckName, ServiceName};
use crate::service::health::Thresholds;
use crate::service::{CheckConfig, Config, Require};
use crate::sys;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: NonZeroU32 = NonZeroU32::new(2).expect("not zero");
const FALL: NonZeroU32 = NonZeroU32::new(3).expect("not zero");
const JITTER: Percent = Percent(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// What services are checked against.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) policy: &'a Policy,
    pub(super) peers: &'a Peers,
    /// Every pool could be read
    pub(super) pools_are_sound: bool,
}

/// `[service.*]`
pub(super) fn services(
    reading: &Reading,
    named: Named<'_>,
    known: &Known<'_>,
) -> BTreeMap<ServiceName, Config> {
    let mut services = BTreeMap::new();
    let mut owners: BTreeMap<IpAddr, (ServiceName, Place)> = BTreeMap::new();
    for (name, (_, table)) in named {
        let name = ServiceName::from(name);
        let (config, places) = service(table, known);
        for (vip, place) in config.vips.iter().zip(places) {
            match owners.get(vip) {
                Some((owner, first)) => {
                    let message = format!("VIP {vip} belongs to service `{owner}` already");
                    let problem = Problem::new(&place, message).also(first, "here");
                    reading.problems.push(problem);
                }
                None => {
                    owners.insert(*vip, (name.clone(), place));
                }
            }
        }
        services.insert(name, config);
    }
    services
}

fn service(mut table: Table<'_>, known: &Known<'_>) -> (Config, Vec<Place>) {
    table.later(&["unit", "weight", "announce-delay", "drain-time", "degraded"]);
    table.needs("vips", "[\"203.0.113.5\"]");
    let vips = table.list::<Text<IpAddr>>("vips").unwrap_or_default();
    let vips: Vec<_> = vips.into_iter().map(untext).collect();
    for vip in &vips {
        check_vip(&table, vip, known);
    }
    let interface = interface(&mut table);
    let keep_address = table.or("keep-address", true);
    let when_down = table.optional::<String>("when-down");
    if let Some(when_down) = when_down.filter(|when| when.value != "withdraw") {
        let message = match when_down.value.as_str() {
            "degrade" => "`when-down = \"degrade\"` is not yet supported".into(),
            other => format!("`when-down = {other:?}` is not known"),
        };
        table.problem(Problem::new(&when_down.place, message).help("write \"withdraw\""));
    }
    let require = table.optional::<WrittenRequire>("require");
    let named = table.named("check", "service.NAME.check.NAME");
    let mut checks = BTreeMap::new();
    for (name, check_table) in named {
        if let Some(config) = check(check_table, &vips, keep_address) {
            checks.insert(CheckName::from(name.value), config);
        } else {
            checks.insert(CheckName::from(name.value), broken());
        }
    }
    if checks.is_empty() {
        let message =
            format!("[{}] has no check: it would be announced dead or alive", table.path());
        let help = format!(
            "write [{}.check.alive] and under it tcp = \"…\" or http = \"…\"",
            table.path()
        );
        table.problem(Problem::new(table.place(), message).help(help));
    }
    let require = check_require(&table, require, checks.len());
    table.finish();
    let places = vips.iter().map(|vip| vip.place.clone()).collect();
    let vips = vips.into_iter().map(|vip| vip.value).collect();
    (Config { vips, interface, keep_address, require, checks }, places)
}

fn check_vip(table: &Table<'_>, vip: &Located<IpAddr>, known: &Known<'_>) {
    let Known { policy, peers, pools_are_sound } = *known;
    let problem = |message: String| Problem::new(&vip.place, message);
    let pools = policy.pools.iter().map(|(name, pool)| {
        let prefixes: Vec<_> = pool.prefixes.iter().map(ToString::to_string).collect();
        format!("{name} ({})", prefixes.join(", "))
    });
    let address = vip.value;
    if pools_are_sound && policy.pool_of(address).is_none() {
        let pools: Vec<_> = pools.collect();
        let help = match pools.as_slice() {
            [] => "no pool is defined: write [pool.vips] and under it addresses = [\"…\"]".into(),
            pools => format!("pools: {}", pools.join("; ")),
        };
        table.problem(problem(format!("VIP {address} is outside every pool")).help(help));
    }
    if let Some((name, _)) = peers.iter().find(|(_, p)| p.value.bgp.transport.address == address) {
        table.problem(problem(format!("VIP {address} is the address of peer `{name}`")));
    }
    let hostless = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    if hostless {
        table.problem(problem(format!("{address} cannot be a VIP")));
    }
}

/// `None` for "none".
fn interface(table: &mut Table<'_>) -> Option<String> {
    let Some(written) = table.optional::<String>("interface") else { return Some("lo".into()) };
    let name = written.value;
    let valid = (1..=15).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if !valid {
        let message = format!("{name:?} is no name for an interface");
        let help = "at most 15 characters, none of them a slash, a colon or a space";
        table.problem(Problem::new(&written.place, message).help(help));
    }
    (name != "none").then_some(name)
}

fn check_require(
    table: &Table<'_>,
    written: Option<Located<WrittenRequire>>,
    checks: usize,
) -> Require {
    let Some(Located { value: WrittenRequire(require), place }) = written else {
        return Require::All;
    };
    if let Require::AtLeast(number) = require
        && number > checks.max(1)
    {
        let noun = if checks == 1 { "check" } else { "checks" };
        let message = format!("`require` is {number}, but the service has {checks} {noun}");
        table.problem(Problem::new(&place, message));
    }
    require
}

/// Stands for a check that could not be read, so that nothing else is said about it.
fn broken() -> CheckConfig {
    let target = SocketAddr::from(([127, 0, 0, 1], 1));
    let pace = Pace { steady: INTERVAL, changing: INTERVAL, down: INTERVAL, jitter_percent: 0 };
    let probe = Probe::Tcp(Tcp { target, send: None, expect: None });
    let check = Arc::new(Check { probe, timeout: TIMEOUT, pace });
    CheckConfig { check, thresholds: Thresholds { rise: RISE, fall: FALL } }
}

fn check(
    mut table: Table<'_>,
    vips: &[Located<IpAddr>],
    keep_address: bool,
) -> Option<CheckConfig> {
    let refused = table.later(&["dns", "query", "grpc", "exec", "unit", "file", "tls", "udp"]);
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
            if !refused {
                let message = format!("[{}] does not say what to probe", table.path());
                let help =
                    "write http = \"http://203.0.113.5/healthz\" or tcp = \"203.0.113.5:80\"";
                table.problem(Problem::new(table.place(), message).help(help));
            }
            None
        }
    };
    let target = match &probe {
        Some(Probe::Http(http)) => http::address(&http.url),
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

/// Intervals and timeout.
fn pace(table: &mut Table<'_>) -> (Pace, Duration) {
    let mut interval = |key, default| match table.optional::<Text<Duration>>(key) {
        None => (default, None),
        Some(Located { value: Text(value), place }) => {
            if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&value) {
                table.problem(Problem::new(&place, format!("`{key}` must be from 10ms to 1h")));
            }
            (value, Some(place))
        }
    };
    let (steady, _) = interval("interval", INTERVAL);
    let (changing, _) = interval("fast-interval", steady);
    let (down, _) = interval("down-interval", steady);
    let (timeout, place) = interval("timeout", TIMEOUT.min(steady));
    if let Some(place) = place.filter(|_| timeout > steady) {
        let message = format!("`timeout` must be at most the interval ({steady:?})");
        let help = "a check never has two probes under way";
        table.problem(Problem::new(&place, message).help(help));
    }
    let Text(Percent(jitter_percent)) = table.or("jitter", Text(JITTER));
    (Pace { steady, changing, down, jitter_percent }, timeout)
}

fn tcp(table: &mut Table<'_>) -> Option<Tcp> {
    let target = table.optional::<Text<SocketAddr>>("tcp").map(untext);
    let send = table.optional("send").map(|text| text.value);
    let expect = table.optional("expect").map(|text| text.value);
    Some(Tcp { target: target?.value, send, expect })
}

fn http(table: &mut Table<'_>) -> Option<Http> {
    let written = table.optional::<String>("http");
    let url = written.as_ref().and_then(|written| url(table, written));
    let method = method(table);
    let host = table.optional::<String>("host");
    let headers = headers(table);
    let status = table.list::<Statuses>("status");
    let status = match status {
        None => vec![200..=299],
        Some(ranges) => ranges.into_iter().map(|range| range.value.0).collect(),
    };
    let body = table.optional("body").map(|text| text.value);
    let redirects = table.number("redirects", 0..=20).map_or(0, |most| most.value);
    let tls = tls(table);
    let host = host.and_then(|host| {
        let mut probe = Url::parse("http://x/").ok()?;
        let valid =
            HeaderValue::from_str(&host.value).is_ok() && probe.set_host(Some(&host.value)).is_ok();
        if !valid {
            let message = format!("{:?} is no name of a host", host.value);
            table.problem(Problem::new(&host.place, message));
        }
        valid.then_some(host.value)
    });
    Some(Http { url: url?, method: method?, host, headers, status, body, redirects, tls })
}

fn url(table: &Table<'_>, written: &Located<String>) -> Option<Url> {
    let problem = |message: String| Problem::new(&written.place, message);
    let example = "such as \"http://203.0.113.5/healthz\"";
    let url = match Url::parse(&written.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(url) => {
            let message = format!("`http` does not speak {:?}", url.scheme());
            table.problem(problem(message).help(format!("write a URL {example}")));
            return None;
        }
        Err(error) => {
            let message = format!("{:?} is no URL: {error}", written.value);
            table.problem(problem(message).help(format!("write a URL {example}")));
            return None;
        }
    };
    if http::address(&url).is_none() {
        let host = url.host_str().unwrap_or_default();
        let help = format!(
            "a check must not depend on DNS: put the address into the URL and write host = {host:?}"
        );
        table.problem(problem(format!("{host:?} is not an address")).help(help));
    }
    Some(url)
}

fn method(table: &mut Table<'_>) -> Option<Method> {
    let Some(written) = table.optional::<String>("method") else { return Some(Method::GET) };
    match written.value.as_str() {
        "GET" => Some(Method::GET),
        "HEAD" => Some(Method::HEAD),
        other => {
            let message = format!("method {other:?} is not for health checks");
            table.problem(Problem::new(&written.place, message).help("write \"GET\" or \"HEAD\""));
            None
        }
    }
}

fn headers(table: &mut Table<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(inner) = table.table("headers") else { return headers };
    for (name, value) in inner.all::<String>() {
        let key = HeaderName::from_bytes(name.value.as_bytes());
        match (key, HeaderValue::from_str(&value.value)) {
            (Ok(key), Ok(text)) => {
                headers.insert(key, text);
            }
            (Err(_), _) => {
                let message = format!("{:?} is no name of a header", name.value);
                table.problem(Problem::new(&name.place, message));
            }
            (_, Err(_)) => {
                let message = "a header cannot have control characters in it";
                table.problem(Problem::new(&value.place, message));
            }
        }
    }
    headers
}

fn tls(table: &mut Table<'_>) -> Tls {
    let verify = table.or("tls-verify", true);
    let file = table.optional::<PathBuf>("ca-file");
    let Some(file) = file else {
        return if verify { Tls::System } else { Tls::Unverified };
    };
    if !verify {
        let message = "`ca-file` has no use with tls-verify = false";
        table.problem(Problem::new(&file.place, message));
    }
    let path = file.value.display();
    let problem = |message| table.problem(Problem::new(&file.place, message));
    match files::read_referenced(&file.value) {
        Err(error) => problem(format!("cannot read {path}: {}", sys::describe(&error))),
        Ok(pem) => match Certificate::from_pem_bundle(&pem) {
            Ok(certificates) if !certificates.is_empty() => return Tls::Authorities(pem),
            _ => problem(format!("{path} holds no certificate in PEM form")),
        },
    }
    Tls::Unverified
}
