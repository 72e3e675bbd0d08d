//! What is asked of the kernel, and what is said about each VIP.
use super::*;
use crate::netlink::is_dummy_name;
use crate::route::{NextHops, ScopedAddress};

const VIP: &str = "192.0.2.1";
const VIP6: &str = "2001:db8::1";

/// A host, and what it was asked and told.
struct Host {
    addresses: Addresses,
    now: Instant,
}

impl Host {
    /// Nothing is known of it.
    fn unknown() -> Self {
        Self { addresses: Addresses::default(), now: start() }
    }

    /// With `lo` (1), `eth0` (2) and what is on them.
    fn with(present: &[Address]) -> Self {
        let mut host = Self::unknown();
        host.dump(present);
        host
    }

    /// With a VIP of ours on `lo`.
    fn with_vip(vip: &str) -> Self {
        let mut host = Self::unknown();
        host.want(vip, "lo");
        host.dump(&[ours(1, vip)]);
        assert_eq!(host.changed(), [(ip(vip), Presence::Present)]);
        host
    }

    fn dump(&mut self, present: &[Address]) {
        self.handle(Event::Dump(vec![link(1, "lo"), link(2, "eth0")], present.to_vec()));
    }

    fn handle(&mut self, event: Event) {
        self.addresses.handle_event(event, self.now);
    }

    /// What a request changed is reported before it is answered.
    fn done(&mut self, request: Request) {
        match request {
            Request::Add(index, vip) => {
                self.handle(Event::Address(ours(index, &vip.to_string())));
            }
            Request::Remove(index, prefix) => {
                let gone = Address { prefix, ..ours(index, &prefix.addr().to_string()) };
                self.handle(Event::AddressGone(gone));
            }
            Request::CreateDummy(_) | Request::Route(_) | Request::WatchNeighbours(_) => {}
        }
        self.handle(Event::Done(request, Ok(())));
    }

    fn refused(&mut self, request: Request, reason: &str) {
        self.handle(Event::Done(request, Err(reason.into())));
    }

    fn answered(&mut self, request: Request, result: Result<(), &str>) {
        match result {
            Ok(()) => self.done(request),
            Err(reason) => self.refused(request, reason),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.addresses.handle_timeout(self.now);
    }

    fn want(&mut self, vip: &str, interface: &str) {
        self.addresses.want(ip(vip), interface, self.now);
    }

    fn unwant(&mut self, vip: &str) {
        self.addresses.unwant(ip(vip), self.now);
    }

    fn presence(&self, vip: &str) -> Presence {
        self.addresses.presence(ip(vip)).clone()
    }

    fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.addresses.poll_request()).collect()
    }

    /// The VIPs whose presence changed, and what it is now.
    fn changed(&mut self) -> Vec<(IpAddr, Presence)> {
        let changed = std::iter::from_fn(|| self.addresses.poll_changed());
        let changed: Vec<IpAddr> = changed.collect();
        changed.into_iter().map(|vip| (vip, self.addresses.presence(vip).clone())).collect()
    }
}

#[test]
fn nothing_is_asked_before_it_is_known_what_is_there() {
    let mut host = Host::unknown();
    host.want(VIP, "lo");
    host.handle(Event::Link(link(1, "lo")));
    host.unwant("192.0.2.2");
    host.wait(10 * SECOND);
    assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
    assert_eq!(host.presence(VIP), Presence::Pending);
    host.dump(&[]);
    assert_eq!(host.requests(), [add(1, VIP)]);
}

#[test]
fn a_wanted_vip_is_added_once_and_present_when_the_kernel_says_so() {
    for vip in [VIP, VIP6] {
        let mut host = Host::with(&[]);
        host.want(vip, "eth0");
        host.want(vip, "eth0");
        assert_eq!((host.requests(), host.changed()), (vec![add(2, vip)], vec![]));
        assert_eq!((host.presence(vip), host.addresses.is_settled()), (Presence::Pending, false));
        host.done(add(2, vip));
        assert_eq!(host.changed(), [(ip(vip), Presence::Present)]);
        assert!(host.addresses.is_settled());
        host.handle(Event::Address(ours(2, vip)));
        host.dump(&[ours(2, vip)]);
        host.wait(60 * SECOND);
        assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
    }
}

