//! `[service.*]`
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::check::{broken, check};
use super::peer::Peers;
use super::policy::{self, Communities};
use super::problem::{Place, Problem, listed};
use super::table::{Located, Reading, Table, untext};
use super::value::{Text, Written, WrittenRequire};
use super::{Named, address, gate, hooks, in_order, name, unit};
use crate::rib::policy::Policy;
use crate::route::{CheckName, Degradation, GroupName, ServiceName, Weight};
use crate::service::{CheckConfig, Config, Require};

/// Up to ten gigabit per second, as routers show it; FRR has no room for more than 34 in a number of
/// four octets.
const WEIGHTS: RangeInclusive<i64> = 1..=10_000;

/// What services are checked against.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) policy: &'a Policy,
    pub(super) communities: &'a Communities,
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
    table.needs("vips", "[\"203.0.113.5\"]");
    let vips = table.elements::<Text<IpAddr>>("vips", "write vips = [\"203.0.113.5\"]");
    let vips = vips.unwrap_or_default();
    let vips: Vec<_> = vips.into_iter().map(untext).collect();
    for vip in &vips {
        check_vip(&table, vip, known);
    }
    let interface = interface(&mut table);
    let keep_address = keep_address(&mut table, interface.as_deref());
    let degraded = degraded(&mut table, keep_address, known);
    let weight = table.number("weight", WEIGHTS).map(|weight| Weight(weight.value));
    let gate = gate::gate(&mut table, degraded.is_some());
    let hooks = hooks::hooks(&mut table);
    let unit = unit::name(&mut table);
    let require = table.optional::<WrittenRequire>("require");
    let (groups, written_groups) = groups(&mut table);
    let checks = checks(&mut table, &vips, keep_address, &groups);
    check_groups(&table, written_groups, &checks);
    let members = |check: &&CheckConfig| check.group.is_some();
    let counted = checks.len() - checks.values().filter(members).count() + groups.len();
    let require = check_require(&table, require, counted, "the service");
    table.finish();
    let places = vips.iter().map(|vip| vip.place.clone()).collect();
    let vips = vips.into_iter().map(|vip| vip.value).collect();
    let degraded = degraded.map(Arc::new);
    let config = Config {
        vips,
        interface,
        keep_address,
        require,
        groups,
        gate,
        degraded,
        hooks,
        unit,
        weight,
        checks,
    };
    (config, places)
}

/// `when-down`
enum WhenDown {
    Withdraw,
    Degrade,
}

impl Written for WhenDown {
    const EXPECTED: &'static str = "\"withdraw\" or \"degrade\"";
    const WORDS: &'static [&'static str] = &["withdraw", "degrade"];

    fn understand(text: &str) -> Option<Self> {
        match text {
            "withdraw" => Some(Self::Withdraw),
            "degrade" => Some(Self::Degrade),
            _ => None,
        }
    }
}

/// `when-down` and `[service.*.degraded]`; `None`: it is withdrawn.
fn degraded(table: &mut Table<'_>, keep_address: bool, known: &Known<'_>) -> Option<Degradation> {
    let is_written = table.has("degraded");
    let is_misspelt = table.has("when-down").is_some();
    let when_down = table.optional::<Text<WhenDown>>("when-down").map(untext);
    let degraded = table.subtable("degraded", "service.NAME.degraded");
    let degraded = degraded.map(|table| policy::degradation(table, known.communities));
    let path = table.path().to_owned();
    let is_misspelt = is_misspelt && when_down.is_none();
    let Some(Located { value: WhenDown::Degrade, place }) = when_down else {
        if let Some(place) = is_written.filter(|_| !is_misspelt) {
            let message = format!("[{path}.degraded] has no use without when-down = \"degrade\"");
            table.problem(Problem::new(&place, message));
        }
        return None;
    };
    if is_written.is_none() {
        let message = format!("`when-down = \"degrade\"` needs [{path}.degraded]");
        let help = format!("write [{path}.degraded] and under it prepend = 3 or med = 1000");
        table.problem(Problem::new(&place, message).help(help));
    }
    if !keep_address {
        let message = "`when-down = \"degrade\"` needs the VIP on the host while it is down";
        let help = "leave keep-address = false out";
        table.problem(Problem::new(&place, message).help(help));
    }
    degraded
}

fn checks(
    table: &mut Table<'_>,
    vips: &[Located<IpAddr>],
    keep_address: bool,
    groups: &Groups,
) -> BTreeMap<CheckName, CheckConfig> {
    let problems = table.problems();
    let mut checks = BTreeMap::new();
    for (name, check_table) in table.named("check", "service.NAME.check.NAME") {
        let config = check(check_table, vips, keep_address, groups).unwrap_or_else(broken);
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
    let Known { policy, peers, pools_are_sound, .. } = *known;
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

type Groups = BTreeMap<GroupName, Require>;
/// What their tables say, and where.
type WrittenGroups = Vec<(GroupName, Place, Option<Located<WrittenRequire>>)>;

/// `[service.*.group.*]`, which may be empty
fn groups(table: &mut Table<'_>) -> (Groups, WrittenGroups) {
    let mut groups = Groups::new();
    let mut places = Vec::new();
    for (name, mut table) in table.named("group", "service.NAME.group.NAME") {
        let require = table.optional::<WrittenRequire>("require");
        table.finish();
        let group = GroupName::from(name.value);
        let any = Require::AtLeast(1);
        groups.insert(group.clone(), require.as_ref().map_or(any, |require| require.value.0));
        places.push((group, name.place, require));
    }
    (groups, places)
}

/// Every group has as many checks as it asks for.
fn check_groups(
    table: &Table<'_>,
    groups: WrittenGroups,
    checks: &BTreeMap<CheckName, CheckConfig>,
) {
    for (group, place, require) in groups {
        let is_member = |check: &&CheckConfig| check.group.as_ref() == Some(&group);
        let members = checks.values().filter(is_member).count();
        if members == 0 {
            let message = format!("group `{group}` has no check");
            let help = format!("write group = \"{group}\" in a check of this service");
            table.problem(Problem::new(&place, message).help(help));
        } else {
            check_require(table, require, members, "the group");
        }
    }
}

fn check_require(
    table: &Table<'_>,
    written: Option<Located<WrittenRequire>>,
    checks: usize,
    whose: &str,
) -> Require {
    let Some(Located { value: WrittenRequire(require), place }) = written else {
        return Require::All;
    };
    if let Require::AtLeast(number) = require
        && checks > 0
        && number > checks
    {
        let noun = if checks == 1 { "check" } else { "checks" };
        let message = format!("`require` is {number}, but {whose} has {checks} {noun}");
        table.problem(Problem::new(&place, message));
    }
    require
}
