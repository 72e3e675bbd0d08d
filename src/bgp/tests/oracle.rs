//! Second opinions: two decoders that others wrote (NetGauze, BGPKIT) read every kind of message that
//! we write, and find in it what we put there. NetGauze also writes it again, to the same octets.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else they might find is wrong")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgpkit_parser::models::{
    Afi, AsPath as BgpkitPath, AsPathSegment, AsnLength, AttributeValue, BgpMessage as Bgpkit,
    BgpUpdateMessage as BgpkitUpdate, CapabilityValue, Community as BgpkitCommunity,
    ExtendedCommunity as BgpkitExtended, NextHopAddress, ParamValue, Safi,
};
use bgpkit_parser::parser::bgp::parse_bgp_message;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::BgpMessage as Netgauze;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use netgauze_bgp_pkt::community::{
    ExtendedCommunity, NonTransitiveTwoOctetExtendedCommunity,
    TransitiveFourOctetExtendedCommunity, TransitiveIpv4ExtendedCommunity,
    TransitiveTwoOctetExtendedCommunity,
};
use netgauze_bgp_pkt::notification::{
    BgpNotificationMessage, CeaseError, FiniteStateMachineError, HoldTimerExpiredError,
    MessageHeaderError, OpenMessageError, UpdateMessageError,
};
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::update::BgpUpdateMessage as NetgauzeUpdate;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::{option, prop_oneof, proptest};

use super::clock::{secs, start};
use super::octets::{EXTERNAL, hosts, router_id};
use super::strategies::{asn, attributes, cases, encoding};
use crate::bgp::connection::{Config, Connection, Opening, RemoteAsn, Restart};
use crate::bgp::wire::{
    Announcement, Encoding, Notification, announce, end_of_rib, keepalive, withdraw,
};
use crate::route::{Asn, Attributes, Family, NextHop, Role};

/// What NetGauze reads, once it has written it back as it was.
fn netgauze(octets: &[u8], four_octet_asn: bool) -> Netgauze {
    let mut context = BgpParsingContext::asn2_default();
    context.set_asn4(four_octet_asn);
    let read = Netgauze::parse(&mut SliceReader::new(octets), &mut context).expect("NetGauze");
    let mut written = Vec::new();
    read.write(&mut written).expect("room");
    assert_eq!(written, octets, "{read:?}");
    read
}

/// What BGPKIT reads.
fn bgpkit(octets: &[u8], four_octet_asn: bool) -> Bgpkit {
    let length = if four_octet_asn { AsnLength::Bits32 } else { AsnLength::Bits16 };
    parse_bgp_message(&mut octets.to_vec().into(), false, &length).expect("BGPKIT")
}

/// What an UPDATE says, in plain numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Said {
    announced: Vec<IpNet>,
    withdrawn: Vec<IpNet>,
    next_hop: Option<IpAddr>,
    link_local_next_hop: Option<Ipv6Addr>,
    origin: Option<u8>,
    path: Option<Vec<u32>>,
    as4_path: Option<Vec<u32>>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    extended_communities: Vec<u64>,
    large_communities: Vec<[u32; 3]>,
    only_to_customer: Option<u32>,
}

/// What we meant to say.
fn meant(announcement: Announcement<'_>, prefixes: &[IpNet], encoding: Encoding) -> Said {
    let Announcement { next_hop, as_path, attributes, .. } = announcement;
    let path: Vec<u32> = as_path.iter().map(|asn| asn.0).collect();
    let is_long = path.iter().any(|asn| *asn > 65535);
    let two_octets = path.iter().map(|asn| if *asn > 65535 { 23456 } else { *asn }).collect();
    let large = attributes.large_communities.iter();
    Said {
        announced: prefixes.to_vec(),
        withdrawn: vec![],
        next_hop: Some(next_hop.address),
        link_local_next_hop: next_hop.link_local,
        origin: Some(0),
        as4_path: (!encoding.four_octet_asn && is_long).then(|| path.clone()),
        path: Some(if encoding.four_octet_asn { path } else { two_octets }),
        med: attributes.med,
        local_pref: encoding.internal.then(|| attributes.local_pref.unwrap_or(100)),
        communities: attributes.communities.iter().map(|community| community.0).collect(),
        extended_communities: announcement.extended_communities.iter().map(|c| c.0).collect(),
        large_communities: large.map(|c| [c.global, c.local1, c.local2]).collect(),
        only_to_customer: encoding.only_to_customer.map(|asn| asn.0),
    }
}

