//! What the operator wrote, and what the daemon uses.
//!
//! Reading and checking are one pass: each section's file takes the keys it knows from a
//! `table::Table` and makes of them the types that the rest of the crate uses, in which nothing
//! invalid can be said and no default is left open. Whatever is wrong is collected with its place.
mod accept;
mod address;
mod authentication;
mod bfd;
mod bgp;
mod check;
mod files;
mod gate;
mod hooks;
mod name;
mod peer;
mod policy;
mod problem;
mod program;
mod remote;
mod secret;
mod service;
mod syntax;
mod table;
mod unit;
mod value;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use toml::de::DeTable;

use crate::bfd::authentication::Authentication;
use crate::bfd::session;
use crate::bfd::sessions::Hops;
use crate::bgp::connection::Restart;
use crate::rib;
use crate::route::{Asn, NextHops, PeerName, ServiceName};
use problem::{Place, Problem, listed, suggest};
use table::{Located, Reading, Table};
use value::Text;

pub use problem::{Error, Source};

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[bgp]`
    pub bgp: Bgp,
    /// `[peer.*]`, with the `[bfd.*]` they name
    pub peers: BTreeMap<PeerName, Peer>,
    /// `[pool.*]` and `[advertisement.*]`
    pub policy: rib::policy::Policy,
    /// `[service.*]`
    pub services: BTreeMap<ServiceName, crate::service::Config>,
    /// Where metrics are served, if they are
    pub metrics: Option<SocketAddr>,
    /// What is logged
    pub log_level: LogLevel,
}

/// `[bgp]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bgp {
    /// Our AS number
    pub local_asn: Asn,
    /// BGP Identifier; the lowest IPv4 address that reaches a peer when `None`
    pub router_id: Option<Ipv4Addr>,
    /// Where passive peers are listened for
    pub port: u16,
    /// How peers are to keep our routes while we restart
    pub restart: Restart,
    /// Whether they are, unless a peer's own table says otherwise
    pub graceful_restart: bool,
}

/// `[peer.*]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its BGP side
    pub bgp: crate::bgp::peer::Config,
    /// Its BFD side, if it has one
    pub bfd: Option<Bfd>,
    /// What its routes name as next hop in place of our addresses
    pub next_hops: NextHops,
    /// The routes that are taken in from it, if any are
    pub accept: Option<crate::bgp::accept::Accept>,
    /// For people
    pub description: Option<String>,
}

/// A `[bfd.*]`, as a peer uses it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bfd {
    /// How far away the peer may be
    pub hops: Hops,
    /// The smallest TTL accepted
    pub minimum_ttl: u8,
    /// Its timers
    pub session: session::Config,
    /// What signs its packets
    pub authentication: Option<Authentication>,
}

/// The least severe message that is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Reads `main` and the `conf.d/*.toml` beside it.
///
/// # Errors
///
/// Everything that is wrong, in one error.
pub fn load(main: &Path) -> Result<Config, Error> {
    let (sources, problems) = files::read(main);
    build(sources, problems)
}

/// Makes a configuration of what files hold.
///
/// # Errors
///
/// Everything that is wrong, in one error.
pub fn parse(sources: Vec<Source>) -> Result<Config, Error> {
    build(sources, Vec::new())
}

fn build(sources: Vec<Source>, unreadable: Vec<Problem>) -> Result<Config, Error> {
    let reading = Reading::default();
    for problem in unreadable {
        reading.problems.push(problem);
    }
    let config = read(&reading, &sources);
    let problems = reading.problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Error { sources, problems }),
    }
}

/// Every key there is, as (kind of table, key): ("peer.NAME", "hold-time").
#[must_use]
pub fn keys() -> Vec<(&'static str, &'static str)> {
    let reading = Reading::default();
    let text = "[bgp]\n[peer.x.tcp-ao]\n[bfd.x.auth]\n[pool.x]\n[advertisement.x]\n[community]\n\
                [metrics]\n[log]\n[service.x.damping]\n[service.x.group.x]\n[service.x.degraded]\n";
    let checks = check::kinds().map(|kind| format!("[service.x.check.{kind}]\n{kind} = \"\"\n"));
    let text = checks.fold(text.to_owned(), |text, check| text + &check);
    read(&reading, &[Source { path: String::new(), text }]);
    reading.keys.into_inner().into_iter().collect()
}

/// The sections of all files together.
#[derive(Debug, Default)]
struct Sections<'a> {
    bgp: Option<Table<'a>>,
    community: Option<Table<'a>>,
    metrics: Option<Table<'a>>,
    log: Option<Table<'a>>,
    peers: Named<'a>,
    bfd: Named<'a>,
    pools: Named<'a>,
    advertisements: Named<'a>,
    services: Named<'a>,
}

/// Tables that the operator named.
type Named<'a> = BTreeMap<String, (Place, Table<'a>)>;

