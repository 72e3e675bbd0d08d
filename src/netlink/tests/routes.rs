//! The core of learned routes: what is asked of the kernel, story by story, and against a model of
//! the kernel in which other programs meddle, links come and go, requests are refused and news is
//! late.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::netlink::reach::Unreachable;
use crate::netlink::routes::{DEFERRAL_TIME, Installation, METRIC};
use crate::netlink::{NextHop, Route, RouteEvent, RouteKey, RouteRequest, Routes};
use crate::route::{Ends, ScopedAddress};

const MAIN: u32 = 254;
const DEFAULT: &str = "0.0.0.0/0";

fn key(prefix: &str) -> RouteKey {
    RouteKey { table: MAIN, prefix: net(prefix), metric: METRIC }
}

/// "10.0.0.1@2": that address on interface 2.
fn hops(all: &[&str]) -> BTreeSet<NextHop> {
    let one = |text: &&str| {
        let (address, index) = text.split_once('@').expect("an interface");
        NextHop { address: ip(address), index: index.parse().expect("a number") }
    };
    all.iter().map(one).collect()
}

fn route(prefix: &str, all: &[&str]) -> Route {
    Route { key: key(prefix), next_hops: hops(all) }
}

const BOTH: [&str; 2] = ["10.0.0.1@2", "10.0.1.1@3"];
const ONE: [&str; 1] = ["10.0.0.1@2"];

/// A host, and what was asked of it.
struct Host {
    routes: Routes,
    now: Instant,
}

impl Host {
    fn unknown() -> Self {
        let now = start();
        Self { routes: Routes::new(now), now }
    }

    /// With these routes of ours in it.
    fn with(present: &[Route]) -> Self {
        let mut host = Self::unknown();
        host.tell(RouteEvent::Dump(present.to_vec()));
        host
    }

    /// With the default by way of both routers, installed by us in this life.
    fn installed() -> Self {
        let mut host = Self::with(&[]);
        host.want(DEFAULT, &BOTH);
        host.serve();
        assert_eq!(host.installation(DEFAULT), Installation::Installed);
        host.changed();
        host
    }

    fn tell(&mut self, event: RouteEvent) {
        self.routes.handle_event(&Event::Route(event), self.now);
    }

    fn want(&mut self, prefix: &str, all: &[&str]) {
        self.routes.want(MAIN, net(prefix), hops(all), self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.routes.handle_timeout(self.now);
    }

    fn requests(&mut self) -> Vec<RouteRequest> {
        std::iter::from_fn(|| self.routes.poll_request()).collect()
    }

    /// Does what is asked, and returns what that was.
    fn serve(&mut self) -> Vec<RouteRequest> {
        let requests = self.requests();
        for request in requests.clone() {
            match &request {
                RouteRequest::Add(route) | RouteRequest::Replace(route) => {
                    self.tell(RouteEvent::Changed(route.clone()));
                }
                RouteRequest::Remove(key) => {
                    self.tell(RouteEvent::Gone(Route { key: *key, next_hops: BTreeSet::new() }));
                }
                RouteRequest::Read => continue,
            }
            self.tell(RouteEvent::Done(request, Ok(())));
        }
        requests
    }

    fn installation(&self, prefix: &str) -> Installation {
        self.routes.installation(MAIN, net(prefix)).clone()
    }

    fn changed(&mut self) -> Vec<RouteKey> {
        std::iter::from_fn(|| self.routes.poll_changed()).collect()
    }

    fn lost(&mut self) -> Vec<RouteKey> {
        std::iter::from_fn(|| self.routes.poll_lost()).collect()
    }
}

mod stories {
    use super::*;

    #[test]
    fn nothing_is_asked_before_it_is_known_what_is_there() {
        let mut host = Host::unknown();
        host.want(DEFAULT, &ONE);
        host.wait(10 * SECOND);
        assert_eq!((host.requests(), host.installation(DEFAULT)), (vec![], Installation::Pending));
        host.tell(RouteEvent::Dump(vec![]));
        assert_eq!(host.requests(), [RouteRequest::Add(route(DEFAULT, &ONE))]);
    }

