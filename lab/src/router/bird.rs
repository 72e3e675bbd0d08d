//! BIRD, 2 or 3, as a router of the fabric: its configuration and its life. `bird_text` reads its answers.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use ipnet::IpNet;

use super::{
    BfdSession, BfdTimers, Implementation, Neighbour, Peering, Place, READY, Route, RouterConfig,
    Session, bird_text, config::family,
};
use crate::process::Process;

pub(super) struct Bird;

/// By router advertisements an unnumbered FRR learns who is at the other end.
const ADVERTISEMENTS: &str = "min ra interval 3; max ra interval 4; default lifetime 0;";

impl Implementation for Bird {
    fn start(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Process>> {
        let file = place.directory.join("bird.conf");
        fs::write(&file, configuration(config))?;
        let mut command = place.namespace.command("bird");
        command.arg("-f").arg("-c").arg(&file).arg("-s").arg(place.directory.join("bird.ctl"));
        let process = Process::start(&place.namespace, "bird", &command)?;
        process.wait_until("birdc is answered", READY, || {
            Ok(self
                .command(place, "show status")
                .ok()
                .filter(|status| status.contains("up and running")))
        })?;
        Ok(vec![process])
    }

    fn command(&self, place: &Place, command: &str) -> Result<String> {
        let socket = place.directory.join("bird.ctl");
        let socket = socket.to_string_lossy();
        let mut arguments = vec!["-s", &socket];
        arguments.extend(command.split_whitespace());
        let answer = place.namespace.run("birdc", arguments)?;
        if answer.contains("syntax error") {
            bail!("birdc {command}: {answer}");
        }
        Ok(answer)
    }

    fn sessions(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Session>> {
        bird_text::sessions(&self.command(place, "show protocols all")?, &config.neighbours)
    }

    fn bfd_sessions(&self, place: &Place) -> Result<Vec<BfdSession>> {
        bird_text::bfd_sessions(&self.command(place, "show bfd sessions")?)
    }

    fn routes(&self, _: &RouterConfig, place: &Place, prefix: IpNet) -> Result<Vec<Route>> {
        match self.command(place, &format!("show route {prefix} all")) {
            Err(error) if format!("{error:#}").contains("Network not found") => Ok(Vec::new()),
            answer => bird_text::routes(&answer?, prefix),
        }
    }

    fn shell_hint(&self, place: &Place) -> String {
        format!("birdc -s {}", place.directory.join("bird.ctl").display())
    }
}

fn configuration(config: &RouterConfig) -> String {
    let mut text = format!(
        "log stderr all;\n\
         debug protocols {{ states }};\n\
         router id {};\n\
         protocol device {{ }}\n\
         protocol bfd bfd1 {{ {} }}\n",
        config.router_id, config.bfd_extra
    );
    if config.kernel {
        for family in ["ipv4", "ipv6"] {
            let _ = writeln!(
                text,
                "protocol kernel kernel_{family} {{ \
                 {family} {{ import none; export where source = RTS_BGP; }}; \
                 merge paths on limit 64; learn off; }}"
            );
        }
    }
    for (number, prefix) in config.announce.iter().enumerate() {
        let _ = writeln!(
            text,
            "protocol static {} {{ {}; route {prefix} unreachable; }}",
            announcement(number),
            family(*prefix)
        );
    }
    for neighbour in &config.neighbours {
        text += &bgp(config.asn, neighbour);
        if let Peering::Interface { name, .. } = &neighbour.peering {
            let _ =
                writeln!(text, "protocol radv {{ interface \"{name}\" {{ {ADVERTISEMENTS} }}; }}");
        }
    }
    text + &config.extra
}

/// The protocol that holds the `number`th announced prefix, to be disabled and enabled with
/// `birdc`.
pub(crate) fn announcement(number: usize) -> String {
    format!("announce_{number}")
}

fn bgp(asn: u32, neighbour: &Neighbour) -> String {
    let mut options = Vec::new();
    let remote = neighbour.remote_asn;
    match &neighbour.peering {
        Peering::Address(address) => options.push(format!("neighbor {address} as {remote}")),
        Peering::Interface { name, link_local } => {
            options.push(format!("neighbor {link_local} as {remote}"));
            options.push(format!("interface \"{name}\""));
        }
    }
    let local = neighbour.local_address.map(|address| address.to_string()).unwrap_or_default();
    options.push(format!("local {local} as {asn}"));
    options.push(format!("hold time {}", neighbour.hold_time.as_secs()));
    let retry = neighbour.connect_retry.as_secs().max(1);
    options.push(format!("connect delay time {retry}"));
    options.push(format!("connect retry time {retry}"));
    options.push(format!("error wait time {retry}, {retry}"));
    options.extend(neighbour.passive.then(|| "passive on".to_owned()));
    options.extend(neighbour.password.iter().map(|password| format!("password \"{password}\"")));
    options.push(match neighbour.multihop {
        Some(hops) => format!("multihop {hops}"),
        None => "direct".to_owned(),
    });
    options.extend(neighbour.ttl_security.then(|| "ttl security on".to_owned()));
    options.extend(neighbour.bfd.map(bfd));
    let exchange = "import all; export where source = RTS_STATIC;";
    // Over IPv6, IPv4 prefixes may have IPv6 next hops (RFC 8950).
    let extended = if neighbour.peering.is_ipv4() { "" } else { " extended next hop on;" };
    options.push(format!("ipv4 {{ {exchange}{extended} }}"));
    options.push(format!("ipv6 {{ {exchange} }}"));
    let body: String = options.iter().map(|option| format!("    {option};\n")).collect();
    format!("protocol bgp {} {{\n{body}    {}\n}}\n", neighbour.name, neighbour.extra)
}

fn bfd(timers: BfdTimers) -> String {
    let BfdTimers { interval, multiplier } = timers;
    let interval = microseconds(interval);
    format!(
        "bfd {{ min rx interval {interval}; min tx interval {interval}; multiplier {multiplier}; }}"
    )
}

fn microseconds(duration: Duration) -> String {
    format!("{} us", duration.as_micros())
}