#[test]
fn the_report_of_an_address_may_come_before_the_answer() {
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    assert_eq!(host.requests(), [add(1, VIP)]);
    host.handle(Event::Address(ours(1, VIP)));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    host.done(add(1, VIP));
    assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
    assert!(host.addresses.is_settled());
}

#[test]
fn what_a_crash_left_behind_is_adopted_where_it_is_wanted() {
    for vip in [VIP, VIP6] {
        assert_eq!(Host::with_vip(vip).requests(), []);
    }
}

#[test]
fn what_a_crash_left_behind_is_removed_where_it_is_not_wanted() {
    let mut host = Host::unknown();
    host.want(VIP, "lo");
    host.dump(&[ours(1, VIP), ours(2, VIP), ours(1, "192.0.2.2"), ours(2, VIP6)]);
    let mut requests = host.requests();
    requests.sort_by_key(|request| format!("{request:?}"));
    assert_eq!(requests, [remove(1, "192.0.2.2"), remove(2, VIP), remove(2, VIP6)]);
    for request in requests {
        host.done(request);
    }
    assert!(host.addresses.is_settled());
    assert_eq!(host.requests(), []);
}

#[test]
fn somebody_elses_address_serves_and_is_never_removed() {
    for length in [32, 24] {
        let present = foreign(1, &format!("{VIP}/{length}"));
        let mut host = Host::with(&[present]);
        host.want(VIP, "lo");
        assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
        host.unwant(VIP);
        host.wait(10 * SECOND);
        host.want(VIP, "eth0");
        assert_eq!(host.requests(), [add(2, VIP)], "what is on lo may stay there");
        host.done(add(2, VIP));
        host.addresses.unwant_all(host.now);
        assert_eq!(host.requests(), [remove(2, VIP)]);
    }
}

#[test]
fn somebody_elses_address_beside_ours_stays_when_ours_goes() {
    let beside = foreign(1, "192.0.2.1/24");
    for kernel_says_whose in [true, false] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        host.requests();
        host.done(add(1, VIP));
        host.handle(Event::Address(Address { ours: kernel_says_whose, ..ours(1, VIP) }));
        host.handle(Event::Address(beside));
        host.addresses.unwant_all(host.now);
        assert_eq!(host.requests(), [remove(1, VIP)]);
        host.done(remove(1, VIP));
        host.want(VIP, "lo");
        assert_eq!(host.requests(), [], "the other one serves");
        assert_eq!(host.presence(VIP), Presence::Present);
    }
}

#[test]
fn an_address_outlives_the_wish_for_it_by_a_second() {
    let mut host = Host::with_vip(VIP);
    host.unwant(VIP);
    assert_eq!(host.addresses.poll_timeout(), Some(host.now + SECOND));
    host.wait(SECOND - TICK);
    assert_eq!(host.requests(), []);
    host.wait(TICK);
    assert_eq!(host.requests(), [remove(1, VIP)]);
    assert!(!host.addresses.is_settled());
    host.done(remove(1, VIP));
    host.handle(Event::AddressGone(ours(1, VIP)));
    assert!(host.addresses.is_settled());
    assert_eq!((host.requests(), host.addresses.poll_timeout()), (vec![], None));
}

#[test]
fn a_wish_that_comes_back_within_the_second_finds_the_address_in_place() {
    let mut host = Host::with_vip(VIP);
    host.unwant(VIP);
    host.wait(SECOND / 2);
    host.want(VIP, "lo");
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    assert_eq!(host.addresses.poll_timeout(), None);
    host.wait(10 * SECOND);
    assert_eq!(host.requests(), []);
}

