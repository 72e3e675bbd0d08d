//! Services that follow a unit of systemd, on hosts that are containers with systemd: the daemon runs
//! there as its unit says, with no more rights.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::client::Request;
use vipcast_lab::configuration::{POOLS, peers};
use vipcast_lab::container::Container;
use vipcast_lab::debian::CONTAINER;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, vip};
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

use super::{BOUND, announce, binaries};

/// nginx with a check that notices nothing in the time that a test takes.
const SLOW: &str = r#"
[service.web]
vips = ["203.0.113.5"]

[service.web.check.alive]
http = "http://203.0.113.5/"
interval = "10m"
fall = 3
"#;
const DROP_IN: &str = "examples/nginx.service.d/vipcast.conf";
/// Requests a second.
const RATE: u32 = 200;

/// A fabric with one BIRD. Without BFD: nothing here is about the path.
fn fabric(hosts: usize) -> Result<Fabric> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    Fabric::start(&FabricConfig { hosts, tors: vec![tor] })
}

/// The first host, with systemd, nginx and vipcastd as services.
struct Host {
    container: Container,
    /// All but the services
    text: String,
}

impl Host {
    fn boot(fabric: &mut Fabric, services: &str) -> Result<Self> {
        // The one of the lab is in the way of Debian's.
        fabric.host_mut(1).nginx.process_mut().kill()?;
        let root = CONTAINER.root(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian"))?;
        let (daemon, client) = (binaries().join("vipcastd"), binaries().join("vipcast"));
        let unit = fs::canonicalize("systemd/vipcast.service")?;
        let user = fs::canonicalize("systemd/vipcast.sysusers")?;
        let binds = [
            (daemon.as_path(), "/usr/sbin/vipcastd"),
            (&client, "/usr/bin/vipcast"),
            (&unit, "/usr/lib/systemd/system/vipcast.service"),
            (&user, "/usr/lib/sysusers.d/vipcast.conf"),
        ];
        let container = Container::boot(&fabric.host(1).namespace, &root, &binds)?;
        let host = Self { container, text: peers(fabric, 1) + POOLS };
        host.run("systemd-sysusers && mkdir -p /etc/vipcast")?;
        host.write("/etc/nginx/nginx.conf", NGINX)?;
        // A test starts it more often than systemd lets anybody.
        host.run("mkdir -p /run/systemd/system/nginx.service.d")?;
        let limit = "[Unit]\nStartLimitIntervalSec=0\n";
        host.write("/run/systemd/system/nginx.service.d/limit.conf", limit)?;
        host.run("systemctl daemon-reload && systemctl restart nginx")?;
        host.configure(services)?;
        host.run("systemctl start vipcast")?;
        Ok(host)
    }

    fn run(&self, line: &str) -> Result<String> {
        self.container.run(line)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.container.path(path), text).with_context(|| format!("cannot write {path}"))
    }

    fn configure(&self, services: &str) -> Result<()> {
        self.write("/etc/vipcast/vipcast.toml", &format!("{}{services}", self.text))
    }

    fn wait_status(&self, wanted: &str) -> Result<()> {
        let status = || self.run("vipcast status || true");
        let truth = || Ok(status()?.contains(wanted));
        wait::until_true(&format!("the status says {wanted}"), BOUND, truth).with_context(|| {
            let log = self.run("journalctl --output=short-precise -u vipcast -u nginx -n 60");
            format!("{}\n{}", status().unwrap_or_default(), log.unwrap_or_default())
        })
    }
}

const NGINX: &str = r#"user www-data;
worker_processes 1;
pid /run/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    server {
        listen 0.0.0.0:80 backlog=1024;
        default_type text/plain;
        location / { return 200 "host1\n"; }
    }
}
"#;