fn said_by_netgauze(message: &Netgauze) -> Said {
    use PathAttributeValue as Value;
    let Netgauze::Update(update) = message else { panic!("{message:?}") };
    let four = |nlri: &[netgauze_bgp_pkt::nlri::Ipv4UnicastAddress]| -> Vec<IpNet> {
        nlri.iter().map(|prefix| IpNet::V4(prefix.network().address())).collect()
    };
    let six = |nlri: &[netgauze_bgp_pkt::nlri::Ipv6UnicastAddress]| -> Vec<IpNet> {
        nlri.iter().map(|prefix| IpNet::V6(prefix.network().address())).collect()
    };
    let mut said = Said {
        announced: four(update.nlri()),
        withdrawn: four(update.withdraw_routes()),
        ..Said::default()
    };
    for attribute in update.path_attributes() {
        match attribute.value() {
            Value::Origin(origin) => said.origin = Some((*origin).into()),
            Value::AsPath(path) => said.path = Some(AsPath::clone(path).into()),
            Value::As4Path(path) => {
                let asns = path.segments().iter().flat_map(|segment| segment.as_numbers());
                said.as4_path = Some(asns.copied().collect());
            }
            Value::NextHop(next_hop) => said.next_hop = Some(next_hop.next_hop().into()),
            Value::MultiExitDiscriminator(med) => said.med = Some(med.metric()),
            Value::LocalPreference(preference) => said.local_pref = Some(preference.metric()),
            Value::Communities(all) => {
                said.communities = all.communities().iter().map(|c| c.value()).collect();
            }
            Value::ExtendedCommunities(all) => {
                let all = all.communities().iter().map(|c| route_target(netgauze_parts(c)));
                said.extended_communities = all.collect();
            }
            Value::LargeCommunities(all) => {
                let all = all.communities().iter();
                said.large_communities =
                    all.map(|c| [c.global_admin(), c.local_data1(), c.local_data2()]).collect();
            }
            Value::MpReach(MpReach::Ipv6Unicast { next_hop_global, next_hop_local, nlri }) => {
                said.link_local_next_hop = *next_hop_local;
                said.next_hop = Some(IpAddr::V6(*next_hop_global));
                said.announced.extend(six(nlri));
            }
            Value::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => said.withdrawn.extend(six(nlri)),
            Value::OnlyToCustomer(asn) => said.only_to_customer = Some(asn.asn()),
            other => panic!("{other:?}"),
        }
    }
    said
}

