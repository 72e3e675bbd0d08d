//! The route watch against what `ip` shows, through every way in which routes change.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;
use vipcast_lab::netns::Namespace;
use vipcast_lab::site::Site;
use vipcast_lab::wait;
use vipcast_lab::watch::{NextHop, NextHops, Watch};

const BOUND: Duration = Duration::from_secs(30);

/// A machine with three cables whose other ends are on the same machine.
fn machine() -> Result<Namespace> {
    let namespace = Namespace::create(&Site::temporary()?, "router")?;
    for number in 1..=3 {
        let lines = format!(
            "link add d{number} type veth peer name p{number}\n\
             link set d{number} up\nlink set p{number} up\n\
             address add 10.0.{number}.0/31 dev d{number}\n\
             address add 2001:db8:1:{number}::/127 dev d{number} nodad\n"
        );
        namespace.ip(&lines)?;
    }
    Ok(namespace)
}

/// What `ip route` shows, without dead next hops, by prefix; the first route of a prefix is the one
/// in use.
fn shown(namespace: &Namespace) -> Result<BTreeMap<IpNet, NextHops>> {
    let mut routes = BTreeMap::new();
    for family in ["-4", "-6"] {
        let text = namespace.run("ip", [family, "-j", "route", "show", "table", "main"])?;
        let all: Vec<Value> = serde_json::from_str(&text)?;
        for route in all {
            let text = route["dst"].as_str().context("a route without destination")?;
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            let prefix = text.parse().or_else(|_| address())?;
            let members = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route]);
            let alive =
                members.iter().filter(|member| !member["flags"].to_string().contains("dead"));
            let hops = alive.map(next_hop).collect::<Result<NextHops>>()?;
            routes.entry(prefix).or_insert(hops);
        }
    }
    routes.retain(|_, hops| !hops.is_empty());
    Ok(routes)
}

fn next_hop(member: &Value) -> Result<NextHop> {
    let interface = member["dev"].as_str().context("a next hop without device")?.to_owned();
    Ok(NextHop { interface, via: member["gateway"].as_str().map(str::parse).transpose()? })
}

/// xorshift: the same choices in every run.
struct Choices(u32);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }

    /// Some of the three next hops, as `ip route` wants them.
    fn hops(&mut self, ipv6: bool) -> String {
        let chosen = self.below(7) + 1;
        let gateway = |number| match ipv6 {
            true => format!("via 2001:db8:1:{number}::1 dev d{number}"),
            false => format!("via 10.0.{number}.1 dev d{number}"),
        };
        let all: Vec<String> =
            (1..=3).filter(|n| chosen & (1 << (n - 1)) != 0).map(gateway).collect();
        match &all[..] {
            [one] => one.clone(),
            several => several.iter().map(|hop| format!("nexthop {hop} ")).collect(),
        }
    }

    /// One random change; many are refused, which is no matter.
    fn change(&mut self) -> String {
        let verbs = ["add", "append", "prepend", "replace", "replace", "change", "del", "del"];
        let verb = verbs[self.below(verbs.len())];
        let ipv6 = self.below(2) == 1;
        let prefix = match ipv6 {
            true => format!("2001:db8:5::{}/128", self.below(3)),
            false => format!("203.0.113.{}/32", self.below(3)),
        };
        let metric = ["", "metric 50"][self.below(2)];
        let hops =
            if verb == "del" && self.below(2) == 0 { String::new() } else { self.hops(ipv6) };
        format!("route {verb} {prefix} {metric} {hops}")
    }
}

fn carry_out(namespace: &Namespace, changes: &str) -> Result<()> {
    let mut command = namespace.command("ip");
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    child.stdin.take().context("no input")?.write_all(changes.as_bytes())?;
    child.wait()?;
    Ok(())
}

fn agree(watch: &Watch, namespace: &Namespace, changes: &str) -> Result<()> {
    wait::until_true(
        "the watch agrees with ip",
        BOUND,
        || Ok(watch.snapshot() == shown(namespace)?),
    )
    .with_context(|| format!("after\n{changes}the watch has {:#?}", watch.snapshot()))
    .with_context(|| format!("ip shows {:#?}", shown(namespace)))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_watch_agrees_with_ip_after_any_changes_of_routes() -> Result<()> {
    let namespace = machine()?;
    let watch = Watch::start(&namespace)?;
    let start = Instant::now();
    let mut choices = Choices(0x1234_5678);
    for _ in 0..100 {
        let changes: String = (0..20).map(|_| choices.change() + "\n").collect();
        carry_out(&namespace, &changes)?;
        agree(&watch, &namespace, &changes)?;
    }
    let prefixes = watch.snapshot().into_keys();
    let changes: usize = prefixes.map(|prefix| watch.changes(prefix, start).len()).sum();
    assert!(changes > 300, "only {changes} changes were seen: the test tests nothing");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_watch_agrees_with_ip_after_links_went_down_and_up() -> Result<()> {
    let namespace = machine()?;
    let watch = Watch::start(&namespace)?;
    let mut choices = Choices(0x0fed_cba9);
    for round in 0..30 {
        let changes: String = (0..10).map(|_| choices.change() + "\n").collect();
        carry_out(&namespace, &changes)?;
        let link = round % 3 + 1;
        for state in ["down", "up"] {
            let change = format!("link set d{link} {state}\n");
            carry_out(&namespace, &change)?;
            agree(&watch, &namespace, &format!("{changes}{change}"))?;
        }
    }
    Ok(())
}
