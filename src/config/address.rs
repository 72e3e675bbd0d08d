//! Addresses that no host or service can have.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::problem::{Place, Problem};

/// What is in them can be neither a VIP nor an end of a session, and why (RFC 6890).
const UNUSABLE: &[(IpNet, &str)] = &[
    (v4([0, 0, 0, 0], 8), "not the address of a host"),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([255, 255, 255, 255], 32), "the broadcast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address"),
    (v6(Ipv6Addr::UNSPECIFIED, 128), "not the address of a host"),
    (v6(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (
        v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "an IPv4 address in the form of an IPv6 one",
    ),
    (v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), "a link-local address"),
    (v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8), "a multicast address"),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(address: Ipv6Addr, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// Why an address, or a prefix all of whose addresses are alike, cannot be used; `what` it is
/// meant to be: "a VIP".
pub(super) fn problem(prefix: IpNet, place: &Place, what: &str) -> Option<Problem> {
    let (_, reason) = UNUSABLE.iter().find(|(unusable, _)| unusable.contains(&prefix))?;
    let address = prefix.addr();
    let is_host = prefix.prefix_len() == prefix.max_prefix_len();
    let shown = if is_host { address.to_string() } else { prefix.to_string() };
    let problem = Problem::new(place, format!("{shown} cannot be {what}: it is {reason}"));
    let plain = match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().filter(|_| is_host),
        IpAddr::V4(_) => None,
    };
    Some(
        plain
            .into_iter()
            .fold(problem, |problem, plain| problem.help(format!("write \"{plain}\""))),
    )
}