fn said_by_bgpkit(message: &Bgpkit) -> Said {
    use AttributeValue as Value;
    let Bgpkit::Update(update) = message else { panic!("{message:?}") };
    assert_eq!(warnings(update), "[]");
    let prefixes = |all: &[bgpkit_parser::models::NetworkPrefix]| -> Vec<IpNet> {
        all.iter().map(|prefix| prefix.prefix).collect()
    };
    let mut said = Said {
        announced: prefixes(&update.announced_prefixes),
        withdrawn: prefixes(&update.withdrawn_prefixes),
        ..Said::default()
    };
    for attribute in update.attributes.clone() {
        match attribute {
            Value::Origin(origin) => said.origin = Some(origin as u8),
            Value::AsPath(path) => said.path = Some(sequence(&path)),
            Value::As4Path(path) => said.as4_path = Some(sequence(&path)),
            Value::NextHop(next_hop) => said.next_hop = Some(next_hop),
            Value::MultiExitDiscriminator(med) => said.med = Some(med),
            Value::LocalPreference(preference) => said.local_pref = Some(preference),
            Value::Communities(all) => {
                said.communities = all.into_iter().map(number_of).collect();
            }
            Value::ExtendedCommunities(all) => {
                let all = all.iter().map(|c| route_target(bgpkit_parts(c)));
                said.extended_communities = all.collect();
            }
            Value::LargeCommunities(all) => {
                let parts = |c: &bgpkit_parser::models::LargeCommunity| {
                    [c.global_admin, c.local_data[0], c.local_data[1]]
                };
                said.large_communities = all.iter().map(parts).collect();
            }
            Value::MpReachNlri(nlri) => {
                said.next_hop = nlri.next_hop.map(|next_hop| next_hop.addr());
                if let Some(NextHopAddress::Ipv6LinkLocal(_, link_local)) = nlri.next_hop {
                    said.link_local_next_hop = Some(link_local);
                }
                said.announced.extend(prefixes(&nlri.prefixes));
            }
            Value::MpUnreachNlri(nlri) => said.withdrawn.extend(prefixes(&nlri.prefixes)),
            Value::OnlyToCustomer(asn) => said.only_to_customer = Some(asn.into()),
            other => panic!("{other:?}"),
        }
    }
    said
}

/// Two octets of type, the Global and the Local Administrator of an extended community.
type Parts = (u16, u32, u32);

/// RFC 4360 §3.1, §3.2, RFC 5668 §2.
fn route_target((kind, global, local): Parts) -> u64 {
    let width = if kind >> 8 & 0x3f == 0 { 32 } else { 16 };
    u64::from(kind) << 48 | u64::from(global) << width | u64::from(local)
}

fn netgauze_parts(community: &ExtendedCommunity) -> Parts {
    use NonTransitiveTwoOctetExtendedCommunity as NonTransitive;
    use TransitiveFourOctetExtendedCommunity as Four;
    use TransitiveIpv4ExtendedCommunity as Ipv4;
    use TransitiveTwoOctetExtendedCommunity as Two;
    match community {
        ExtendedCommunity::TransitiveTwoOctet(Two::RouteTarget { global_admin, local_admin }) => {
            (0x0002, u32::from(*global_admin), *local_admin)
        }
        ExtendedCommunity::TransitiveTwoOctet(Two::RouteOrigin { global_admin, local_admin }) => {
            (0x0003, u32::from(*global_admin), *local_admin)
        }
        ExtendedCommunity::TransitiveIpv4(Ipv4::RouteTarget { global_admin, local_admin }) => {
            (0x0102, u32::from(*global_admin), u32::from(*local_admin))
        }
        ExtendedCommunity::TransitiveIpv4(Ipv4::RouteOrigin { global_admin, local_admin }) => {
            (0x0103, u32::from(*global_admin), u32::from(*local_admin))
        }
        ExtendedCommunity::TransitiveFourOctet(Four::RouteTarget { global_admin, local_admin }) => {
            (0x0202, *global_admin, u32::from(*local_admin))
        }
        ExtendedCommunity::TransitiveFourOctet(Four::RouteOrigin { global_admin, local_admin }) => {
            (0x0203, *global_admin, u32::from(*local_admin))
        }
        ExtendedCommunity::TransitiveTwoOctet(Two::Unassigned {
            sub_type: 4,
            global_admin,
            local_admin,
        }) => (0x0004, u32::from(*global_admin), *local_admin),
        ExtendedCommunity::NonTransitiveTwoOctet(NonTransitive::LinkBandwidth {
            global_admin,
            local_admin,
        }) => (0x4004, u32::from(*global_admin), *local_admin),
        other => panic!("{other:?}"),
    }
}

