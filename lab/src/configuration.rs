//! vipcast.toml for a host of the fabric, in parts to be put together.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::fabric::{Fabric, HOST_ASN};
use crate::router::{Neighbour, Peering};

/// The pools of the fabric's VIPs and their advertisement to all peers.
pub const POOLS: &str = r#"
[pool.anycast]
addresses = ["203.0.113.0/24", "2001:db8:5::/120"]

[advertisement.anycast]
pools = ["anycast"]
"#;

/// nginx as a service with the VIPs `vip(5)`, checked five times a second.
pub const WEB: &str = r#"
[service.web]
vips = ["203.0.113.5", "2001:db8:5::5"]

[service.web.check.healthz]
http = "http://203.0.113.5/healthz"
interval = "200ms"
timeout = "200ms"
rise = 2
fall = 2
"#;

/// Where the VIPs of [`Many`] are from: what is set apart for benchmarks (RFC 2544).
pub const MANY: &str = "198.19.0.0/16";
/// The network of the IPv6 VIPs of [`Table`]: 2001:db8:ff::/64.
const MANY_IPV6: u128 = 0x2001_0db8_00ff << 80;

/// A peer for every router, with the BFD and hold time that the router has for this host (from 1).
pub fn peers(fabric: &Fabric, host: usize) -> String {
    let router_id = fabric.host(host).router_id;
    let mut text = format!("[bgp]\nlocal-asn = {HOST_ASN}\nrouter-id = \"{router_id}\"\n");
    for tor in 1..=fabric.tors.len() {
        text += &peer(&fabric.neighbour_of_host(host, tor));
    }
    text
}

fn peer(neighbour: &Neighbour) -> String {
    let Neighbour { name, peering, remote_asn, .. } = neighbour;
    let key = match peering {
        Peering::Address(_) => "address",
        Peering::Interface { .. } => "interface",
    };
    let mut text = format!("\n[peer.{name}]\n{key} = \"{peering}\"\nremote-asn = {remote_asn}\n");
    let _ = writeln!(text, "hold-time = \"{}s\"", neighbour.hold_time.as_secs());
    if let Some(bfd) = neighbour.bfd {
        let interval = bfd.interval.as_millis();
        let _ = writeln!(
            text,
            "bfd = \"{name}\"\n\n[bfd.{name}]\nreceive-interval = \"{interval}ms\"\n\
             transmit-interval = \"{interval}ms\"\ndetect-multiplier = {}",
            bfd.multiplier
        );
    }
    text
}

/// Many VIPs of a pool of their own, checked by [`Responder`](crate::responder::Responder).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Many {
    /// How many services, with a check each, whose number is that of the service, from 0.
    pub services: u32,
    /// How many VIPs each has; all are different.
    pub vips_each: u32,
    /// Between two probes of a check, to the millisecond. One outcome decides.
    pub interval: Duration,
    /// Of the responder.
    pub port: u16,
}

impl Many {
    /// The VIPs, those of the first service first.
    pub fn vips(&self) -> Vec<IpNet> {
        (0..self.services * self.vips_each).map(many_vip).collect()
    }

    /// The pool and the services.
    pub fn text(&self) -> String {
        let mut text = format!("\n[pool.many]\naddresses = [\"{MANY}\"]\n");
        let vips: Vec<String> = self.vips().iter().map(|vip| vip.addr().to_string()).collect();
        let interval = self.interval.as_millis();
        for (number, vips) in vips.chunks(self.vips_each.max(1) as usize).enumerate() {
            let (first, port) = (&vips[0], self.port);
            let _ = writeln!(
                text,
                "\n[service.s{number}]\nvips = {vips:?}\n[service.s{number}.check.alive]\n\
                 http = \"http://{first}:{port}/{number}\"\ninterval = \"{interval}ms\"\n\
                 timeout = \"{}ms\"\njitter = \"0%\"\nrise = 1\nfall = 1",
                interval.min(1000)
            );
        }
        text
    }
}

/// Many VIPs of one service, one check and pools of their own, every other one of them IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// How many, up to 60 000.
    pub vips: u32,
    /// Where they are put.
    pub interface: &'static str,
    /// Of the responder.
    pub port: u16,
}

impl Table {
    /// The VIPs.
    pub fn vips(&self) -> Vec<IpNet> {
        let pairs = (0..self.vips).map(|number| match number % 2 {
            0 => many_vip(number / 2),
            _ => IpAddr::from(Ipv6Addr::from(MANY_IPV6 + u128::from(number / 2 + 1))).into(),
        });
        pairs.collect()
    }

    /// The pool and the service.
    pub fn text(&self) -> String {
        let Self { interface, port, .. } = self;
        let vips: Vec<String> = self.vips().iter().map(|vip| vip.addr().to_string()).collect();
        let ipv6 = Ipv6Addr::from(MANY_IPV6);
        format!(
            "\n[pool.table]\naddresses = [\"{MANY}\", \"{ipv6}/64\"]\n\
             \n[service.table]\nvips = {vips:?}\ninterface = \"{interface}\"\n\
             [service.table.check.alive]\nhttp = \"http://127.0.0.1:{port}/0\"\n\
             interval = \"100ms\"\ntimeout = \"100ms\"\njitter = \"0%\"\nrise = 1\nfall = 1\n"
        )
    }
}

/// A VIP of [`MANY`]; up to 60 000.
fn many_vip(number: u32) -> IpNet {
    let [.., high, low] = (number / 250 * 256 + number % 250 + 1).to_be_bytes();
    IpAddr::from([198, 19, high, low]).into()
}

/// The whole file: what a host of the demo has.
pub fn complete(fabric: &Fabric, host: usize) -> String {
    peers(fabric, host) + POOLS + WEB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_vips_are_different_and_belong_to_their_services() {
        let interval = Duration::from_secs(1);
        let many = Many { services: 2, vips_each: 500, interval, port: 8080 };
        let vips: std::collections::BTreeSet<IpNet> = many.vips().into_iter().collect();
        assert_eq!(vips.len(), 1000);
        let text = many.text();
        assert!(text.contains("http = \"http://198.19.0.1:8080/0\""), "{text}");
        assert!(text.contains("http = \"http://198.19.2.1:8080/1\""), "{text}");
        assert_eq!(text.matches("[service.").count(), 4);
    }

    #[test]
    fn the_vips_of_a_table_are_different_and_of_both_families() {
        let table = Table { vips: 10_000, interface: "none", port: 8080 };
        let vips: std::collections::BTreeSet<IpNet> = table.vips().into_iter().collect();
        assert_eq!(vips.len(), 10_000);
        assert_eq!(vips.iter().filter(|vip| vip.addr().is_ipv4()).count(), 5000);
        let text = table.text();
        assert!(text.contains("vips = [\"198.19.0.1\", \"2001:db8:ff::1\", "), "{text}");
    }
}
