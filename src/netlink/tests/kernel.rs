//! The address core against a model of the kernel, with the driver's queues between them: other
//! programs add and delete addresses, links come and go, requests are refused, and news is late.
use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const VIPS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
/// Always there; comes and goes; is never there; made when it is wanted.
const INTERFACES: [&str; 4] = ["lo", "eth0", "eth9", "dummy0"];

/// The kernel, and what is under way between it and the core.
struct Kernel {
    /// It keeps the protocol number of an address (Linux 5.18)
    says_whose: bool,
    /// It refuses every request
    refuses: bool,
    links: BTreeMap<u32, Link>,
    next_index: u32,
    /// With whether we put it there
    addresses: BTreeMap<(u32, IpNet), bool>,
    /// Requests that the driver has not carried out yet
    requests: VecDeque<Request>,
    /// To what it has carried out, and not read yet
    answer: Option<Event>,
    /// Reports that the driver has not read yet
    reports: VecDeque<Event>,
    /// What the driver has sent to the core
    channel: VecDeque<Event>,
}

impl Kernel {
    fn new(says_whose: bool) -> Self {
        let links = [link(1, "lo"), link(2, "eth0")].map(|link| (link.index, link)).into();
        let addresses = BTreeMap::from([
            // Left behind by a crash, on the right interface or not, and somebody else's.
            ((1, net("192.0.2.1/32")), true),
            ((2, net("2001:db8::1/128")), true),
            ((1, net("192.0.2.2/32")), false),
            ((2, net("198.51.100.7/24")), false),
        ]);
        Self {
            says_whose,
            refuses: false,
            links,
            next_index: 3,
            addresses,
            requests: VecDeque::new(),
            answer: None,
            reports: VecDeque::new(),
            channel: VecDeque::new(),
        }
    }

    fn seen(&self, (index, prefix): (u32, IpNet), is_ours: bool) -> Address {
        Address {
            index,
            prefix,
            ours: is_ours && self.says_whose,
            usable: !is_ours,
            tentative: false,
        }
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        self.links.values().find(|link| link.name == name).map(|link| link.index)
    }

    /// Whether no question about an address is open. While one is, nobody can know whose it is when
    /// the answer comes: the kernel has no request to remove an address if it is ours.
    fn is_quiet(&self, ip: IpAddr) -> bool {
        let asked = self.requests.iter().any(|request| match request {
            Request::Add(_, vip) => *vip == ip,
            Request::Remove(_, prefix) => prefix.addr() == ip,
            Request::CreateDummy(_) | Request::Route(_) | Request::WatchNeighbours(_) => false,
        });
        let mut news = self.reports.iter().chain(&self.answer).chain(&self.channel);
        let told = news.any(|event| match event {
            Event::Dump(..) => true,
            Event::Address(address) | Event::AddressGone(address) => address.prefix.addr() == ip,
            Event::Done(Request::Add(_, vip), _) | Event::AlreadyThere(_, vip) => *vip == ip,
            Event::Done(Request::Remove(_, prefix), _) => prefix.addr() == ip,
            Event::Link(_)
            | Event::LinkGone(_)
            | Event::Done(
                Request::CreateDummy(_) | Request::Route(_) | Request::WatchNeighbours(_),
                _,
            )
            | Event::Route(_)
            | Event::Neighbours(_)
            | Event::Neighbour(_)
            | Event::NeighbourGone(_)
            | Event::Broken(_) => false,
        });
        !asked && !told
    }

    fn is_idle(&self) -> bool {
        self.requests.is_empty()
            && self.answer.is_none()
            && self.reports.is_empty()
            && self.channel.is_empty()
    }

    /// Whoever comes second finds it there.
    fn insert(&mut self, key: (u32, IpNet), is_ours: bool) -> bool {
        let is_new = !self.addresses.contains_key(&key);
        if is_new {
            self.addresses.insert(key, is_ours);
            self.reports.push_back(Event::Address(self.seen(key, is_ours)));
        }
        is_new
    }

    fn delete(&mut self, key: (u32, IpNet)) {
        if let Some(is_ours) = self.addresses.remove(&key) {
            self.reports.push_back(Event::AddressGone(self.seen(key, is_ours)));
        }
    }

    fn delete_all(&mut self, doomed: impl Fn(&(u32, IpNet)) -> bool) {
        for key in self.addresses.keys().copied().filter(doomed).collect::<Vec<_>>() {
            self.delete(key);
        }
    }

    fn set_link(&mut self, link: Link) {
        if !link.up {
            // IPv6 addresses do not survive that.
            self.delete_all(|(index, net)| *index == link.index && matches!(net, IpNet::V6(_)));
        }
        self.links.insert(link.index, link.clone());
        self.reports.push_back(Event::Link(link));
    }