    #[test]
    fn two_routers_are_one_route_and_a_change_of_them_replaces_it_at_one_go() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &BOTH);
        assert_eq!(host.serve(), [RouteRequest::Add(route(DEFAULT, &BOTH))]);
        assert_eq!((host.changed(), host.requests()), (vec![key(DEFAULT)], vec![]));
        host.want(DEFAULT, &ONE);
        assert_eq!(host.serve(), [RouteRequest::Replace(route(DEFAULT, &ONE))]);
        host.want(DEFAULT, &ONE);
        assert_eq!(host.serve(), []);
        host.want(DEFAULT, &[]);
        assert_eq!(host.serve(), [RouteRequest::Remove(key(DEFAULT))]);
        host.want(DEFAULT, &[]);
        assert_eq!(host.serve(), []);
    }

    #[test]
    fn what_changes_while_a_request_is_under_way_is_asked_for_after_it() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &ONE);
        let first = host.requests();
        host.want(DEFAULT, &BOTH);
        host.want(DEFAULT, &[]);
        assert_eq!(host.requests(), []);
        host.tell(RouteEvent::Changed(route(DEFAULT, &ONE)));
        host.tell(RouteEvent::Done(first[0].clone(), Ok(())));
        assert_eq!(host.serve(), [RouteRequest::Remove(key(DEFAULT))]);
    }

    /// A restart or an upgrade must not cut a host off.
    #[test]
    fn what_a_daemon_before_us_left_stays_for_a_bounded_time() {
        let other = route("10.1.0.0/16", &ONE);
        let mut host = Host::with(&[route(DEFAULT, &BOTH), other.clone()]);
        host.wait(DEFERRAL_TIME - TICK);
        assert_eq!(host.requests(), []);
        assert_eq!(host.routes.leftovers().count(), 2);
        host.wait(TICK);
        let removed = [RouteRequest::Remove(key(DEFAULT)), RouteRequest::Remove(other.key)];
        assert_eq!(host.serve(), removed);
        assert_eq!(host.routes.poll_timeout(), None);
    }

    #[test]
    fn what_was_left_and_is_wanted_is_adopted_or_replaced_and_the_rest_goes_when_all_is_known() {
        let mut host = Host::with(&[route(DEFAULT, &BOTH), route("10.1.0.0/16", &ONE)]);
        host.want(DEFAULT, &BOTH);
        assert_eq!(host.requests(), []);
        assert_eq!(host.installation(DEFAULT), Installation::Installed);
        host.want(DEFAULT, &ONE);
        assert_eq!(host.serve(), [RouteRequest::Replace(route(DEFAULT, &ONE))]);
        host.routes.release_leftovers(host.now);
        assert_eq!(host.serve(), [RouteRequest::Remove(key("10.1.0.0/16"))]);
    }

    #[test]
    fn what_has_been_wanted_since_the_start_is_no_leftover() {
        let mut host = Host::with(&[route(DEFAULT, &BOTH)]);
        host.want(DEFAULT, &BOTH);
        host.want(DEFAULT, &[]);
        // Until the kernel has removed it, it is there and not wanted.
        assert_eq!(host.routes.leftovers().count(), 0);
        assert_eq!(host.serve(), [RouteRequest::Remove(key(DEFAULT))]);
    }

    #[test]
    fn one_that_disappears_is_put_back_and_told_once_a_minute() {
        let mut host = Host::installed();
        for _ in 0..3 {
            host.tell(RouteEvent::Gone(route(DEFAULT, &BOTH)));
            assert_eq!(host.serve(), [RouteRequest::Add(route(DEFAULT, &BOTH))]);
        }
        assert_eq!(host.lost(), [key(DEFAULT)]);
        host.wait(60 * SECOND);
        host.tell(RouteEvent::Gone(route(DEFAULT, &BOTH)));
        assert_eq!(host.lost(), [key(DEFAULT)]);
    }

    #[test]
    fn one_next_hop_that_disappears_is_put_back() {
        let mut host = Host::installed();
        host.tell(RouteEvent::Gone(route(DEFAULT, &ONE)));
        assert_eq!(host.serve(), [RouteRequest::Replace(route(DEFAULT, &BOTH))]);
    }

    /// IPv4 routes vanish without a report.
    #[test]
    fn whatever_happens_to_its_interface_has_everything_read_again() {
        let gone = foreign(2, "10.0.0.21/24");
        let down = Link { up: false, ..link(2, "eth0") };
        for event in [Event::Link(down), Event::LinkGone(2), Event::AddressGone(gone)] {
            let mut host = Host::installed();
            host.routes.handle_event(&event, host.now);
            host.routes.handle_event(&event, host.now);
            assert_eq!(host.requests(), [RouteRequest::Read], "{event:?}, once");
            host.tell(RouteEvent::Dump(vec![]));
            assert_eq!(host.serve(), [RouteRequest::Add(route(DEFAULT, &BOTH))]);
        }
        let mut host = Host::installed();
        host.routes.handle_event(&Event::Link(link(7, "veth7")), host.now);
        assert_eq!(host.requests(), []);
    }

    #[test]
    fn a_refused_one_says_why_and_is_tried_again_each_second() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &ONE);
        let refused = Installation::Refused("cannot install it: network is unreachable".into());
        for _ in 0..3 {
            let requests = host.requests();
            assert_eq!(requests, [RouteRequest::Add(route(DEFAULT, &ONE))]);
            let result = Err("network is unreachable".into());
            host.tell(RouteEvent::Done(requests[0].clone(), result));
            assert_eq!((host.requests(), host.installation(DEFAULT)), (vec![], refused.clone()));
            host.wait(SECOND);
        }
        assert_eq!(host.changed(), [key(DEFAULT)], "told once");
        host.want(DEFAULT, &BOTH);
        host.serve();
    }

    #[test]
    fn a_route_of_somebody_else_in_our_place_is_left_alone_and_named() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &ONE);
        host.requests();
        host.tell(RouteEvent::AlreadyThere(key(DEFAULT)));
        assert_eq!(host.requests(), [RouteRequest::Read]);
        host.tell(RouteEvent::Dump(vec![]));
        let text = "metric 118 is taken by a route of somebody else";
        assert_eq!(host.installation(DEFAULT), Installation::Refused(text.into()));
        assert_eq!(host.requests(), []);
        host.wait(SECOND);
        assert_eq!(host.serve(), [RouteRequest::Add(route(DEFAULT, &ONE))]);
        assert_eq!(host.installation(DEFAULT), Installation::Installed);
    }

    #[test]
    fn one_of_ours_that_nobody_told_us_of_is_replaced_when_it_is_found() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &BOTH);
        host.requests();
        host.tell(RouteEvent::AlreadyThere(key(DEFAULT)));
        host.requests();
        host.tell(RouteEvent::Dump(vec![route(DEFAULT, &ONE)]));
        host.wait(SECOND);
        assert_eq!(host.serve(), [RouteRequest::Replace(route(DEFAULT, &BOTH))]);
    }

    /// The kernel has its own mind about what it was asked for: that must not become a loop.
    #[test]
    fn an_answer_that_changes_nothing_is_not_followed_by_the_same_request_at_once() {
        let mut host = Host::with(&[]);
        host.want(DEFAULT, &BOTH);
        let requests = host.requests();
        host.tell(RouteEvent::Changed(route(DEFAULT, &ONE)));
        host.tell(RouteEvent::Done(requests[0].clone(), Ok(())));
        assert_eq!(host.requests(), [RouteRequest::Read]);
        host.wait(SECOND);
        assert_eq!(host.requests(), [RouteRequest::Replace(route(DEFAULT, &BOTH))]);
    }

    #[test]
    fn without_a_word_from_the_kernel_each_route_says_why_it_is_not_there() {
        let mut host = Host::unknown();
        host.want(DEFAULT, &ONE);
        host.routes.handle_event(&Event::Broken("no netlink".into()), host.now);
        host.want("::/0", &["fe80::1@2"]);
        for prefix in [DEFAULT, "::/0"] {
            assert_eq!(host.installation(prefix), Installation::Refused("no netlink".into()));
        }
    }
}