fn bgpkit_parts(community: &BgpkitExtended) -> Parts {
    let short = |local: [u8; 2]| u32::from(u16::from_be_bytes(local));
    match community {
        BgpkitExtended::TransitiveTwoOctetAs(c) => {
            (u16::from(c.subtype), c.global_admin.into(), u32::from_be_bytes(c.local_admin))
        }
        BgpkitExtended::LinkBandwidth(c) => {
            let kind = if c.transitive { 0x0004 } else { 0x4004 };
            (kind, c.global_admin.into(), c.bandwidth.to_bits())
        }
        BgpkitExtended::TransitiveIpv4Addr(c) => {
            (0x0100 | u16::from(c.subtype), c.global_admin.into(), short(c.local_admin))
        }
        BgpkitExtended::TransitiveFourOctetAs(c) => {
            (0x0200 | u16::from(c.subtype), c.global_admin.into(), short(c.local_admin))
        }
        other => panic!("{other:?}"),
    }
}

fn warnings(update: &BgpkitUpdate) -> String {
    format!("{:?}", update.attributes.validation_warnings())
}

/// The numbers of a path that is one sequence, or empty.
fn sequence(path: &BgpkitPath) -> Vec<u32> {
    let mut asns = Vec::new();
    for segment in &path.segments {
        let AsPathSegment::AsSequence(sequence) = segment else { panic!("{segment:?}") };
        asns.extend(sequence.iter().map(|asn| u32::from(*asn)));
    }
    asns
}

fn number_of(community: BgpkitCommunity) -> u32 {
    match community {
        BgpkitCommunity::NoExport => 0xffff_ff01,
        BgpkitCommunity::NoAdvertise => 0xffff_ff02,
        BgpkitCommunity::NoExportSubConfed => 0xffff_ff03,
        BgpkitCommunity::Custom(asn, value) => u32::from(asn) << 16 | u32::from(value),
    }
}

/// VIPs, and a few networks that a /32 or /128 is not.
fn vips() -> impl Strategy<Value = (Family, Vec<IpNet>, NextHop)> {
    let four = vec((0..0x00ff_ffff_u32, 24..=32_u8), 1..600).prop_map(|vips| {
        let vip = |(low, length)| {
            let address = Ipv4Addr::from(0x0a00_0000 + low);
            IpNet::V4(Ipv4Net::new(address, length).unwrap().trunc())
        };
        let prefixes = vips.into_iter().map(vip).collect();
        (Family::Ipv4Unicast, prefixes, IpAddr::from([192, 0, 2, 9]).into())
    });
    let base = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
    let six = (vec((any::<u64>(), 120..=128_u8), 1..200), option::of(1..=u16::MAX));
    let six = six.prop_map(move |(vips, link_local)| {
        let vip = |(low, length): (u64, u8)| {
            let address = Ipv6Addr::from(base + u128::from(low));
            IpNet::V6(Ipv6Net::new(address, length).unwrap().trunc())
        };
        let prefixes = vips.into_iter().map(vip).collect();
        let link_local = link_local.map(|id| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, id));
        let address = IpAddr::V6(Ipv6Addr::from(base + 9));
        (Family::Ipv6Unicast, prefixes, NextHop { address, link_local })
    });
    prop_oneof![four, six]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn both_read_in_our_announcements_what_we_meant(
        (family, prefixes, next_hop) in vips(),
        as_path in vec(asn(), 0..100),
        attributes in attributes(),
        encoding in encoding(),
    ) {
        // Neither knows of longer ones.
        let encoding = Encoding { extended_message: false, ..encoding };
        let extended: Vec<_> = attributes.extended_communities.iter().copied().collect();
        let announcement =
            Announcement { family, next_hop, as_path: &as_path, extended_communities: &extended, attributes: &attributes };
        let (octets, count) = announce(announcement, &prefixes, encoding);
        let meant = meant(announcement, &prefixes[..count], encoding);
        let four_octet_asn = encoding.four_octet_asn;
        assert_eq!(said_by_netgauze(&netgauze(&octets, four_octet_asn)), meant);
        assert_eq!(said_by_bgpkit(&bgpkit(&octets, four_octet_asn)), meant);
    }

    #[test]
    fn both_read_in_our_withdrawals_what_we_meant((family, prefixes, _) in vips()) {
        let (octets, count) = withdraw(family, &prefixes, EXTERNAL);
        let meant = Said { withdrawn: prefixes[..count].to_vec(), ..Said::default() };
        assert_eq!(said_by_netgauze(&netgauze(&octets, true)), meant);
        assert_eq!(said_by_bgpkit(&bgpkit(&octets, true)), meant);
    }
}