fn read(reading: &Reading, sources: &[Source]) -> Option<Config> {
    let sections = Sections::of(reading, sources);
    let bgp_place = sections.bgp.as_ref().map(|table| table.place().clone());
    if bgp_place.is_none() && !reading.incomplete.get() {
        let message = "[bgp] is missing";
        let help = "write [bgp] and under it local-asn = 65100";
        reading.problems.push(Problem::new(&Place::new(0, 0..0), message).help(help));
    }
    let communities = policy::communities(reading, sections.community);
    let bgp = sections.bgp.and_then(bgp::bgp);
    let profiles = bfd::profiles(sections.bfd);
    let peers = peer::peers(sections.peers, bgp.as_ref(), &profiles);
    if let (Some(bgp), Some(place)) = (&bgp, bgp_place) {
        bgp::check_router_id(reading, bgp, &place, &peers);
    }
    let problems = reading.problems.len();
    let pools = policy::pools(sections.pools);
    let pools_are_sound = reading.problems.len() == problems;
    let names = policy::Names { communities: &communities, pools: &pools, peers: &peers.all };
    let advertisements = policy::advertisements(reading, sections.advertisements, &names);
    let policy = rib::policy::Policy {
        pools: pools.into_iter().map(|(name, pool)| (name, pool.value)).collect(),
        advertisements,
    };
    let known = service::Known {
        policy: &policy,
        communities: &communities,
        peers: &peers,
        pools_are_sound,
    };
    let services = service::services(reading, sections.services, &known);
    let metrics = sections.metrics.and_then(metrics);
    let log_level = sections.log.map_or(LogLevel::Info, log);
    let peers = peers.all.into_iter().filter_map(|(name, peer)| Some((name, peer?))).collect();
    Some(Config { bgp: bgp?, peers, policy, services, metrics, log_level })
}

impl<'a> Sections<'a> {
    /// Takes all files apart.
    fn of(reading: &'a Reading, sources: &'a [Source]) -> Self {
        let mut sections = Self::default();
        for (index, source) in sources.iter().enumerate() {
            if reading.problems.concern(index) {
                continue; // it is no text
            }
            match DeTable::parse(&source.text) {
                Ok(table) => sections.add(Table::top(reading, index, table.into_inner())),
                Err(error) => reading.problems.push(syntax::problem(index, &source.text, &error)),
            }
        }
        // So far only whole files and tables can have been wrong.
        reading.incomplete.set(reading.problems.len() > 0);
        sections
    }

    /// Adds one file.
    fn add(&mut self, mut top: Table<'a>) {
        for (key, section) in [
            ("bgp", &mut self.bgp),
            ("community", &mut self.community),
            ("metrics", &mut self.metrics),
            ("log", &mut self.log),
        ] {
            let Some(table) = top.table(key) else { continue };
            match section {
                None => *section = Some(table),
                Some(first) => {
                    let message = format!("[{key}] is defined twice");
                    let problem = Problem::new(table.place(), message);
                    table.problem(problem.also(first.place(), "first defined here"));
                }
            }
        }
        for (key, kind, section) in [
            ("peer", "peer.NAME", &mut self.peers),
            ("bfd", "bfd.NAME", &mut self.bfd),
            ("pool", "pool.NAME", &mut self.pools),
            ("advertisement", "advertisement.NAME", &mut self.advertisements),
            ("service", "service.NAME", &mut self.services),
        ] {
            for (name, table) in top.named(key, kind) {
                match section.get(&name.value) {
                    None => {
                        section.insert(name.value, (name.place, table));
                    }
                    Some((first, _)) => {
                        let message = format!("[{}] is defined twice", table.path());
                        let problem = Problem::new(&name.place, message);
                        table.problem(problem.also(first, "first defined here"));
                    }
                }
            }
        }
        top.later(&["kubernetes"], "this version cannot do it; leave the section out");
        top.finish();
    }
}

fn metrics(mut table: Table<'_>) -> Option<SocketAddr> {
    let listen = table.required::<Text<SocketAddr>>("listen", "\"127.0.0.1:9179\"");
    table.finish();
    listen.map(|listen| listen.value.0)
}

fn log(mut table: Table<'_>) -> LogLevel {
    let Text(level) = table.or("level", Text(LogLevel::Info));
    table.finish();
    level
}

/// Finds what a name refers to, or reports that it refers to nothing.
fn resolve<'t, T>(
    table: &Table<'_>,
    what: &str,
    name: &Located<String>,
    all: impl Iterator<Item = (&'t str, T)> + Clone,
) -> Option<T> {
    if let Some((_, found)) = all.clone().find(|(candidate, _)| *candidate == name.value) {
        return Some(found);
    }
    if !table.is_complete() {
        return None;
    }
    let message = format!("{what} `{}` is not defined", name.value);
    let names = all.map(|(candidate, _)| candidate);
    let help = suggest(&name.value, names.clone()).unwrap_or_else(|| match names.clone().next() {
        None => format!("no [{what}.*] is defined"),
        Some(_) => format!("defined: {}", listed(names)),
    });
    table.problem(Problem::new(&name.place, message).help(help));
    None
}

/// Tables in the order of the text, so that of two that collide the later one is wrong.
fn in_order(named: Named<'_>) -> Vec<(String, Place, Table<'_>)> {
    let tables = named.into_iter().map(|(name, (place, table))| (name, place, table));
    let mut tables: Vec<_> = tables.collect();
    tables.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
    tables
}