    fn create_link(&mut self, name: &str) {
        if self.index_of(name).is_none() {
            self.next_index += 1;
            self.set_link(link(self.next_index, name));
        }
    }

    fn delete_link(&mut self, name: &str) {
        if let Some(index) = self.index_of(name) {
            self.delete_all(|key| key.0 == index);
            self.links.remove(&index);
            self.reports.push_back(Event::LinkGone(index));
        }
    }

    /// The driver reads everything there is.
    fn dump(&mut self) {
        let links = self.links.values().cloned().collect();
        let addresses = self.addresses.iter().map(|(key, ours)| self.seen(*key, *ours)).collect();
        self.channel.push_back(Event::Dump(links, addresses));
    }

    /// The driver reads the answer to a request, with all reports before it and perhaps some that
    /// came later; if none is open, it has the next request carried out.
    fn carry_out(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.channel.extend(self.reports.drain(..));
            self.channel.push_back(answer);
            return;
        }
        let Some(request) = self.requests.pop_front() else { return };
        let result = match &request {
            _ if self.refuses => Err("not permitted".to_owned()),
            Request::Add(index, _) | Request::Remove(index, _)
                if !self.links.contains_key(index) =>
            {
                Err("no such device".to_owned())
            }
            Request::Add(index, vip) => {
                if !self.insert((*index, (*vip).into()), true) {
                    self.answer = Some(Event::AlreadyThere(*index, *vip));
                    return;
                }
                Ok(())
            }
            Request::Remove(index, prefix) => match self.addresses.get(&(*index, *prefix)) {
                Some(true) => {
                    self.delete((*index, *prefix));
                    Ok(())
                }
                Some(false) => panic!("{request:?} removes what somebody else put there"),
                None => Err("cannot assign requested address".to_owned()),
            },
            Request::CreateDummy(name) => {
                self.create_link(name);
                Ok(())
            }
            Request::Route(_) | Request::WatchNeighbours(_) => {
                panic!("addresses ask for nothing else")
            }
        };
        self.answer = Some(Event::Done(request, result));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Want(usize, usize),
    Unwant(usize),
    UnwantAll,
    /// Somebody else adds a VIP to an interface, with its host length or a shorter one
    Add(usize, usize, bool),
    /// Somebody else deletes it, whoever put it there
    Delete(usize, usize),
    LinkUp(bool),
    LinkThere(bool),
    DeleteDummy,
    Refuse(bool),
    CarryOut,
    Report,
    Deliver,
    Dump,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let vip = 0..VIPS.len();
    let interface = 0..INTERFACES.len();
    prop_oneof![
        6 => (vip.clone(), interface.clone()).prop_map(|(vip, on)| Step::Want(vip, on)),
        4 => vip.clone().prop_map(Step::Unwant),
        1 => Just(Step::UnwantAll),
        4 => (vip.clone(), interface.clone(), any::<bool>())
            .prop_map(|(vip, on, host)| Step::Add(vip, on, host)),
        4 => (vip, interface).prop_map(|(vip, on)| Step::Delete(vip, on)),
        2 => any::<bool>().prop_map(Step::LinkUp),
        1 => any::<bool>().prop_map(Step::LinkThere),
        1 => Just(Step::DeleteDummy),
        1 => any::<bool>().prop_map(Step::Refuse),
        12 => Just(Step::CarryOut),
        12 => Just(Step::Report),
        16 => Just(Step::Deliver),
        2 => Just(Step::Dump),
        4 => (0u64..1500).prop_map(Step::Wait),
    ]
}

struct World {
    kernel: Kernel,
    core: Addresses,
    wanted: BTreeMap<IpAddr, &'static str>,
    now: Instant,
}

impl World {
    fn new(says_whose: bool) -> Self {
        let mut kernel = Kernel::new(says_whose);
        kernel.dump();
        Self { kernel, core: Addresses::default(), wanted: BTreeMap::new(), now: start() }
    }