#[test]
fn a_wish_that_comes_back_during_the_removal_waits_for_its_end() {
    for result in [Ok(()), Err("not permitted")] {
        let mut host = Host::with_vip(VIP);
        host.unwant(VIP);
        host.wait(SECOND);
        assert_eq!(host.requests(), [remove(1, VIP)]);
        host.want(VIP, "lo");
        assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
        assert_eq!(host.presence(VIP), Presence::Pending);
        host.answered(remove(1, VIP), result);
        if result.is_ok() {
            assert_eq!(host.requests(), [add(1, VIP)]);
            host.done(add(1, VIP));
        }
        assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
        assert_eq!(host.requests(), []);
    }
}

#[test]
fn a_vip_that_somebody_deletes_is_put_back_and_never_missing() {
    let mut host = Host::with_vip(VIP);
    for _ in 0..3 {
        host.handle(Event::AddressGone(ours(1, VIP)));
        assert_eq!(host.requests(), [add(1, VIP)]);
        host.done(add(1, VIP));
        host.handle(Event::Address(ours(1, VIP)));
    }
    host.dump(&[]);
    assert_eq!(host.requests(), [add(1, VIP)]);
    assert_eq!((host.changed(), host.presence(VIP)), (vec![], Presence::Present));
}

#[test]
fn a_vip_that_somebody_deletes_is_told_of_once_a_minute() {
    let mut host = Host::with_vip(VIP);
    assert_eq!(host.addresses.poll_lost(), None, "it was put there, not back");
    for told in [true, false, true] {
        host.handle(Event::AddressGone(ours(1, VIP)));
        host.done(add(1, VIP));
        host.handle(Event::Address(ours(1, VIP)));
        assert_eq!(host.addresses.poll_lost(), told.then_some(ip(VIP)));
        host.wait(30 * SECOND);
    }
    // Nobody took it off where it could not be put.
    host.handle(Event::AddressGone(ours(1, VIP)));
    host.refused(add(1, VIP), "not permitted");
    host.wait(60 * SECOND);
    let lost: Vec<_> = std::iter::from_fn(|| host.addresses.poll_lost()).collect();
    assert_eq!(lost, Vec::<IpAddr>::new());
}

#[test]
fn a_refused_vip_is_missing_for_this_reason_and_tried_again_every_second() {
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    assert_eq!(host.requests(), [add(1, VIP)]);
    let reason = missing("cannot add it to lo: not permitted");
    for attempt in 0..3 {
        host.refused(add(1, VIP), "not permitted");
        let news = if attempt == 0 { vec![(ip(VIP), reason.clone())] } else { vec![] };
        assert_eq!((host.requests(), host.changed()), (vec![], news));
        assert_eq!(host.addresses.poll_timeout(), Some(host.now + SECOND));
        assert!(host.addresses.is_settled());
        host.wait(SECOND - TICK);
        assert_eq!(host.requests(), []);
        host.wait(TICK);
        assert_eq!(host.requests(), [add(1, VIP)]);
        assert_eq!(host.presence(VIP), reason);
    }
    host.done(add(1, VIP));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    host.wait(10 * SECOND);
    assert_eq!((host.requests(), host.addresses.poll_timeout()), (vec![], None));
}

#[test]
fn a_vip_that_cannot_be_put_back_is_missing() {
    let mut host = Host::with_vip(VIP);
    host.handle(Event::AddressGone(ours(1, VIP)));
    host.requests();
    host.refused(add(1, VIP), "no space left on device");
    let reason = missing("cannot add it to lo: no space left on device");
    assert_eq!(host.changed(), [(ip(VIP), reason)]);
}

#[test]
fn a_refusal_means_nothing_when_somebody_else_has_put_the_address_there() {
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    host.requests();
    host.handle(Event::Address(foreign(1, "192.0.2.1/32")));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    host.refused(add(1, VIP), "not permitted");
    host.wait(10 * SECOND);
    assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
}