mod reach {
    use super::*;

    const PEER: &str = "10.0.0.1";
    const LOCAL: &str = "10.0.0.21";

    /// Two uplinks, a VIP, and an interface that is down.
    fn host() -> Addresses {
        let mut addresses = Addresses::default();
        let down = Link { up: false, ..link(4, "eth2") };
        let links = vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1"), down];
        let present = vec![
            foreign(1, "127.0.0.1/8"),
            ours(1, "192.0.2.1"),
            foreign(2, "10.0.0.21/24"),
            foreign(2, "fe80::21/64"),
            foreign(3, "10.0.1.21/24"),
            foreign(3, "10.0.0.0/16"),
            foreign(4, "10.4.0.21/24"),
            foreign(3, "2001:db8::21/64"),
        ];
        addresses.handle_event(Event::Dump(links, present), start());
        addresses
    }

    fn ends(peer: &str) -> Ends {
        Ends { local: ip(LOCAL).into(), remote: ip(peer).into() }
    }

    fn way(next_hop: &str) -> Result<NextHop, Unreachable> {
        host().reach(ip(next_hop), ends(PEER))
    }

    fn on(address: &str, index: u32) -> Result<NextHop, Unreachable> {
        Ok(NextHop { address: ip(address), index })
    }

    #[test]
    fn a_next_hop_is_on_the_interface_with_the_longest_prefix_around_it() {
        assert_eq!(way("10.0.0.7"), on("10.0.0.7", 2));
        assert_eq!(way("10.0.7.7"), on("10.0.7.7", 3));
        assert_eq!(way("2001:db8::7"), on("2001:db8::7", 3));
    }