#[test]
fn both_read_a_full_message_of_each_family() {
    let attributes = Attributes { prepend: 20, ..Attributes::default() };
    for family in Family::ALL {
        let prefixes = hosts(family, 2000);
        let next_hop: IpAddr = match family {
            Family::Ipv4Unicast => [192, 0, 2, 9].into(),
            Family::Ipv6Unicast => [0x20; 16].into(),
        };
        let as_path = [Asn(4_200_000_000); 21];
        let extended: Vec<_> = attributes.extended_communities.iter().copied().collect();
        let announcement = Announcement {
            family,
            next_hop: next_hop.into(),
            as_path: &as_path,
            extended_communities: &extended,
            attributes: &attributes,
        };
        let (octets, count) = announce(announcement, &prefixes, EXTERNAL);
        assert!(octets.len() > 4096 - 17 && count < 2000);
        let meant = meant(announcement, &prefixes[..count], EXTERNAL);
        assert_eq!(said_by_netgauze(&netgauze(&octets, true)), meant);
        assert_eq!(said_by_bgpkit(&bgpkit(&octets, true)), meant);
    }
}

#[test]
fn both_read_end_of_rib() {
    for family in Family::ALL {
        let octets = end_of_rib(family);
        let Netgauze::Update(update) = netgauze(&octets, true) else { panic!("no UPDATE") };
        assert_eq!(netgauze_family(&update), Some((family.afi(), family.safi())));
        assert_eq!(said_by_bgpkit(&bgpkit(&octets, true)), Said::default());
    }
}

fn netgauze_family(update: &NetgauzeUpdate) -> Option<(u16, u8)> {
    update
        .end_of_rib()
        .map(|kind| (kind.address_family() as u16, kind.subsequent_address_family() as u8))
}

#[test]
fn both_read_a_keepalive() {
    assert_eq!(netgauze(&keepalive(), true), Netgauze::KeepAlive);
    assert_eq!(bgpkit(&keepalive(), true), Bgpkit::KeepAlive);
}

/// What a connection sends first.
fn our_open(local_asn: u32) -> Vec<u8> {
    let config = Config {
        local_asn: Asn(local_asn),
        remote_asn: RemoteAsn::External,
        families: Family::ALL.to_vec(),
        hold_time: secs(90),
        keepalive_time: None,
        // The only number of which both have the same name as RFC 9234.
        role: Some(Role::Provider),
        restart: Some(Restart { time: secs(30), long_lived: secs(3600) }),
        bfd_strict: true,
    };
    let opening = Opening { host_name: Some("host1".into()), ..Opening::new(router_id(1)) };
    Connection::new(config, opening, 1, start()).poll_transmit()
}