/// Waits until the router has so many next hops to these VIPs, and says how long that took.
fn wait_for(fabric: &Fabric, vips: &[IpNet], count: usize, since: Instant) -> Result<()> {
    for vip in vips {
        let change = fabric.tor(1).routes.wait_for_count(*vip, BOUND, count)?;
        let took = change.at.saturating_duration_since(since);
        eprintln!("{vip} has {count} next hops after {took:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_unit_is_followed_in_all_that_systemd_does_with_it() -> Result<()> {
    let mut fabric = fabric(1)?;
    let follows = SLOW.replace("[service.web]\n", "[service.web]\nunit = \"nginx.service\"\n");
    let checked = "\n[service.process]\nvips = [\"203.0.113.6\"]\n[service.process.check.unit]\n\
                   unit = \"nginx.service\"\ninterval = \"1h\"\n";
    let text = format!("{follows}{checked}");
    let host = Host::boot(&mut fabric, &text)?;
    let both = [vip(5)[0], vip(6)[0]];
    wait_for(&fabric, &both, 1, Instant::now())?;
    host.wait_status("● unit nginx.service  active")?;

    // Its check would need half an hour.
    for (line, words) in [
        ("systemctl stop nginx", "nginx.service is inactive (undo: systemctl start nginx.service)"),
        ("systemctl kill --kill-whom=all --signal=KILL nginx", "nginx.service is failed (signal)"),
    ] {
        let before = Instant::now();
        host.run(line)?;
        wait_for(&fabric, &both, 0, before)?;
        host.wait_status(words)?;
        let before = Instant::now();
        host.run("systemctl start nginx")?;
        wait_for(&fabric, &both, 1, before)?;
    }
    stop_that_waits(&fabric, &host)?;
    let log = host.run("journalctl --output=cat -u vipcast")?;
    ensure!(!log.contains("check alive failed"), "{log}");

    // Nothing of this is a stop.
    let quiet = Instant::now();
    for line in ["daemon-reload", "daemon-reexec", "reload nginx", "daemon-reload"] {
        host.run(&format!("systemctl {line}"))?;
    }
    forge(&host)?;
    host.run("systemctl stop dbus.socket dbus.service")?;
    host.wait_status("cannot ask systemd about units: ")?;
    host.wait_status("○ unit nginx.service  not known")?;
    for vip in both {
        let changes = fabric.tor(1).routes.changes(vip, quiet);
        ensure!(changes.is_empty(), "{vip}: {changes:?}");
    }
    // What happened meanwhile is known when the bus is back.
    host.run("systemctl stop nginx && systemctl start dbus.socket dbus.service")?;
    wait_for(&fabric, &both, 0, Instant::now())?;
    host.run("systemctl start nginx")?;
    wait_for(&fabric, &both, 1, Instant::now())?;

    host.configure(&text.replace("nginx.service", "nginy.service"))?;
    host.run("systemctl reload vipcast")?;
    wait_for(&fabric, &both, 0, Instant::now())?;
    host.wait_status("there is no unit nginy.service")
}

/// Anybody can send signals to anybody over the bus: these say that the unit has failed.
fn forge(host: &Host) -> Result<()> {
    let forged =
        "for name in $(busctl list --no-legend | awk '$3 == \"vipcastd\" { print $1 }'); do
        setpriv --reuid=nobody --clear-groups busctl --destination=$name emit \
            /org/freedesktop/systemd1/unit/nginx_2eservice org.freedesktop.DBus.Properties \
            PropertiesChanged 'sa{sv}as' org.freedesktop.systemd1.Unit 1 ActiveState s failed 0
        echo sent
    done";
    let sent = host.run(forged)?;
    ensure!(sent.lines().count() == 2, "both connections of vipcastd: {sent}");
    Ok(())
}

/// A stop is known while its job waits for another unit, before anything is stopped.
fn stop_that_waits(fabric: &Fabric, host: &Host) -> Result<()> {
    host.write("/run/systemd/system/app.service", APP)?;
    host.run("systemctl start app && systemctl stop --no-block nginx")?;
    wait_for(fabric, &[vip(5)[0]], 0, Instant::now())?;
    host.wait_status("nginx.service is asked to stop")?;
    ensure!(host.run("systemctl is-active nginx")?.trim() == "active");
    ensure!(fabric.tor(1).routes.next_hops(vip(6)[0]).len() == 1, "the check is still right");
    let both = [vip(5)[0], vip(6)[0]];
    host.run("touch /run/done")?;
    wait_for(fabric, &both, 0, Instant::now())?;
    host.run("systemctl start nginx")?;
    wait_for(fabric, &both, 1, Instant::now())
}

/// Must be stopped before nginx, and takes until it may.
const APP: &str = "[Unit]
Requires=nginx.service
After=nginx.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'until [ -e /run/done ]; do sleep 0.1; done'
";

/// Whether a router moved this request to another host while it was under way: the connection ends
/// then, whatever the hosts do.
fn is_moved(fabric: &Fabric, since: Instant, request: &Request) -> bool {
    let changes = fabric.tor(1).routes.changes(vip(5)[0], since);
    changes.iter().any(|change| (request.at..=request.at + request.took).contains(&change.at))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn with_the_drop_in_a_restart_of_one_of_three_hosts_loses_no_request() -> Result<()> {
    let mut fabric = fabric(3)?;
    let host = Host::boot(&mut fabric, SLOW)?;
    let _others = [announce(&fabric, 2)?, announce(&fabric, 3)?];
    let address = [vip(5)[0]];
    wait_for(&fabric, &address, 3, Instant::now())?;
    let traffic = fabric.client.keep_asking(address[0].addr(), RATE)?;
    // The client sees it when something is lost: without all this, one request in three.
    let begun = Instant::now();
    host.run("systemctl stop nginx && sleep 1 && systemctl start nginx")?;
    let lost = traffic.between(begun, Instant::now())?.lost().len();
    eprintln!("without `unit`: {lost} requests lost");
    ensure!(lost > 0, "the client does not see that a host is down");

    let follows = "[service.web]\nunit = \"nginx.service\"\ndrain-time = \"1s\"\n";
    host.configure(&SLOW.replace("[service.web]\n", follows))?;
    host.run("systemctl reload vipcast && mkdir -p /etc/systemd/system/nginx.service.d")?;
    host.write("/etc/systemd/system/nginx.service.d/vipcast.conf", &fs::read_to_string(DROP_IN)?)?;
    host.run("systemctl daemon-reload")?;
    wait_for(&fabric, &address, 3, Instant::now())?;
    for round in 0..3 {
        let begun = Instant::now();
        let process = host.run("systemctl show --value -p MainPID nginx")?;
        host.run("systemctl restart nginx")?;
        ensure!(host.run("systemctl show --value -p MainPID nginx")? != process);
        ensure!(begun.elapsed() > Duration::from_secs(1), "systemd did not wait for the drain");
        wait_for(&fabric, &address, 3, begun)?;
        host.run("sleep 0.5")?;
        let requests = traffic.between(begun, Instant::now())?;
        let lost = requests.lost();
        eprintln!("round {round}: {} requests, {:?}", requests.0.len(), requests.by_host());
        let moved = lost.iter().filter(|request| is_moved(&fabric, begun, request)).count();
        eprintln!("round {round}: {} lost, {moved} of them moved", lost.len());
        ensure!(moved == lost.len(), "round {round}: {lost:?}");
        ensure!(requests.by_host().contains_key("host1"), "it answers again");
        let hops = fabric.tor(1).routes.changes(address[0], begun);
        ensure!(hops.iter().any(|change| change.next_hops.len() == 2), "it was not withdrawn");
    }
    let status = host.run("vipcast status")?;
    ensure!(!status.contains("drain"), "{status}");
    Ok(())
}