#[test]
fn an_address_that_is_there_already_is_waited_for_and_not_taken_for_ours() {
    let elses = foreign(1, "192.0.2.1/32");
    for report in [Event::Address(elses), Event::Dump(vec![link(1, "lo")], vec![elses])] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        assert_eq!(host.requests(), [add(1, VIP)]);
        host.handle(Event::AlreadyThere(1, ip(VIP)));
        assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
        assert!(host.addresses.is_settled());
        host.handle(report);
        assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
        host.addresses.unwant_all(host.now);
        assert_eq!(host.requests(), []);
    }
    // The report may be of an address that is gone by now.
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    host.requests();
    host.handle(Event::AlreadyThere(1, ip(VIP)));
    host.wait(SECOND);
    assert_eq!(host.requests(), [add(1, VIP)]);
}

#[test]
fn somebody_who_puts_a_vip_down_and_back_leaves_it_somebody_elses_and_never_missing() {
    let elses = foreign(1, "192.0.2.1/32");
    let mut host = Host::with(&[elses]);
    host.want(VIP, "lo");
    host.changed();
    host.handle(Event::AddressGone(elses));
    assert_eq!(host.requests(), [add(1, VIP)]);
    host.handle(Event::AlreadyThere(1, ip(VIP)));
    host.handle(Event::Address(elses));
    assert_eq!((host.changed(), host.presence(VIP)), (vec![], Presence::Present));
    host.addresses.unwant_all(host.now);
    assert_eq!(host.requests(), []);
}

#[test]
fn a_vip_follows_its_interface_down_and_up() {
    let mut host = Host::with_vip(VIP);
    host.handle(Event::Link(Link { up: false, ..link(1, "lo") }));
    assert_eq!(host.changed(), [(ip(VIP), missing("interface lo is down"))]);
    host.handle(Event::Link(link(1, "lo")));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    assert_eq!(host.requests(), []);

    // An IPv6 address goes with the link, and nothing is asked of one that is down.
    let mut host = Host::with_vip(VIP6);
    host.handle(Event::Link(Link { up: false, ..link(1, "lo") }));
    host.handle(Event::AddressGone(ours(1, VIP6)));
    assert_eq!(host.requests(), []);
    host.handle(Event::Link(link(1, "lo")));
    assert_eq!(host.requests(), [add(1, VIP6)]);
    assert_eq!(host.presence(VIP6), missing("interface lo is down"));
    host.done(add(1, VIP6));
    assert_eq!(host.presence(VIP6), Presence::Present);
}

#[test]
fn a_vip_follows_its_interface_away_and_back() {
    let mut host = Host::with(&[]);
    host.want(VIP, "eth1");
    let absent = missing("interface eth1 does not exist");
    assert_eq!(host.changed(), [(ip(VIP), absent.clone())]);
    host.handle(Event::Link(link(7, "eth1")));
    assert_eq!(host.requests(), [add(7, VIP)]);
    host.done(add(7, VIP));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    host.handle(Event::LinkGone(7));
    assert_eq!(host.changed(), [(ip(VIP), absent.clone())]);
    host.handle(Event::Link(link(8, "eth1")));
    assert_eq!(host.requests(), [add(8, VIP)]);
    host.done(add(8, VIP));
    host.changed();

    // Another name: what we put there stays until there is an interface of that name.
    host.handle(Event::Link(link(8, "wan")));
    let elsewhere = Presence::Elsewhere("interface eth1 does not exist".into());
    assert_eq!((host.requests(), host.changed()), (vec![], vec![(ip(VIP), elsewhere)]));
    host.handle(Event::Link(link(9, "eth1")));
    assert_eq!(host.requests(), [add(9, VIP)]);
    host.done(add(9, VIP));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    assert_eq!(host.requests(), [remove(8, VIP)]);
}