    #[test]
    fn a_link_local_one_is_on_the_interface_of_the_session() {
        assert_eq!(way("fe80::7"), on("fe80::7", 2));
    }

    #[test]
    fn the_peer_itself_is_on_the_interface_of_the_session_whatever_prefix_that_has() {
        let reach = |next_hop| host().reach(ip(next_hop), ends("198.51.100.1"));
        assert_eq!(reach("198.51.100.1"), on("198.51.100.1", 2));
        let other = ip("198.51.100.2");
        assert_eq!(reach("198.51.100.2"), Err(Unreachable::NotOnLink(other)));
    }

    #[test]
    fn a_link_local_address_is_one_of_its_own_link_alone() {
        let mut host = host();
        for index in [2, 3] {
            host.handle_event(Event::Address(foreign(index, "fe80::21/64")), start());
        }
        // As docker0 has it.
        host.handle_event(Event::Address(foreign(1, "fe80::1/64")), start());
        let zoned = |address, zone| ScopedAddress { ip: ip(address), zone };
        let ends = |zone| Ends { local: zoned("fe80::21", zone), remote: zoned("fe80::1", zone) };
        for zone in [2, 3] {
            assert_eq!(host.reach(ip("fe80::1"), ends(zone)), on("fe80::1", zone));
            let ours = Err(Unreachable::Ours(ip("fe80::21")));
            assert_eq!(host.reach(ip("fe80::21"), ends(zone)), ours);
            assert_eq!(host.cut_off(ends(zone)), None);
        }
        host.handle_event(Event::AddressGone(foreign(3, "fe80::21/64")), start());
        let gone = Some("our address fe80::21 is gone from this host".to_owned());
        assert_eq!(host.cut_off(ends(3)), gone);
        assert_eq!(host.cut_off(ends(2)), None);
        // With the link go its addresses; what is wrong is the link.
        host.handle_event(Event::Link(Link { up: false, ..link(3, "eth1") }), start());
        assert_eq!(host.cut_off(ends(3)), Some("interface eth1 is down".into()));
    }

