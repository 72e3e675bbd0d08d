//! BIRD, FRR and GoBGP say the same things in the same words, and their failures are explained.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::link::{End, Link};
use vipcast_lab::netns::Namespace;
use vipcast_lab::router::{
    BfdState, BfdTimers, Kind, Neighbour, Origin, Peering, Route, Router, RouterConfig,
    SessionState,
};
use vipcast_lab::site::Site;
use vipcast_lab::wait;

const BOUND: Duration = Duration::from_secs(60);
const KINDS: [Kind; 3] = [Kind::Bird, Kind::Frr, Kind::Gobgp];

/// Two machines and a cable; `left` runs the router in question and `right` a BIRD.
struct Pair {
    link: Link,
}

impl Pair {
    fn new(site: &Arc<Site>) -> Result<Self> {
        let end = |name: &str, interface: &str, side: u16| -> Result<End> {
            Ok(End {
                namespace: Namespace::create(site, name)?,
                interface: interface.to_owned(),
                ipv4: Ipv4Addr::new(10, 1, 1, u8::try_from(side)?),
                ipv6: std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, side),
            })
        };
        Ok(Self { link: Link::plug([end("left", "right", 0)?, end("right", "left", 1)?])? })
    }

    /// What left is told of right, and right of left.
    fn neighbours(&self) -> [Neighbour; 2] {
        let [left, right] = &self.link.ends;
        [
            Neighbour::new("right", right.ipv4.into(), 65100),
            Neighbour::new("left", left.ipv4.into(), 65000),
        ]
    }

    /// Starts the router with its neighbour right.
    fn left(&self, kind: Kind, right: Neighbour, extra: &str) -> Result<Router> {
        let mut config = RouterConfig::new(65000, Ipv4Addr::new(10, 255, 0, 1));
        config.announce = vec!["192.0.2.0/24".parse()?];
        config.neighbours.push(right);
        extra.clone_into(&mut config.extra);
        Router::start(&self.link.ends[0].namespace, kind, config)
    }

    /// Starts BIRD with its neighbour left and a decorated route.
    fn right(&self, left: Neighbour) -> Result<Router> {
        let mut config = RouterConfig::new(65100, Ipv4Addr::new(10, 255, 1, 1));
        config.announce = vec!["2001:db8:5::5/128".parse()?];
        config.neighbours.push(left);
        config.extra = "protocol static decorated { ipv4; route 203.0.113.5/32 unreachable {
            bgp_path.prepend(65100); bgp_path.prepend(65100);
            bgp_community.add((65000,7)); bgp_community.add((65535,0));
            bgp_large_community.add((65000,1,100)); bgp_large_community.add((65000,2,100));
            bgp_ext_community.add((rt,65000,4)); }; }"
            .to_owned();
        Router::start(&self.link.ends[1].namespace, Kind::Bird, config)
    }
}

/// Waits until a router has a best route for a prefix.
fn best(router: &Router, prefix: IpNet) -> Result<Route> {
    wait::until("there is a best route", BOUND, || {
        Ok(router.routes(prefix)?.into_iter().find(|route| route.best))
    })
}