#[test]
fn an_interface_that_goes_while_a_vip_is_added_to_it_is_waited_for() {
    let mut host = Host::with(&[]);
    host.want(VIP, "eth0");
    host.requests();
    host.handle(Event::LinkGone(2));
    host.refused(add(2, VIP), "no such device");
    assert_eq!(host.presence(VIP), missing("interface eth0 does not exist"));
    host.handle(Event::Link(link(9, "eth0")));
    assert_eq!(host.requests(), [add(9, VIP)]);
}

#[test]
fn a_dummy_device_is_made_for_the_vips_that_want_it() {
    let mut host = Host::with(&[]);
    host.want(VIP, "dummy0");
    host.want(VIP6, "dummy0");
    assert_eq!((host.requests(), host.changed()), (vec![create("dummy0")], vec![]));
    host.done(create("dummy0"));
    host.wait(10 * SECOND);
    assert_eq!(host.requests(), []);
    host.handle(Event::Link(link(5, "dummy0")));
    assert_eq!(host.requests(), [add(5, VIP), add(5, VIP6)]);

    host.done(add(5, VIP));
    host.handle(Event::LinkGone(5));
    assert_eq!(host.requests(), [create("dummy0")], "somebody deleted it");
}

#[test]
fn a_dummy_device_that_cannot_be_made_is_the_reason_and_tried_again_every_second() {
    let mut host = Host::with(&[]);
    host.want(VIP, "vip0");
    assert_eq!(host.requests(), [create("vip0")]);
    host.refused(create("vip0"), "not permitted");
    let reason = missing("cannot make the dummy device vip0: not permitted");
    assert_eq!(host.changed(), [(ip(VIP), reason)]);
    host.wait(SECOND - TICK);
    assert_eq!(host.requests(), []);
    host.wait(TICK);
    assert_eq!(host.requests(), [create("vip0")]);
    host.done(create("vip0"));
    host.handle(Event::Link(link(5, "vip0")));
    assert_eq!(host.requests(), [add(5, VIP)]);
}

#[test]
fn a_refusal_means_nothing_when_somebody_else_has_made_the_device() {
    let mut host = Host::with(&[]);
    host.want(VIP, "dummy0");
    assert_eq!(host.requests(), [create("dummy0")]);
    host.handle(Event::Link(link(5, "dummy0")));
    host.refused(create("dummy0"), "not permitted");
    assert_eq!((host.requests(), host.changed()), (vec![add(5, VIP)], vec![]));
    assert_eq!(host.addresses.poll_timeout(), None);
}

#[test]
fn a_dummy_device_that_came_when_nobody_wanted_it_any_more_is_made_again_when_it_is_gone() {
    let dummy = || link(5, "dummy0");
    for came in [Event::Link(dummy()), Event::Dump(vec![dummy()], vec![])] {
        let mut host = Host::with(&[]);
        host.want(VIP, "dummy0");
        assert_eq!(host.requests(), [create("dummy0")]);
        host.unwant(VIP);
        host.done(create("dummy0"));
        host.handle(came);
        host.handle(Event::LinkGone(5));
        host.want(VIP, "dummy0");
        assert_eq!(host.requests(), [create("dummy0")]);
    }
}

#[test]
fn only_devices_that_nobody_else_would_bring_are_made() {
    let table = [
        ("dummy0", true),
        ("dummy-vips", true),
        ("vip0", true),
        ("lo", false),
        ("eth0", false),
        ("bond0.7", false),
        ("mydummy", false),
    ];
    for (name, expected) in table {
        assert_eq!(is_dummy_name(name), expected, "{name}");
    }
}

