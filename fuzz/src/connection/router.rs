//! The other end of one connection: it holds us to what may be said, and knows what it was told.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use vipcast::bgp::adj_rib_out::{AdjRibOut, Target};
use vipcast::bgp::wire::{
    self, Agreed, AsPath, Encoding, MessageType, Notification, Open, Origin, PathAttributes,
    Refresh, Segment, Update,
};
use vipcast::route::{Asn, Attributes, Family};

use super::super::octets::{EVERYTHING, check_text};

/// What a router has heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Router {
    /// Types of messages; whatever comes again counts once
    heard: BTreeSet<u8>,
    /// The routes that it was told
    pub(super) routes: BTreeMap<IpNet, PathAttributes>,
    /// What it must hear again before a refresh is at its end
    refreshing: BTreeMap<Family, BTreeSet<IpNet>>,
    /// Octets so far
    pub(super) octets: u64,
}

impl Router {
    /// Takes in what the driver would write at once: whole messages.
    pub(super) fn hear(&mut self, mut octets: &[u8], rib: &AdjRibOut) {
        self.octets += octets.len() as u64;
        let target = rib.target();
        let agreed = Agreed {
            extended_message: target.is_some_and(|target| target.encoding.extended_message),
            ..EVERYTHING
        };
        while !octets.is_empty() {
            let (frame, length) = wire::split(octets, agreed).expect("valid").expect("whole");
            self.take(frame.kind, frame.body, rib);
            octets = &octets[length..];
        }
    }

    /// Takes in what is said before the connection is closed: at most a NOTIFICATION at its end.
    pub(super) fn hear_last(&mut self, mut octets: &[u8], encoding: Option<Encoding>) {
        let extended_message = encoding.is_some_and(|encoding| encoding.extended_message);
        let agreed = Agreed { extended_message, ..EVERYTHING };
        while !octets.is_empty() {
            let (frame, length) = wire::split(octets, agreed).expect("valid").expect("whole");
            octets = &octets[length..];
            if frame.kind == MessageType::Notification {
                assert!(octets.is_empty(), "a NOTIFICATION is the last word");
                let notification = Notification::decode(frame.body).expect("both codes");
                check_text(&notification.to_string());
            } else {
                assert_ne!(frame.kind, MessageType::Update, "it could not be told apart");
            }
        }
    }

    fn take(&mut self, kind: MessageType, body: &[u8], rib: &AdjRibOut) {
        let is_first = self.heard.is_empty();
        assert_eq!(is_first, kind == MessageType::Open, "the OPEN comes first, and once");
        self.heard.insert(kind as u8);
        match kind {
            MessageType::Open => drop(Open::decode(body).expect("our OPEN")),
            MessageType::Keepalive => {}
            MessageType::Notification => panic!("said, and the connection goes on"),
            MessageType::Update => {
                let target = rib.target().expect("UPDATEs need a session");
                let update = Update::decode(body, target.encoding).expect("our UPDATE");
                self.take_update(update, rib);
            }
            MessageType::RouteRefresh => {
                let target = rib.target().expect("refreshes need a session");
                match Refresh::decode(body, true).expect("our ROUTE-REFRESH") {
                    Refresh::Request(_) => {}
                    Refresh::Beginning(family) => {
                        assert!(target.enhanced_route_refresh);
                        let all = self.routes.keys().filter(|p| Family::of(**p) == family);
                        self.refreshing.insert(family, all.copied().collect());
                    }
                    Refresh::End(family) => {
                        let left = self.refreshing.remove(&family);
                        assert_eq!(left, Some(BTreeSet::new()), "all is said again (RFC 7313)");
                    }
                    Refresh::Unknown => panic!("a family that was never offered"),
                }
            }
        }
    }

    fn take_update(&mut self, update: Update, rib: &AdjRibOut) {
        assert_eq!(update.defects, []);
        for prefix in &update.withdrawn {
            assert!(self.routes.remove(prefix).is_some(), "{prefix} was not announced");
        }
        assert_eq!(update.beside, None);
        for prefix in &update.announced {
            self.routes.insert(*prefix, update.attributes.clone());
        }
        for prefix in update.withdrawn.iter().chain(&update.announced) {
            if let Some(left) = self.refreshing.get_mut(&Family::of(*prefix)) {
                left.remove(prefix);
            }
        }
        // RFC 4724 §2: that was everything.
        if let Some(family) = update.end_of_rib {
            let all = rib.wanted().filter(|prefix| Family::of(*prefix) == family);
            let sendable = all.filter(|prefix| rib.not_sendable(*prefix).is_none());
            for prefix in sendable {
                assert!(self.routes.contains_key(&prefix), "{prefix} comes after End-of-RIB");
            }
        }
    }

    /// When there is nothing more to say, the router has what it should, and nothing else.
    pub(super) fn check_routes(&self, wanted: &BTreeMap<IpNet, Arc<Attributes>>, rib: &AdjRibOut) {
        let target = rib.target().expect("a session");
        let sendable = wanted.iter().filter(|(prefix, _)| rib.not_sendable(**prefix).is_none());
        let expected: BTreeMap<IpNet, PathAttributes> = sendable
            .map(|(prefix, attributes)| (*prefix, as_read(*prefix, attributes, target)))
            .collect();
        assert_eq!(self.routes, expected);
        assert_eq!(rib.sent_count(), expected.len());
        assert!(expected.keys().all(|prefix| rib.pending(*prefix).is_none()));
    }
}

/// What a router reads of a route of ours.
fn as_read(prefix: IpNet, attributes: &Attributes, target: &Target) -> PathAttributes {
    let encoding = target.encoding;
    let shown = |asn: &Asn| match encoding.four_octet_asn {
        true => *asn,
        false => Asn(asn.to_two_octets().into()),
    };
    let path: Vec<Asn> = target.as_path(attributes).iter().map(shown).collect();
    let sequences = path.chunks(255).map(|asns| Segment::Sequence(asns.to_vec())).collect();
    let next_hop = target.next_hop(Family::of(prefix)).expect("it is sendable");
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(sequences)),
        next_hop: Some(next_hop.address),
        link_local_next_hop: next_hop.link_local,
        med: attributes.med,
        local_pref: encoding.local_pref(attributes),
        communities: attributes.communities.clone(),
        extended_communities: target.extended_communities(attributes).into_iter().collect(),
        large_communities: attributes.large_communities.clone(),
    }
}