    #[test]
    fn our_end_is_cut_off_by_its_link_and_by_a_carrier_only_where_that_is_the_way() {
        let mut host = host();
        let far = ends("192.0.2.77");
        assert_eq!(Addresses::default().cut_off(ends(PEER)), None, "nothing is known");
        assert_eq!(host.cut_off(ends(PEER)), None);
        host.handle_event(Event::Link(Link { carrier: false, ..link(2, "eth0") }), start());
        assert_eq!(host.cut_off(ends(PEER)), Some("interface eth0 has no carrier".into()));
        assert_eq!(host.cut_off(far), None);
        host.handle_event(Event::Link(Link { up: false, ..link(2, "eth0") }), start());
        assert_eq!(host.cut_off(far), Some("interface eth0 is down".into()));
        // The same address on another link, as with two unnumbered uplinks for IPv4.
        host.handle_event(Event::Address(foreign(3, &format!("{LOCAL}/32"))), start());
        assert_eq!(host.cut_off(far), None);
        assert_eq!(host.cut_off(ends(PEER)), None);
    }

    #[test]
    fn a_link_can_be_used_once_it_has_an_address_of_ours_that_nobody_else_has() {
        let why = |host: &Addresses| host.usable_link("eth1").expect_err("not usable");
        let text = "interface eth1 is not known: not read from the kernel yet";
        assert_eq!(why(&Addresses::default()), text);
        let mut host = host();
        assert_eq!(host.usable_link("eth9").expect_err("none"), "interface eth9 does not exist");
        assert_eq!(host.usable_link("eth2").expect_err("down"), "interface eth2 is down");
        let text = "interface eth1 has no link-local address (IPv6 may be disabled there)";
        assert_eq!(why(&host), text);
        let address = foreign(3, "fe80::21/64");
        host.handle_event(Event::Address(Address { tentative: true, ..address }), start());
        let text = "the link-local address of interface eth1 is being checked for duplicates";
        assert!(why(&host).starts_with(text));
        host.handle_event(Event::Address(address), start());
        assert_eq!(host.usable_link("eth1"), Ok(3));
        host.handle_event(Event::Link(Link { carrier: false, ..link(3, "eth1") }), start());
        assert_eq!(why(&host), "interface eth1 has no carrier");
    }

    #[test]
    fn what_leads_nowhere_says_why() {
        for odd in ["0.0.0.0", "127.0.0.9", "224.0.0.5", "255.255.255.255", "::", "ff02::1"] {
            assert_eq!(way(odd), Err(Unreachable::NotUnicast(ip(odd))));
        }
        let mapped = "::ffff:10.0.0.1";
        assert_eq!(way(mapped), Err(Unreachable::Mapped(ip(mapped))));
        for our in [LOCAL, "192.0.2.1"] {
            assert_eq!(way(our), Err(Unreachable::Ours(ip(our))));
        }
        assert_eq!(way("10.4.0.1"), Err(Unreachable::Down(ip("10.4.0.1"), "eth2".into())));
        assert_eq!(way("192.0.2.7"), Err(Unreachable::NotOnLink(ip("192.0.2.7"))));
    }

    #[test]
    fn what_is_connected_is_known_with_all_that_is_inside_of_it() {
        let connected = |prefix| host().connected(net(prefix));
        assert_eq!(connected("10.0.1.0/24"), Some(net("10.0.1.0/24")));
        assert_eq!(connected("10.4.0.128/25"), Some(net("10.4.0.0/24")));
        assert_eq!((connected("0.0.0.0/0"), connected("10.0.0.0/8")), (None, None));
    }
}

