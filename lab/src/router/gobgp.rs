//! GoBGP as a router of the fabric, without BFD and without the kernel's table. `gobgp_json` reads
//! its answers.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;

use super::{
    BfdSession, Implementation, Neighbour, Peering, Place, READY, Route, RouterConfig, Session,
    config::family, gobgp_json,
};
use crate::process::Process;

pub(super) struct Gobgp;

/// Announces nothing but the router's own routes.
const POLICY: &str = r#"
[global.apply-policy.config]
  export-policy-list = ["own"]
  default-export-policy = "reject-route"
[[policy-definitions]]
  name = "own"
  [[policy-definitions.statements]]
    [policy-definitions.statements.conditions.bgp-conditions]
      route-type = "local"
    [policy-definitions.statements.actions]
      route-disposition = "accept-route"
"#;

impl Implementation for Gobgp {
    fn start(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Process>> {
        let file = place.directory.join("gobgpd.toml");
        fs::write(&file, configuration(config))?;
        let mut command = place.namespace.command("gobgpd");
        command.arg("--config-file").arg(&file).args([
            "--api-hosts",
            "127.0.0.1:50051",
            "--pprof-disable",
        ]);
        let process = Process::start(&place.namespace, "gobgpd", &command)?;
        process.wait_until("gobgp is answered", READY, || {
            let neighbours = json(place, "neighbor").ok();
            let count = neighbours.and_then(|answer| Some(answer.as_array()?.len())).unwrap_or(0);
            let global = self.command(place, "global").unwrap_or_default();
            Ok((count >= config.neighbours.len() && global.contains("Router-ID")).then_some(()))
        })?;
        for prefix in &config.announce {
            let family = family(*prefix);
            self.command(place, &format!("global rib add {prefix} origin igp -a {family}"))?;
        }
        Ok(vec![process])
    }

    fn command(&self, place: &Place, command: &str) -> Result<String> {
        place.namespace.run("gobgp", command.split_whitespace())
    }

    fn sessions(&self, config: &RouterConfig, place: &Place) -> Result<Vec<Session>> {
        gobgp_json::sessions(&json(place, "neighbor")?, &config.neighbours)
    }

    fn bfd_sessions(&self, _: &Place) -> Result<Vec<BfdSession>> {
        Ok(Vec::new())
    }

    fn routes(&self, config: &RouterConfig, place: &Place, prefix: IpNet) -> Result<Vec<Route>> {
        let command = format!("global rib {prefix} -a {}", family(prefix));
        // It says "Network not in table" with success or failure, depending on whether the table is
        // empty.
        match self.command(place, &format!("-j {command}")) {
            Ok(text) if text.trim_start().starts_with(['{', '[']) => {
                gobgp_json::routes(&serde_json::from_str(&text)?, prefix, &config.neighbours)
            }
            Ok(_) => Ok(Vec::new()),
            Err(error) if format!("{error:#}").contains("not in table") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn shell_hint(&self, place: &Place) -> String {
        format!("ip netns exec {} gobgp", place.namespace.name())
    }
}

fn json(place: &Place, command: &str) -> Result<Value> {
    let answer = Gobgp.command(place, &format!("-j {command}"))?;
    serde_json::from_str(&answer).with_context(|| format!("gobgp {command}: {answer}"))
}

fn configuration(config: &RouterConfig) -> String {
    let mut text = format!(
        "[global.config]\n  as = {}\n  router-id = \"{}\"\n[global.use-multiple-paths.config]\n  enabled = true\n",
        config.asn, config.router_id
    );
    text += POLICY;
    for neighbour in &config.neighbours {
        text += &neighbour_table(neighbour);
    }
    text + &config.extra
}

fn neighbour_table(neighbour: &Neighbour) -> String {
    let mut text = String::from("[[neighbors]]\n[neighbors.config]\n");
    let key = match neighbour.peering {
        Peering::Address(_) => "neighbor-address",
        Peering::Interface { .. } => "neighbor-interface",
    };
    let _ = writeln!(text, "  {key} = \"{}\"", neighbour.peering);
    let _ = writeln!(text, "  peer-as = {}", neighbour.remote_asn);
    let _ = writeln!(text, "  description = \"{}\"", neighbour.name);
    if let Some(password) = &neighbour.password {
        let _ = writeln!(text, "  auth-password = \"{password}\"");
    }
    let _ = writeln!(text, "[neighbors.transport.config]\n  passive-mode = {}", neighbour.passive);
    if let Some(address) = neighbour.local_address {
        let _ = writeln!(text, "  local-address = \"{address}\"");
    }
    let hold = neighbour.hold_time.as_secs();
    let retry = neighbour.connect_retry.as_secs().max(1);
    let _ = writeln!(
        text,
        "[neighbors.timers.config]\n  hold-time = {hold}\n  keepalive-interval = {}\n  \
         connect-retry = {retry}\n  idle-hold-time-after-reset = {retry}",
        hold / 3
    );
    if let Some(hops) = neighbour.multihop {
        let _ = writeln!(
            text,
            "[neighbors.ebgp-multihop.config]\n  enabled = true\n  multihop-ttl = {hops}"
        );
    }
    if neighbour.ttl_security {
        text += "[neighbors.ttl-security.config]\n  enabled = true\n  ttl-min = 255\n";
    }
    for family in ["ipv4-unicast", "ipv6-unicast"] {
        text += "[[neighbors.afi-safis]]\n  [neighbors.afi-safis.config]\n";
        let _ = writeln!(text, "    afi-safi-name = \"{family}\"");
        text += "  [neighbors.afi-safis.mp-graceful-restart.config]\n    enabled = true\n";
    }
    text += "[neighbors.graceful-restart.config]\n  enabled = true\n  restart-time = 120\n";
    text + &neighbour.extra + "\n"
}