#[test]
fn each_vip_goes_to_its_interface_and_follows_a_change_of_it() {
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    host.want(VIP6, "eth0");
    assert_eq!(host.requests(), [add(1, VIP), add(2, VIP6)]);
    host.done(add(1, VIP));
    host.done(add(2, VIP6));
    host.changed();
    // The old address goes when the new one is there, so that the VIP is never missing.
    host.want(VIP, "eth0");
    assert_eq!(host.requests(), [add(2, VIP)]);
    assert_eq!(host.presence(VIP), Presence::Elsewhere("about to move to eth0".into()));
    host.refused(add(2, VIP), "not permitted");
    let why = "cannot add it to eth0: not permitted";
    assert_eq!(host.changed(), [(ip(VIP), Presence::Elsewhere(why.into()))]);
    assert_eq!(host.requests(), []);
    host.wait(SECOND);
    assert_eq!(host.requests(), [add(2, VIP)]);
    host.done(add(2, VIP));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    assert_eq!(host.requests(), [remove(1, VIP)]);
    host.done(remove(1, VIP));
    assert_eq!((host.requests(), host.changed()), (vec![], vec![]));
}

#[test]
fn a_vip_that_is_to_move_is_missing_once_it_is_deleted_where_it_was() {
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    host.requests();
    host.done(add(1, VIP));
    host.changed();
    host.want(VIP, "eth9");
    let why = "interface eth9 does not exist";
    assert_eq!(host.changed(), [(ip(VIP), Presence::Elsewhere(why.into()))]);
    host.handle(Event::AddressGone(ours(1, VIP)));
    assert_eq!((host.changed(), host.requests()), (vec![(ip(VIP), missing(why))], vec![]));
}

#[test]
fn a_vip_that_is_somebody_elses_from_now_on_stays_until_we_stop_and_is_not_put_back() {
    for deleted in [true, false] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        host.requests();
        host.done(add(1, VIP));
        host.addresses.disown(ip(VIP));
        host.wait(SECOND * 60);
        assert_eq!(host.requests(), []);
        if deleted {
            host.handle(Event::AddressGone(ours(1, VIP)));
            assert_eq!(host.requests(), []);
        }
        host.addresses.unwant_all(host.now);
        assert_eq!(host.requests().is_empty(), deleted);
    }
}

#[test]
fn a_kernel_that_cannot_be_talked_to_is_the_reason_why_vips_are_missing_until_it_can() {
    let mut host = Host { addresses: Addresses::default(), ..Host::with(&[]) };
    host.want(VIP, "lo");
    host.handle(Event::Broken("no netlink".into()));
    host.want(VIP6, "lo");
    assert_eq!(host.changed(), [(ip(VIP), missing("no netlink"))]);
    assert_eq!(host.presence(VIP6), missing("no netlink"));
    host.handle(Event::Dump(vec![link(1, "lo")], vec![]));
    assert_eq!(host.requests(), [add(1, VIP), add(1, VIP6)]);
    host.done(add(1, VIP));
    assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
    // Later on, what is known stays known.
    host.handle(Event::Broken("no netlink".into()));
    assert_eq!(host.changed(), []);
}

#[test]
fn a_vip_that_moves_while_it_is_added_ends_where_it_is_wanted() {
    for result in [Ok(()), Err("not permitted")] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        assert_eq!(host.requests(), [add(1, VIP)]);
        host.want(VIP, "eth0");
        assert_eq!(host.requests(), [add(2, VIP)]);
        host.answered(add(1, VIP), result);
        assert_eq!((host.requests(), host.changed()), (vec![], vec![]), "{result:?}");
        assert!(!host.addresses.is_settled());
        host.done(add(2, VIP));
        assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
        let leftover = if result.is_ok() { vec![remove(1, VIP)] } else { vec![] };
        assert_eq!(host.requests(), leftover);
    }
}

#[test]
fn a_vip_that_is_no_longer_wanted_while_it_is_added_is_taken_off_again() {
    // Kernels before 5.18 do not say whose an address is.
    for kernel_says_whose in [true, false] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        host.requests();
        host.unwant(VIP);
        host.done(add(1, VIP));
        host.handle(Event::Address(Address { ours: kernel_says_whose, ..ours(1, VIP) }));
        assert_eq!(host.requests(), []);
        host.wait(SECOND);
        assert_eq!(host.requests(), [remove(1, VIP)]);
    }
}