mod model {
    use super::*;

    const PREFIXES: [&str; 3] = ["0.0.0.0/0", "10.1.0.0/16", "::/0"];
    const INDEXES: [u32; 2] = [2, 3];

    /// A route in the kernel.
    #[derive(Clone, Debug, Eq, PartialEq)]
    struct Entry {
        ours: bool,
        next_hops: BTreeSet<NextHop>,
    }

    struct Kernel {
        refuses: bool,
        up: BTreeMap<u32, bool>,
        routes: BTreeMap<RouteKey, Entry>,
        requests: VecDeque<RouteRequest>,
        answer: Option<RouteEvent>,
        reports: VecDeque<Event>,
        channel: VecDeque<Event>,
    }

    impl Kernel {
        fn new() -> Self {
            let left = Entry { ours: true, next_hops: hops(&ONE) };
            let old = RouteKey { metric: 20, ..key("10.9.0.0/16") };
            Self {
                refuses: false,
                up: INDEXES.map(|index| (index, true)).into(),
                // Left behind by a crash, wanted later or never.
                routes: [(key(DEFAULT), left.clone()), (old, left)].into(),
                requests: VecDeque::new(),
                answer: None,
                reports: VecDeque::new(),
                channel: VecDeque::new(),
            }
        }

        /// Nobody can know whose a route is while a question about it is open: the kernel has no
        /// request to replace one if it is ours.
        fn is_quiet(&self, key: RouteKey) -> bool {
            let about = |request: &RouteRequest| match request {
                RouteRequest::Add(route) | RouteRequest::Replace(route) => route.key == key,
                RouteRequest::Remove(other) => *other == key,
                RouteRequest::Read => true,
            };
            let mut news = self.reports.iter().chain(&self.channel);
            !self.requests.iter().any(about)
                && self.answer.is_none()
                && !news.any(|event| matches!(event, Event::Route(_) | Event::Link(_)))
        }

        fn is_idle(&self) -> bool {
            self.requests.is_empty()
                && self.answer.is_none()
                && self.reports.is_empty()
                && self.channel.is_empty()
        }

        fn put(&mut self, key: RouteKey, entry: Entry) {
            if entry.ours {
                let route = Route { key, next_hops: entry.next_hops.clone() };
                self.reports.push_back(Event::Route(RouteEvent::Changed(route)));
            }
            self.routes.insert(key, entry);
        }

        fn delete(&mut self, key: RouteKey, is_told: bool) {
            let Some(entry) = self.routes.remove(&key) else { return };
            if entry.ours && is_told {
                let route = Route { key, next_hops: entry.next_hops };
                self.reports.push_back(Event::Route(RouteEvent::Gone(route)));
            }
        }

        fn set_link(&mut self, index: u32, up: bool) {
            self.up.insert(index, up);
            self.reports.push_back(Event::Link(Link { up, ..link(index, "eth") }));
            if !up {
                // A route goes with its last next hop; IPv4 does not say so.
                let is_dead = |entry: &Entry| entry.next_hops.iter().all(|n| !self.up[&n.index]);
                let dead = self.routes.iter().filter(|(_, entry)| is_dead(entry));
                for key in dead.map(|(key, _)| *key).collect::<Vec<_>>() {
                    self.delete(key, key.prefix.addr().is_ipv6());
                }
            }
        }

        fn dump(&mut self) {
            let ours = self.routes.iter().filter(|(_, entry)| entry.ours);
            let route = |(key, entry): (&RouteKey, &Entry)| Route {
                key: *key,
                next_hops: entry.next_hops.clone(),
            };
            let event = RouteEvent::Dump(ours.map(route).collect());
            self.channel.push_back(Event::Route(event));
        }