fn site() -> Result<Arc<Site>> {
    Site::temporary()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn all_routers_read_the_same_attributes() -> Result<()> {
    for kind in KINDS {
        let pair = Pair::new(&site()?)?;
        let [right, left] = pair.neighbours();
        let bird = pair.right(left)?;
        let router = pair.left(kind, right, "")?;
        router.wait_established("right", BOUND)?;

        let prefix: IpNet = "203.0.113.5/32".parse()?;
        let route = best(&router, prefix)?;
        assert_eq!(route.neighbour.as_deref(), Some("right"));
        assert_eq!(route.next_hops, [pair.link.ends[1].ipv4]);
        assert_eq!(route.origin, Origin::Igp);
        assert_eq!(route.as_path, [65100, 65100, 65100]);
        assert_eq!(route.med, None);
        assert_eq!(route.communities, ["65000:7", "65535:0"]);
        assert_eq!(route.large_communities, ["65000:1:100", "65000:2:100"]);
        assert_eq!(route.extended_communities.len(), 1);
        assert_ne!(route.stale, Some(true));

        let prefix: IpNet = "2001:db8:5::5/128".parse()?;
        let route = best(&router, prefix)?;
        assert_eq!(route.next_hops[0], pair.link.ends[1].ipv6);

        let own = router.routes("192.0.2.0/24".parse()?)?;
        assert_eq!(own[0].neighbour, None);
        assert_eq!(router.routes("192.0.99.0/24".parse()?)?, []);
        assert_eq!(router.routes("2001:db8:99::/48".parse()?)?, []);
        wait::until("BIRD has the announced route", BOUND, || {
            Ok(bird.routes("192.0.2.0/24".parse()?)?.pop())
        })?;
        if kind != Kind::Bird {
            wait::until_true("End-of-RIB came", BOUND, || {
                Ok(router.session("right")?.end_of_rib == Some(true))
            })?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn all_routers_with_bfd_agree_on_its_intervals() -> Result<()> {
    for kind in [Kind::Bird, Kind::Frr] {
        let pair = Pair::new(&site()?)?;
        let [mut right, mut left] = pair.neighbours();
        right.bfd = Some(BfdTimers { interval: Duration::from_millis(400), multiplier: 5 });
        left.bfd = Some(BfdTimers { interval: Duration::from_millis(300), multiplier: 4 });
        let _bird = pair.right(left)?;
        let router = pair.left(kind, right, "")?;
        let wanted = (Duration::from_millis(400), Duration::from_millis(1600));
        wait::until_true("BFD is up with the negotiated intervals", BOUND, || {
            let sessions = router.bfd_sessions()?;
            let up = sessions.iter().find(|session| session.state == BfdState::Up);
            Ok(up.is_some_and(|up| (up.transmit_interval, up.detection_time) == wanted))
        })
        .with_context(|| format!("{kind:?}: {:?}", router.bfd_sessions()))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn all_routers_honour_the_options_of_a_neighbour() -> Result<()> {
    for kind in KINDS {
        let pair = Pair::new(&site()?)?;
        let [mut right, mut left] = pair.neighbours();
        for neighbour in [&mut right, &mut left] {
            neighbour.password = Some("secret".to_owned());
            neighbour.ttl_security = true;
        }
        right.passive = true;
        let bird = pair.right(left)?;
        let mut router = pair.left(kind, right, "")?;
        router.wait_established("right", BOUND).with_context(|| format!("{kind:?}"))?;

        router.stop()?;
        router.config_mut().neighbours[0].password = Some("wrong".to_owned());
        router.run()?;
        std::thread::sleep(Duration::from_secs(3));
        let session = router.session("right")?;
        ensure!(session.state != SessionState::Established, "{kind:?} accepts a wrong password");
        ensure!(bird.session("left")?.state != SessionState::Established);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_multihop_session_comes_up_between_loopback_addresses() -> Result<()> {
    for kind in KINDS {
        let pair = Pair::new(&site()?)?;
        let [mut right, mut left] = pair.neighbours();
        let (here, there) = (Ipv4Addr::new(10, 9, 9, 1), Ipv4Addr::new(10, 9, 9, 2));
        let [near, far] = &pair.link.ends;
        near.namespace
            .ip(&format!("address add {here}/32 dev lo\nroute add {there} via {}\n", far.ipv4))?;
        far.namespace
            .ip(&format!("address add {there}/32 dev lo\nroute add {here} via {}\n", near.ipv4))?;
        right.peering = Peering::Address(there.into());
        left.peering = Peering::Address(here.into());
        (right.multihop, left.multihop) = (Some(2), Some(2));
        (right.local_address, left.local_address) = (Some(here.into()), Some(there.into()));
        let _bird = pair.right(left)?;
        let router = pair.left(kind, right, "")?;
        router.wait_established("right", BOUND).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_unnumbered_session_comes_up_over_the_link_local_address() -> Result<()> {
    for kind in KINDS {
        let pair = Pair::new(&site()?)?;
        let [mut right, mut left] = pair.neighbours();
        let [near, far] = &pair.link.ends;
        right.peering =
            Peering::Interface { name: "right".to_owned(), link_local: far.link_local() };
        left.peering =
            Peering::Interface { name: "left".to_owned(), link_local: near.link_local() };
        let bird = pair.right(left)?;
        let router = pair.left(kind, right, "")?;
        bird.wait_established("left", BOUND)
            .with_context(|| format!("{kind:?}: {:?}", router.sessions()))?;
        // An IPv4 prefix with an IPv6 next hop (RFC 8950).
        let route = best(&router, "203.0.113.5/32".parse()?)?;
        println!("{kind:?}: {route:?}");
        assert_eq!(route.neighbour.as_deref(), Some("right"));
        if kind != Kind::Gobgp {
            assert_eq!(route.next_hops, [far.link_local()], "{kind:?}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_does_not_start_says_why() -> Result<()> {
    for kind in KINDS {
        let pair = Pair::new(&site()?)?;
        let [right, _] = pair.neighbours();
        let error =
            pair.left(kind, right, "[[nonsense\n").err().context("nonsense was accepted")?;
        let text = format!("{error:#}");
        println!("{text}\n");
        let reason = match kind {
            Kind::Bird => "syntax error, unexpected '['",
            Kind::Frr => "[[nonsense",
            Kind::Gobgp => "toml",
        };
        ensure!(text.starts_with("cannot start") && text.contains(reason), "{kind:?}: {text}");
    }
    Ok(())
}