#[test]
fn stopping_takes_off_what_is_ours_at_once_and_is_settled_when_the_kernel_has_done_so() {
    let mut host = Host::with(&[foreign(1, "192.0.2.2/32")]);
    host.want(VIP, "lo");
    host.want("192.0.2.2", "lo");
    host.want("192.0.2.3", "eth0");
    host.want("192.0.2.4", "lo");
    assert_eq!(host.requests(), [add(1, VIP), add(2, "192.0.2.3"), add(1, "192.0.2.4")]);
    host.done(add(1, VIP));
    host.done(add(1, "192.0.2.4"));
    host.unwant("192.0.2.4");
    host.addresses.unwant_all(host.now);
    assert_eq!(host.requests(), [remove(1, VIP), remove(1, "192.0.2.4")]);
    host.done(remove(1, VIP));
    host.done(remove(1, "192.0.2.4"));
    assert!(!host.addresses.is_settled(), "one is still being added");
    host.done(add(2, "192.0.2.3"));
    assert_eq!(host.requests(), [remove(2, "192.0.2.3")]);
    assert!(!host.addresses.is_settled());
    host.refused(remove(2, "192.0.2.3"), "not permitted");
    assert!(host.addresses.is_settled());
    assert_eq!(host.requests(), []);
}

#[test]
fn a_refused_removal_is_asked_for_again_when_a_dump_still_shows_the_address() {
    let mut host = Host::with_vip(VIP);
    host.addresses.unwant_all(host.now);
    assert_eq!(host.requests(), [remove(1, VIP)]);
    host.refused(remove(1, VIP), "not permitted");
    assert_eq!(host.requests(), []);
    host.dump(&[ours(1, VIP)]);
    assert_eq!(host.requests(), [remove(1, VIP)]);
}

#[test]
fn what_we_added_is_ours_even_to_a_kernel_that_does_not_say_so() {
    let silent = Address { ours: false, ..ours(1, VIP) };
    let mut host = Host::with(&[]);
    host.want(VIP, "lo");
    host.requests();
    host.done(add(1, VIP));
    host.handle(Event::Address(silent));
    host.dump(&[silent]);
    host.addresses.unwant_all(host.now);
    assert_eq!(host.requests(), [remove(1, VIP)]);
}

#[test]
fn what_we_added_is_no_longer_ours_when_it_was_gone_meanwhile() {
    let elses = foreign(1, "192.0.2.1/32");
    for gone in [
        vec![Event::AddressGone(ours(1, VIP)), Event::Address(elses)],
        vec![Event::Dump(vec![link(1, "lo")], vec![]), Event::Address(elses)],
        vec![Event::LinkGone(1), Event::Link(link(1, "lo")), Event::Address(elses)],
    ] {
        let mut host = Host::with(&[]);
        host.want(VIP, "lo");
        host.requests();
        host.done(add(1, VIP));
        host.unwant(VIP);
        for event in gone.clone() {
            host.handle(event);
        }
        host.wait(10 * SECOND);
        assert_eq!(host.requests(), [], "{gone:?}");
    }
}