    fn take(&mut self, step: Step) {
        let (kernel, now) = (&mut self.kernel, self.now);
        match step {
            Step::Want(vip, on) => {
                self.wanted.insert(ip(VIPS[vip]), INTERFACES[on]);
                self.core.want(ip(VIPS[vip]), INTERFACES[on], now);
            }
            Step::Unwant(vip) => {
                self.wanted.remove(&ip(VIPS[vip]));
                self.core.unwant(ip(VIPS[vip]), now);
            }
            Step::UnwantAll => {
                self.wanted.clear();
                self.core.unwant_all(now);
            }
            Step::Add(vip, on, as_host) => {
                let vip = ip(VIPS[vip]);
                let index = kernel.index_of(INTERFACES[on]);
                // IPv6 has each address once on an interface.
                let length =
                    if as_host || vip.is_ipv6() { IpNet::from(vip).prefix_len() } else { 24 };
                if let Some(index) = index.filter(|_| kernel.is_quiet(vip)) {
                    kernel.insert((index, IpNet::new(vip, length).expect("a length")), false);
                }
            }
            Step::Delete(vip, on) => {
                let vip = ip(VIPS[vip]);
                let index = kernel.index_of(INTERFACES[on]);
                if index.is_some() && kernel.is_quiet(vip) {
                    kernel.delete_all(|(on, net)| Some(*on) == index && net.addr() == vip);
                }
            }
            Step::LinkUp(up) => {
                if let Some(index) = kernel.index_of("eth0") {
                    kernel.set_link(Link { up, ..link(index, "eth0") });
                }
            }
            Step::LinkThere(true) => kernel.create_link("eth0"),
            Step::LinkThere(false) => kernel.delete_link("eth0"),
            Step::DeleteDummy => kernel.delete_link("dummy0"),
            Step::Refuse(refuses) => kernel.refuses = refuses,
            Step::CarryOut => kernel.carry_out(),
            Step::Report => kernel.channel.extend(kernel.reports.pop_front()),
            Step::Deliver => {
                if let Some(event) = kernel.channel.pop_front() {
                    self.core.handle_event(event, now);
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

    /// The world comes to rest: all links are there, and all news arrives.
    fn settle(&mut self) {
        let world = [Step::Refuse(false), Step::LinkThere(true), Step::LinkUp(true)];
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
            assert!(self.core.is_settled());
            self.take(Step::Wait(1000));
            self.take(Step::Dump);
        }
    }
}

proptest! {
    /// Whatever other programs do, in the end each VIP is where it is wanted, what is ours is
    /// nowhere else, and what is somebody else's was never touched ([`Kernel::carry_out`] checks).
    #[test]
    fn when_everything_has_settled_every_vip_is_where_it_is_wanted_and_nowhere_else(
        says_whose in any::<bool>(),
        steps in vec(any_step(), 0..150),
    ) {
        let mut world = World::new(says_whose);
        for step in steps {
            world.take(step);
        }
        world.settle();
        for (vip, interface) in &world.wanted {
            let index = world.kernel.index_of(interface);
            let is_there = world
                .kernel
                .addresses
                .keys()
                .any(|(on, net)| Some(*on) == index && net.addr() == *vip);
            // Where there is no such interface it stays where it was before, if it was anywhere.
            let text = format!("interface {interface} does not exist");
            let expected = match (index, world.core.presence(*vip)) {
                (Some(_), _) => Presence::Present,
                (None, Presence::Elsewhere(_)) => Presence::Elsewhere(text),
                (None, _) => missing(&text),
            };
            prop_assert_eq!((world.core.presence(*vip), is_there), (&expected, index.is_some()));
        }
        for ((index, net), _) in world.kernel.addresses.iter().filter(|(_, is_ours)| **is_ours) {
            let interface = world.kernel.links.get(index).map(|link| link.name.as_str());
            let wanted = world.wanted.get(&net.addr()).copied();
            // What a crash left behind on a kernel that does not say whose it is stays.
            let left_behind = !says_whose && [1, 2].contains(index);
            let moves = matches!(world.core.presence(net.addr()), Presence::Elsewhere(_));
            let is_right = wanted.is_some() && (wanted == interface || moves);
            prop_assert!(is_right || left_behind, "{} is left", net);
        }
    }

    /// As long as the interfaces are there and the kernel does what it is asked, no VIP is ever
    /// reported missing, whoever deletes it.
    #[test]
    fn a_vip_that_can_be_put_back_is_never_missing(
        says_whose in any::<bool>(),
        steps in vec(any_step(), 0..150),
    ) {
        let mut world = World::new(says_whose);
        for step in steps {
            let breaks_something = matches!(
                step,
                Step::LinkUp(_) | Step::LinkThere(_) | Step::DeleteDummy | Step::Refuse(_)
            );
            let is_trouble =
                breaks_something || matches!(step, Step::Want(_, on) if INTERFACES[on] == "eth9");
            if !is_trouble {
                world.take(step);
            }
            for vip in VIPS.map(ip) {
                let presence = world.core.presence(vip);
                prop_assert!(*presence == Presence::Pending || presence.is_there());
            }
        }
    }
}
