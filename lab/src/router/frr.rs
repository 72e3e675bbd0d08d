//! FRR as a router of the fabric: zebra, bgpd and bfdd with sockets of their own. `frr_json` reads
//! the answers.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use anyhow::{Context, Result};
use ipnet::IpNet;
use nix::unistd::User;
use serde_json::Value;

use super::{
    BfdSession, Implementation, Neighbour, Peering, Place, READY, Route, RouterConfig, Session,
    config::family, frr_json,
};
use crate::process::Process;

const USER: &str = "frr";

pub(super) struct Frr;

impl Implementation for Frr {
    fn start(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Process>> {
        let user = User::from_name(USER)?.context("there is no user frr: is FRR installed?")?;
        chown(&place.directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        let mut processes = Vec::new();
        fs::write(place.directory.join("vtysh.conf"), "")?;
        // bfdd first: what bgpd asks of a bfdd that comes later would reset its sessions.
        processes.push(start_daemon(place, "zebra", "")?);
        processes.push(start_daemon(place, "bfdd", &bfd_profiles(&config.neighbours))?);
        processes.push(start_daemon(place, "bgpd", &bgp(config))?);
        if !config.extra.is_empty() {
            let file = place.directory.join("extra.conf");
            fs::write(&file, &config.extra)?;
            vtysh(place, &["-f", &file.to_string_lossy()])
                .context("FRR does not take the extra lines")?;
        }
        Ok(processes)
    }

    fn command(&self, place: &Place, command: &str) -> Result<String> {
        vtysh(place, &["-c", command])
    }

    fn sessions(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Session>> {
        frr_json::sessions(&json(place, "show bgp neighbors json")?, &config.neighbours)
    }

    fn bfd_sessions(&self, place: &Place) -> Result<Vec<BfdSession>> {
        frr_json::bfd_sessions(&json(place, "show bfd peers json")?)
    }

    fn routes(&self, config: &RouterConfig, place: &Place, prefix: IpNet) -> Result<Vec<Route>> {
        let family = family(prefix);
        let answer = json(place, &format!("show bgp {family} unicast {prefix} json"))?;
        frr_json::routes(&answer, prefix, &config.neighbours)
    }

    fn shell_hint(&self, place: &Place) -> String {
        let directory = place.directory.display();
        format!("vtysh --vty_socket {directory} --config_dir {directory}")
    }
}

/// Starts one daemon with its configuration and waits for its control socket.
fn start_daemon(place: &Place, daemon: &str, configuration: &str) -> Result<Process> {
    let directory = &place.directory;
    let file = directory.join(format!("{daemon}.conf"));
    fs::write(&file, configuration)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    // A socket left by a killed daemon would look like an answer.
    let socket = directory.join(format!("{daemon}.vty"));
    let _ = fs::remove_file(&socket);
    let mut command = place.namespace.command(format!("/usr/lib/frr/{daemon}"));
    command.args(["-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "info"]);
    command.arg("-f").arg(file);
    command.arg("-i").arg(directory.join(format!("{daemon}.pid")));
    command.arg("-z").arg(directory.join("zserv.api"));
    command.arg("--vty_socket").arg(directory);
    if daemon == "bfdd" {
        command.arg("--bfdctl").arg(directory.join("bfdd.sock"));
    }
    let process = Process::start(&place.namespace, daemon, &command)?;
    process.wait_until("vtysh is answered", READY, || {
        Ok(vtysh(place, &["-d", daemon, "-c", "show version"]).is_ok().then_some(()))
    })?;
    Ok(process)
}

fn vtysh(place: &Place, arguments: &[&str]) -> Result<String> {
    let directory = place.directory.to_string_lossy();
    let own = ["--vty_socket", &directory, "--config_dir", &directory];
    place.namespace.run("vtysh", own.iter().chain(arguments))
}

fn json(place: &Place, command: &str) -> Result<Value> {
    let answer = vtysh(place, &["-c", command])?;
    serde_json::from_str(&answer).with_context(|| format!("{command}: {answer}"))
}

fn bgp(config: &RouterConfig) -> String {
    let mut text = String::from("frr defaults traditional\n");
    text += "bgp as-path access-list own permit ^$\n";
    let _ = writeln!(text, "router bgp {}", config.asn);
    let _ = writeln!(text, " bgp router-id {}", config.router_id);
    text += " no bgp ebgp-requires-policy\n no bgp network import-check\n no bgp default ipv4-unicast\n";
    text += " bgp log-neighbor-changes\n";
    for neighbour in &config.neighbours {
        text += &neighbour_lines(neighbour);
    }
    for name in ["ipv4", "ipv6"] {
        let _ = writeln!(text, " address-family {name} unicast\n  maximum-paths 64");
        for prefix in config.announce.iter().filter(|prefix| family(**prefix) == name) {
            let _ = writeln!(text, "  network {prefix}");
        }
        for neighbour in &config.neighbours {
            let peer = &neighbour.peering;
            let _ =
                writeln!(text, "  neighbor {peer} activate\n  neighbor {peer} filter-list own out");
        }
        text += " exit-address-family\n";
    }
    text + "exit\n"
}

fn bfd_profiles(neighbours: &[Neighbour]) -> String {
    let mut text = String::new();
    for (neighbour, timers) in neighbours.iter().filter_map(|n| Some((n, n.bfd?))) {
        let interval = timers.interval.as_millis();
        let _ = writeln!(
            text,
            "bfd\n profile {}\n  detect-multiplier {}\n  receive-interval {interval}\n  \
             transmit-interval {interval}\n exit\nexit",
            neighbour.name, timers.multiplier
        );
    }
    text
}

fn neighbour_lines(neighbour: &Neighbour) -> String {
    let peer = &neighbour.peering;
    let remote = neighbour.remote_asn;
    let mut lines = vec![match peer {
        Peering::Address(_) => format!("remote-as {remote}"),
        Peering::Interface { .. } => format!("interface v6only remote-as {remote}"),
    }];
    let hold = neighbour.hold_time.as_secs();
    lines.push(format!("description {}", neighbour.name));
    lines.push(format!("timers {} {hold}", hold / 3));
    lines.push(format!("timers connect {}", neighbour.connect_retry.as_secs().max(1)));
    lines.push("advertisement-interval 0".to_owned());
    lines.extend(neighbour.local_address.map(|address| format!("update-source {address}")));
    lines.extend(neighbour.passive.then(|| "passive".to_owned()));
    lines.extend(neighbour.password.iter().map(|password| format!("password {password}")));
    lines.extend(neighbour.multihop.map(|hops| format!("ebgp-multihop {hops}")));
    lines.extend(neighbour.ttl_security.then(|| "ttl-security hops 1".to_owned()));
    lines.extend((!peer.is_ipv4()).then(|| "capability extended-nexthop".to_owned()));
    if neighbour.bfd.is_some() {
        lines.push(format!("bfd profile {}", neighbour.name));
    }
    let text: String = lines.iter().map(|line| format!(" neighbor {peer} {line}\n")).collect();
    let extra: String = neighbour.extra.lines().map(|line| format!(" {}\n", line.trim())).collect();
    text + &extra
}