#[test]
fn netgauze_reads_our_open() {
    for (asn, two_octets) in [(64500, 64500), (4_200_000_000, 23456)] {
        let Netgauze::Open(open) = netgauze(&our_open(asn), true) else { panic!("no OPEN") };
        assert_eq!((open.version(), open.my_as(), open.hold_time()), (4, two_octets, 90));
        assert_eq!((open.my_asn4(), open.bgp_id()), (asn, router_id(1)));
        let (mut families, mut rest) = (Vec::new(), Vec::new());
        for capability in open.capabilities() {
            match capability {
                BgpCapability::MultiProtocolExtensions(family) => {
                    let kind = family.address_type();
                    families.push((
                        kind.address_family() as u16,
                        kind.subsequent_address_family() as u8,
                    ));
                }
                other => rest.push(format!("{other:?}")),
            }
        }
        assert_eq!(families, [(1, 1), (2, 1)]);
        let family = |name: &str| format!("{{ forwarding_state: true, address_type: {name} }}");
        let restart = ["Ipv4Unicast", "Ipv6Unicast"]
            .map(|name| format!("GracefulRestartAddressFamily {}", family(name)))
            .join(", ");
        let stale = ["Ipv4Unicast", "Ipv6Unicast"]
            .map(|name| family(name).replace(" }", ", stale_time: 3600 }"))
            .map(|fields| format!("LongLivedGracefulRestartAddressFamily {fields}"))
            .join(", ");
        let expected = [
            "RouteRefresh".into(),
            "ExtendedNextHopEncoding(ExtendedNextHopEncodingCapability { encodings: \
             [ExtendedNextHopEncoding { address_type: Ipv4Unicast, next_hop_afi: IPv6 }] })"
                .into(),
            "ExtendedMessage".into(),
            "EnhancedRouteRefresh".into(),
            "Unrecognized(UnrecognizedCapability { code: 74, value: [] })".into(),
            "BgpRole(BgpRoleCapability { role: Provider })".into(),
            format!(
                "GracefulRestartCapability(GracefulRestartCapability {{ restart: false, \
                 graceful_notification: true, time: 30, address_families: [{restart}] }})"
            ),
            format!("FourOctetAs(FourOctetAsCapability {{ asn4: {asn} }})"),
            format!(
                "LongLivedGracefulRestart(LongLivedGracefulRestartCapability {{ \
                 address_families: [{stale}] }})"
            ),
            "Fqdn(FqdnCapability { hostname: \"host1\", domain_name: \"\" })".into(),
        ];
        assert_eq!(rest, expected);
    }
}

#[test]
fn bgpkit_reads_our_open() {
    for (asn, two_octets) in [(64500, 64500), (4_200_000_000, 23456)] {
        let Bgpkit::Open(open) = bgpkit(&our_open(asn), true) else { panic!("no OPEN") };
        assert_eq!((open.version, u32::from(open.asn), open.hold_time), (4, two_octets, 90));
        assert_eq!((open.bgp_identifier, open.extended_length), (router_id(1), false));
        let [parameter] = &open.opt_params[..] else { panic!("{:?}", open.opt_params) };
        let ParamValue::Capacities(capabilities) = &parameter.param_value else {
            panic!("{parameter:?}")
        };
        let (mut families, mut others) = (Vec::new(), Vec::new());
        for capability in capabilities {
            match &capability.value {
                CapabilityValue::MultiprotocolExtensions(family) => {
                    families.push((u16::from(family.afi), u8::from(family.safi)));
                }
                CapabilityValue::FourOctetAs(number) => assert_eq!(number.asn, asn),
                CapabilityValue::ExtendedNextHop(all) => {
                    assert!(all.supports(Afi::Ipv4, Safi::Unicast, Afi::Ipv6));
                }
                CapabilityValue::BgpRole(role) => {
                    assert_eq!(format!("{:?}", role.role), "Provider")
                }
                CapabilityValue::GracefulRestart(restart) => {
                    assert_eq!((restart.restart_state, restart.restart_time), (false, 30));
                    let kept = restart.address_families.iter();
                    assert!(kept.map(|family| family.forwarding_state).eq([true; 2]));
                }
                _ => others.push(u8::from(capability.ty)),
            }
        }
        // Route refresh, extended message, enhanced route refresh, BFD strict mode, long-lived, FQDN
        assert_eq!(others, [2, 6, 70, 74, 71, 73]);
        assert_eq!((parameter.param_type, capabilities.len()), (2, 12));
        assert_eq!(families, [(1, 1), (2, 1)]);
    }
}

fn value(data: &[u8]) -> Box<[u8]> {
    data.to_vec().into_boxed_slice()
}

