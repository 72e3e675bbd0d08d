//! `[service.*]`
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::check::{broken, check};
use super::peer::Peers;
use super::problem::{Place, Problem, listed};
use super::table::{LATER, Located, Reading, Table, untext};
use super::value::{Text, WrittenRequire};
use super::{Named, address, gate, in_order, name, unit};
use crate::rib::policy::Policy;
use crate::route::{CheckName, ServiceName, Weight};
use crate::service::{CheckConfig, Config, Require};

/// Up to ten gigabit per second, as routers show it; FRR has no room for more than 34 in a number of
/// four octets.
const WEIGHTS: RangeInclusive<i64> = 1..=10_000;

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
    for (name, _, table) in in_order(named) {
        let name = ServiceName::from(name);
        let (config, places) = service(table, known);
        for (vip, place) in config.vips.iter().zip(places) {
            match owners.get(vip) {
                Some((owner, first)) => {
                    let message = format!("VIP {vip} belongs to service `{owner}` already");
                    let problem = Problem::new(&place, message).also(first, "first used here");
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
    table.later(&["degraded"], LATER);
    table.needs("vips", "[\"203.0.113.5\"]");
    let vips = table.elements::<Text<IpAddr>>("vips", "write vips = [\"203.0.113.5\"]");
    let vips = vips.unwrap_or_default();
    let vips: Vec<_> = vips.into_iter().map(untext).collect();
    for vip in &vips {
        check_vip(&table, vip, known);
    }
    let interface = interface(&mut table);
    let keep_address = keep_address(&mut table, interface.as_deref());
    let when_down = table.optional::<String>("when-down");
    if let Some(when_down) = when_down.filter(|when| when.value != "withdraw") {
        let message = match when_down.value.as_str() {
            "degrade" => "`when-down = \"degrade\"` is not yet supported".into(),
            other => format!("`when-down = {other:?}` is not known"),
        };
        table.problem(Problem::new(&when_down.place, message).help("write \"withdraw\""));
    }
    let weight = table.number("weight", WEIGHTS).map(|weight| Weight(weight.value));
    let gate = gate::gate(&mut table);
    let unit = unit::name(&mut table);
    let require = table.optional::<WrittenRequire>("require");
    let checks = checks(&mut table, &vips, keep_address);
    let require = check_require(&table, require, checks.len());
    table.finish();
    let places = vips.iter().map(|vip| vip.place.clone()).collect();
    let vips = vips.into_iter().map(|vip| vip.value).collect();
    (Config { vips, interface, keep_address, require, gate, unit, weight, checks }, places)
}

fn checks(
    table: &mut Table<'_>,
    vips: &[Located<IpAddr>],
    keep_address: bool,
) -> BTreeMap<CheckName, CheckConfig> {
    let problems = table.problems();
    let mut checks = BTreeMap::new();
    for (name, check_table) in table.named("check", "service.NAME.check.NAME") {
        let config = check(check_table, vips, keep_address).unwrap_or_else(broken);
        checks.insert(CheckName::from(name.value), config);
    }
    if checks.is_empty() && table.problems() == problems {
        let path = table.path();
        let message = format!("[{path}] has no check: it would be announced dead or alive");
        let help = format!("write [{path}.check.alive] and under it tcp = \"…\" or http = \"…\"");
        table.problem(Problem::new(table.place(), message).help(help));
    }
    checks
}

fn check_vip(table: &Table<'_>, vip: &Located<IpAddr>, known: &Known<'_>) {
    let Known { policy, peers, pools_are_sound } = *known;
    let problem = |message: String| Problem::new(&vip.place, message);
    let address = vip.value;
    if let Some(problem) = address::problem(address.into(), &vip.place, "a VIP") {
        table.problem(problem);
        return; // in a pool or not
    }
    if pools_are_sound && table.is_complete() && policy.pool_of(address).is_none() {
        let pools = policy
            .pools
            .iter()
            .map(|(name, pool)| format!("{name} ({})", listed(pool.prefixes.iter())));
        let help = match policy.pools.is_empty() {
            true => "no pool is defined: write [pool.vips] and under it addresses = [\"…\"]".into(),
            false => format!("pools: {}", listed(pools)),
        };
        table.problem(problem(format!("VIP {address} is outside every pool")).help(help));
    }
    if let Some(Located { value: name, place }) = peers.addresses.get(&address) {
        let message = format!("VIP {address} is the address of peer `{name}`");
        table.problem(problem(message).also(place, "here"));
    }
    if let Some(Located { value: name, place }) = peers.next_hops.get(&address) {
        let message = format!("VIP {address} is the next hop of the routes for peer `{name}`");
        let help = "the way to a VIP cannot lead over a VIP";
        table.problem(problem(message).also(place, "here").help(help));
    }
    if let Some(Located { value: name, place }) = peers.sources.get(&address) {
        let message = format!("VIP {address} is our address for the session with peer `{name}`");
        let help = "a VIP comes and goes with its service, a session must not";
        table.problem(problem(message).also(place, "here").help(help));
    }
}

fn keep_address(table: &mut Table<'_>, interface: Option<&str>) -> bool {
    let Some(written) = table.optional::<bool>("keep-address") else { return true };
    if !written.value && interface.is_none() {
        let message = "`keep-address = false` has no use with interface = \"none\"";
        let help = "whoever puts the VIPs on the host takes them off; leave one of the two out";
        table.problem(Problem::new(&written.place, message).help(help));
    }
    written.value
}

/// `None` for "none".
fn interface(table: &mut Table<'_>) -> Option<String> {
    let Some(written) = table.optional::<String>("interface") else { return Some("lo".into()) };
    name::interface_problem(&written).into_iter().for_each(|problem| table.problem(problem));
    (written.value != "none").then_some(written.value)
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
        && checks > 0
        && number > checks
    {
        let noun = if checks == 1 { "check" } else { "checks" };
        let message = format!("`require` is {number}, but the service has {checks} {noun}");
        table.problem(Problem::new(&place, message));
    }
    require
}
