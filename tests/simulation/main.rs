//! Every story of failure that the design is about, as a whole daemon on a virtual clock.
mod bfd;
mod diagnosis;
mod gate;
mod hooks;
mod learned;
mod lifecycle;
mod metrics;
mod reload;
mod restart;
mod routers;
mod routes;
mod services;
mod status;
mod strict;
mod units;
mod unnumbered;
mod vips;
mod world;

use std::time::Duration;

/// Two routers with BFD, one pool, one service with one check.
const BASE: &str = r#"
[bgp]
local-asn = 65100
router-id = "10.0.0.21"

[peer.tor1]
address = "10.0.0.1"
remote-asn = 65000
bfd = "tor"

[peer.tor2]
address = "10.0.0.2"
remote-asn = 65000
bfd = "tor"

[bfd.tor]

[pool.vips]
addresses = ["203.0.113.0/24", "2001:db8:5::/64"]

[service.web]
vips = ["203.0.113.5"]

[service.web.check.alive]
http = "http://203.0.113.5/healthz"
interval = "1s"
timeout = "500ms"
rise = 2
fall = 3
"#;

const WEB: [&str; 1] = ["203.0.113.5/32"];
const NOTHING: [&str; 0] = [];

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