        fn carry_out(&mut self) {
            if let Some(answer) = self.answer.take() {
                self.channel.extend(self.reports.drain(..));
                self.channel.push_back(Event::Route(answer));
                return;
            }
            let Some(request) = self.requests.pop_front() else { return };
            let is_down =
                |route: &Route| route.next_hops.iter().any(|next_hop| !self.up[&next_hop.index]);
            let result = match &request {
                RouteRequest::Read => {
                    self.dump();
                    return;
                }
                _ if self.refuses => Err("not permitted".to_owned()),
                RouteRequest::Add(route) | RouteRequest::Replace(route) if is_down(route) => {
                    Err("network is down".to_owned())
                }
                RouteRequest::Add(route) if self.routes.contains_key(&route.key) => {
                    self.answer = Some(RouteEvent::AlreadyThere(route.key));
                    return;
                }
                RouteRequest::Add(route) | RouteRequest::Replace(route) => {
                    let before = self.routes.get(&route.key);
                    assert!(
                        before.is_none_or(|entry| entry.ours),
                        "{request:?} replaces another's"
                    );
                    let next_hops = route.next_hops.clone();
                    self.put(route.key, Entry { ours: true, next_hops });
                    Ok(())
                }
                RouteRequest::Remove(key) => {
                    // The kernel compares the protocol number.
                    if self.routes.get(key).is_some_and(|entry| entry.ours) {
                        self.delete(*key, true);
                    }
                    Ok(())
                }
            };
            self.answer = Some(RouteEvent::Done(request, result));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Want(usize, bool, bool),
        /// Somebody else adds a route in our place
        Meddle(usize),
        /// Somebody deletes what is there, whoever put it there
        Delete(usize),
        Link(usize, bool),
        Refuse(bool),
        Release,
        CarryOut,
        Report,
        Deliver,
        Dump,
        Wait(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let prefix = 0..PREFIXES.len();
        prop_oneof![
            8 => (prefix.clone(), any::<bool>(), any::<bool>())
                .prop_map(|(prefix, one, other)| Step::Want(prefix, one, other)),
            2 => prefix.clone().prop_map(Step::Meddle),
            3 => prefix.prop_map(Step::Delete),
            2 => (0..INDEXES.len(), any::<bool>()).prop_map(|(link, up)| Step::Link(link, up)),
            1 => any::<bool>().prop_map(Step::Refuse),
            1 => Just(Step::Release),
            12 => Just(Step::CarryOut),
            12 => Just(Step::Report),
            16 => Just(Step::Deliver),
            2 => Just(Step::Dump),
            4 => (0u64..1500).prop_map(Step::Wait),
        ]
    }

    struct World {
        kernel: Kernel,
        core: Routes,
        wanted: BTreeMap<RouteKey, BTreeSet<NextHop>>,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let mut kernel = Kernel::new();
            kernel.dump();
            let now = start();
            Self { kernel, core: Routes::new(now), wanted: BTreeMap::new(), now }
        }

        fn take(&mut self, step: Step) {
            let (kernel, now) = (&mut self.kernel, self.now);
            match step {
                Step::Want(number, one, other) => {
                    let key = key(PREFIXES[number]);
                    let gateways = match key.prefix {
                        IpNet::V4(_) => BOTH,
                        IpNet::V6(_) => ["2001:db8::1@2", "2001:db8:1::1@3"],
                    };
                    let chosen = [(one, gateways[0]), (other, gateways[1])];
                    let chosen = chosen.iter().filter(|(is, _)| *is).map(|(_, hop)| *hop);
                    let next_hops = hops(&chosen.collect::<Vec<_>>());
                    self.wanted.insert(key, next_hops.clone());
                    self.core.want(MAIN, key.prefix, next_hops, now);
                }
                Step::Meddle(number) => {
                    let key = key(PREFIXES[number]);
                    if kernel.is_quiet(key) && !kernel.routes.contains_key(&key) {
                        kernel.put(key, Entry { ours: false, next_hops: hops(&["192.0.2.1@9"]) });
                        kernel.up.insert(9, true);
                    }
                }
                Step::Delete(number) => {
                    let key = key(PREFIXES[number]);
                    if kernel.is_quiet(key) {
                        kernel.delete(key, true);
                    }
                }
                Step::Link(number, up) => kernel.set_link(INDEXES[number], up),
                Step::Refuse(refuses) => kernel.refuses = refuses,
                Step::Release => self.core.release_leftovers(now),
                Step::CarryOut => kernel.carry_out(),
                Step::Report => kernel.channel.extend(kernel.reports.pop_front()),
                Step::Deliver => {
                    if let Some(event) = kernel.channel.pop_front() {
                        self.core.handle_event(&event, now);
                    }
                }
                Step::Dump => kernel.dump(),
                Step::Wait(time) => {
                    self.now += Duration::from_millis(time);
                    self.core.handle_timeout(self.now);
                }
            }
            self.kernel.requests.extend(std::iter::from_fn(|| self.core.poll_request()));
            while self.core.poll_changed().is_some() {}
        }

        /// The world comes to rest: all links are up, and all news arrives.
        fn settle(&mut self) {
            let world = [Step::Refuse(false), Step::Link(0, true), Step::Link(1, true)];
            world.into_iter().for_each(|step| self.take(step));
            for _ in 0..5 {
                for _ in 0..1000 {
                    if self.kernel.is_idle() {
                        break;
                    }
                    for step in [Step::CarryOut, Step::Report, Step::Deliver] {
                        self.take(step);
                    }
                }
                assert!(self.kernel.is_idle(), "it never comes to rest");
                self.take(Step::Wait(1000));
                self.take(Step::Dump);
            }
        }
    }