#[test]
fn the_next_hop_is_a_usable_address_beside_the_local_one_that_is_neither_ours_nor_a_vip() {
    let eth0 = |prefix| foreign(2, prefix);
    let unusable = |prefix| Address { usable: false, ..foreign(2, prefix) };
    let table: &[(&str, &str, Vec<Address>, &str)] = &[
        ("nothing is known", "198.51.100.7", vec![], ""),
        ("no IPv6", "198.51.100.7", vec![eth0("198.51.100.7/24")], ""),
        (
            "IPv6 on the same interface",
            "198.51.100.7",
            vec![eth0("198.51.100.7/24"), eth0("2001:db8::7/64"), foreign(1, "2001:db8::2/128")],
            "2001:db8::7",
        ),
        (
            "the local address itself for its family",
            "198.51.100.7",
            vec![eth0("198.51.100.3/24"), eth0("198.51.100.7/24"), eth0("2001:db8::7/64")],
            "2001:db8::7",
        ),
        (
            "a deprecated one is passed over",
            "198.51.100.7",
            vec![eth0("198.51.100.7/24"), unusable("2001:db8::6/64"), eth0("2001:db8::7/64")],
            "2001:db8::7",
        ),
        (
            "ours is passed over",
            "198.51.100.7",
            vec![eth0("198.51.100.7/24"), Address { usable: true, ..ours(2, "2001:db8::5") }],
            "",
        ),
        (
            "a VIP is passed over",
            "198.51.100.7",
            vec![eth0("198.51.100.7/24"), eth0("2001:db8::1/128"), eth0("2001:db8::7/64")],
            "2001:db8::7",
        ),
        (
            "IPv4 beside IPv6",
            "2001:db8::7",
            vec![eth0("2001:db8::7/64"), eth0("198.51.100.7/24"), eth0("192.0.2.1/32")],
            "198.51.100.7",
        ),
    ];
    for (name, local, present, other) in table {
        let mut host = Host::with(present);
        host.want(VIP, "eth0");
        host.want(VIP6, "eth0");
        let mut expected = NextHops::default();
        for address in [local, other].into_iter().filter(|text| !text.is_empty()) {
            match ip(address) {
                IpAddr::V4(ip) => expected.ipv4 = Some(ip),
                IpAddr::V6(ip) => expected.ipv6 = Some(ip),
            }
        }
        let is_vip = |address: &IpAddr| [VIP, VIP6].contains(&address.to_string().as_str());
        assert_eq!(host.addresses.next_hops(ip(local).into(), is_vip), expected, "{name}");
    }
}

#[test]
fn between_link_local_addresses_that_is_the_only_next_hop() {
    let present = ["fe80::7/64", "2001:db8::7/64", "198.51.100.7/24"].map(|text| foreign(2, text));
    let host = Host::with(&present);
    let local = ScopedAddress { ip: ip("fe80::7"), zone: 2 };
    let link_local = "fe80::7".parse().ok();
    let expected = NextHops { ipv4: None, ipv6: None, link_local };
    assert_eq!(host.addresses.next_hops(local, |_| false), expected);
}

#[test]
fn a_change_of_the_hosts_own_addresses_is_told_apart_from_one_of_ours() {
    let mut host = Host::with_vip(VIP);
    assert!(host.addresses.poll_host_changed());
    assert!(!host.addresses.poll_host_changed());
    let elses = foreign(2, "198.51.100.7/24");
    for (event, expected) in [
        (Event::AddressGone(ours(1, VIP)), false),
        (Event::Done(add(1, VIP), Ok(())), false),
        (Event::Address(ours(1, VIP)), false),
        (Event::Address(elses), true),
        (Event::AddressGone(elses), true),
        (Event::AddressGone(elses), false),
        (Event::Link(link(3, "eth1")), true),
        (Event::LinkGone(3), true),
    ] {
        host.handle(event.clone());
        assert_eq!(host.addresses.poll_host_changed(), expected, "{event:?}");
    }
}

#[test]
fn what_a_crash_left_of_an_undecided_vip_stays_until_it_is_decided() {
    for wanted in [true, false] {
        let mut host = Host::unknown();
        host.addresses.leave_undecided(ip(VIP));
        host.dump(&[ours(1, VIP)]);
        host.wait(60 * SECOND);
        assert_eq!(host.requests(), []);
        if wanted {
            host.want(VIP, "lo");
            assert_eq!(host.changed(), [(ip(VIP), Presence::Present)]);
            assert_eq!(host.requests(), []);
        } else {
            host.unwant(VIP);
            assert_eq!(host.requests(), [], "what is on its way is still answered");
            host.wait(SECOND);
            assert_eq!(host.requests(), [remove(1, VIP)]);
        }
    }
}
