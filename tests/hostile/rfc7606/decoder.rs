//! Every row, as the decoder reads it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use vipcast::bgp::wire::{
    Action, AsPath, Encoding, Notification, Origin, PathAttributes, Segment, Update,
};
use vipcast::route::Asn;

use super::{Outcome, Row, Sender, rows};

const HEADER: usize = 19;
/// What the session is agreed to be, and no matter which number the rows have.
const NUMBER: u16 = 7;
/// REACH of the table
const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, 0);

fn encoding(sender: Sender) -> Encoding {
    Encoding {
        four_octet_asn: sender != Sender::TwoOctets,
        internal: sender == Sender::Internal,
        ..Encoding::default()
    }
}

/// The mandatory attributes of every row, and what its own attribute adds.
fn attributes(row: &Row) -> PathAttributes {
    let mut all = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(vec![Segment::Sequence(vec![Asn(65000)])])),
        ..PathAttributes::default()
    };
    (row.effect)(&mut all);
    PathAttributes { next_hop: None, ..all }
}

/// What is wrong with how a row was read.
fn judge(row: &Row) -> Result<(), String> {
    let message = row.numbered(NUMBER);
    let read = Update::decode(&message[HEADER..], encoding(row.sender));
    let update = match (row.outcome, read) {
        (Outcome::Reset(subcode), Err(error)) => {
            let (expected, sent) = (Notification::new(3, subcode, data(row)), error.notification());
            return (expected == sent).then_some(()).ok_or_else(|| format!("{sent:?}"));
        }
        (Outcome::Reset(_), Ok(update)) => return Err(format!("{update:?}")),
        (_, Err(error)) => return Err(error.to_string()),
        (_, Ok(update)) => update,
    };
    let reachable: BTreeMap<IpNet, IpAddr> = update
        .reachable()
        .flat_map(|(next_hop, prefixes)| {
            prefixes.iter().map(move |prefix| (*prefix, next_hop.address))
        })
        .collect();
    let four: IpNet = format!("100.100.0.{NUMBER}/32").parse().expect("a prefix");
    let six: IpNet = format!("2001:db8:76:{NUMBER:x}::/64").parse().expect("a prefix");
    let next_hop_4 = IpAddr::from([10, 1, 1, 0]);
    let places = [(four, row.outcome, next_hop_4), (six, row.six, NEXT_HOP_6.into())];
    for (prefix, outcome, next_hop) in places {
        let is_reachable = reachable.get(&prefix) == Some(&next_hop);
        let is_withdrawn = update.withdrawn.contains(&prefix);
        let fits = match outcome {
            Outcome::Accepted | Outcome::Ignored | Outcome::Discarded => is_reachable,
            Outcome::Withdrawn => !reachable.contains_key(&prefix) && is_withdrawn,
            Outcome::Untouched => !reachable.contains_key(&prefix) && !is_withdrawn,
            Outcome::Reset(_) => false,
        };
        if !fits {
            return Err(format!("{prefix} in {update:?}"));
        }
    }
    let found = PathAttributes { next_hop: None, ..update.attributes.clone() };
    if !reachable.is_empty() && found != attributes(row) {
        return Err(format!("{found:?}"));
    }
    let strongest = update.defects.iter().map(|defect| defect.action).max();
    let fits = match row.outcome {
        Outcome::Accepted | Outcome::Ignored => strongest.is_none(),
        Outcome::Discarded => strongest == Some(Action::Discard),
        Outcome::Withdrawn | Outcome::Untouched | Outcome::Reset(_) => true,
    };
    if fits { Ok(()) } else { Err(format!("{:?}", update.defects)) }
}

/// What the NOTIFICATION has for data, with the number of the row.
fn data(row: &Row) -> Vec<u8> {
    Row { message: row.data.clone(), ..row.clone() }.numbered(NUMBER)
}

#[test]
fn every_defect_of_every_attribute_costs_what_the_rfcs_say() {
    let rows = rows::all();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let error = judge(row).err()?;
            let Row { what, rfc, sender, outcome, six, .. } = row;
            Some(format!("{what} from {sender:?}: {outcome:?}, {six:?} ({rfc}), but\n    {error}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    // A table that lost its rows would pass as well.
    assert!(rows.len() > 1000, "{} rows", rows.len());
}