    proptest! {
        /// Whatever other programs do, in the end each route is in the kernel as it is wanted or
        /// says why not, nothing else of ours is there, and what is somebody else's was never
        /// touched ([`Kernel::carry_out`] checks).
        #[test]
        fn when_everything_has_settled_the_kernel_has_what_is_wanted_and_no_more_of_ours(
            steps in vec(any_step(), 0..150),
        ) {
            let mut world = World::new();
            for step in steps {
                world.take(step);
            }
            world.take(Step::Release);
            world.settle();
            world.wanted.retain(|_, next_hops| !next_hops.is_empty());
            for (key, next_hops) in &world.wanted {
                let entry = world.kernel.routes.get(key).cloned();
                let is_ours = entry.as_ref().is_some_and(|entry| entry.ours);
                match world.core.installation(key.table, key.prefix) {
                    Installation::Installed => {
                        let expected = Entry { ours: true, next_hops: next_hops.clone() };
                        prop_assert_eq!(entry, Some(expected));
                    }
                    Installation::Refused(_) => prop_assert!(entry.is_some() && !is_ours),
                    Installation::Pending => prop_assert!(false, "{:?} is pending", key),
                }
            }
            for (key, _) in world.kernel.routes.iter().filter(|(_, entry)| entry.ours) {
                prop_assert!(world.wanted.contains_key(key), "{:?} is left", key);
            }
        }

        /// Until everything is known, nothing that was there is taken away.
        #[test]
        fn before_it_is_released_what_was_left_behind_is_never_removed(
            steps in vec(any_step(), 0..150),
        ) {
            let mut world = World::new();
            for step in steps {
                let is_trouble = matches!(step, Step::Release | Step::Link(..) | Step::Delete(_));
                let unwants = matches!(step, Step::Want(_, false, false));
                if !is_trouble && !unwants {
                    world.take(step);
                }
                if !world.core.keeps_leftovers() {
                    break; // its time is over
                }
                prop_assert!(world.kernel.routes.contains_key(&key(DEFAULT)));
            }
        }
    }
}