/// Every NOTIFICATION but Cease that this speaker can send, and what NetGauze calls it.
fn faults() -> Vec<(Notification, BgpNotificationMessage)> {
    use {
        BgpNotificationMessage as Theirs, FiniteStateMachineError as Fsm,
        MessageHeaderError as Header, OpenMessageError as Open, UpdateMessageError as Update,
    };
    let families = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1];
    let header = [
        (1, vec![], Header::ConnectionNotSynchronized { value: value(&[]) }),
        (2, vec![16, 1], Header::BadMessageLength { value: value(&[16, 1]) }),
        (3, vec![6], Header::BadMessageType { value: value(&[6]) }),
    ];
    let open = [
        (0, vec![], Open::Unspecific { value: value(&[]) }),
        (1, vec![0, 4], Open::UnsupportedVersionNumber { value: value(&[0, 4]) }),
        (2, vec![], Open::BadPeerAs { value: value(&[]) }),
        (3, vec![], Open::BadBgpIdentifier { value: value(&[]) }),
        (4, vec![], Open::UnsupportedOptionalParameter { value: value(&[]) }),
        (6, vec![], Open::UnacceptableHoldTime { value: value(&[]) }),
        (7, families.to_vec(), Open::UnsupportedCapability { value: value(&families) }),
    ];
    let update = [
        (1, vec![], Update::MalformedAttributeList { value: value(&[]) }),
        (9, vec![], Update::OptionalAttributeError { value: value(&[]) }),
        (10, vec![], Update::InvalidNetworkField { value: value(&[]) }),
    ];
    let fsm = [
        (1, vec![4], Fsm::ReceiveUnexpectedMessageInOpenSentState { value: value(&[4]) }),
        (2, vec![2], Fsm::ReceiveUnexpectedMessageInOpenConfirmState { value: value(&[2]) }),
        (3, vec![1], Fsm::ReceiveUnexpectedMessageInEstablishedState { value: value(&[1]) }),
    ];
    let expired = HoldTimerExpiredError::Unspecific { sub_code: 0, value: value(&[]) };
    let mut all = vec![(4, 0, vec![], Theirs::HoldTimerExpiredError(expired))];
    all.extend(
        header.map(|(sub, data, theirs)| (1, sub, data, Theirs::MessageHeaderError(theirs))),
    );
    all.extend(open.map(|(sub, data, theirs)| (2, sub, data, Theirs::OpenMessageError(theirs))));
    all.extend(
        update.map(|(sub, data, theirs)| (3, sub, data, Theirs::UpdateMessageError(theirs))),
    );
    all.extend(
        fsm.map(|(sub, data, theirs)| (5, sub, data, Theirs::FiniteStateMachineError(theirs))),
    );
    let ours = |(code, subcode, data, theirs)| (Notification::new(code, subcode, data), theirs);
    all.into_iter().map(ours).collect()
}

/// Every Cease that this speaker can send, and what NetGauze calls it.
fn ceases() -> impl Iterator<Item = (Notification, BgpNotificationMessage)> {
    let nothing = value(&[]);
    [
        (
            Notification::administrative_shutdown("bye"),
            CeaseError::AdministrativeShutdown { value: value(b"\x03bye") },
        ),
        (Notification::cease(3), CeaseError::PeerDeConfigured { value: nothing.clone() }),
        (Notification::cease(5), CeaseError::ConnectionRejected { value: nothing.clone() }),
        (Notification::cease(6), CeaseError::OtherConfigurationChange { value: nothing.clone() }),
        (
            Notification::cease(7),
            CeaseError::ConnectionCollisionResolution { value: nothing.clone() },
        ),
        (Notification::cease(10), CeaseError::BfdDown { value: nothing }),
    ]
    .into_iter()
    .map(|(ours, theirs)| (ours, BgpNotificationMessage::CeaseError(theirs)))
}

#[test]
fn both_read_every_notification_that_we_send() {
    for (ours, theirs) in faults().into_iter().chain(ceases()) {
        let octets = ours.encode();
        assert_eq!(netgauze(&octets, true), Netgauze::Notification(theirs));
        let Bgpkit::Notification(read) = bgpkit(&octets, true) else { panic!("{ours}") };
        let (code, subcode) = read.error.get_codes();
        assert_eq!(Notification::new(code, subcode, read.data), ours);
    }
}
