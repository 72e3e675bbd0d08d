//! Every row, sent to the running daemon: what is left of a route that was there before, in the
//! kernel, or how the session ends.
//!
//! All rows that leave the session alone go over one. Each has its own prefixes, which are there
//! already, by a next hop that no row names. Afterwards they are there by the next hop of the row,
//! gone, or as they were.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;
use vipcast_lab::fabric::Fabric;
use vipcast_lab::wait;

use super::{Outcome, Row, Sender, rows};
use crate::BOUND;
use crate::connection::{Connection, State};
use crate::message::{
    Open, WELL_KNOWN, attribute, capabilities, four_octet_asn, next_hop, origin, update,
};
use crate::stage::{Dialer, Stage};

/// What the prefixes have before the row that is about them.
const BEFORE: [u8; 4] = [10, 77, 0, 2];

fn accepting(text: &str, remote_asn: u32) -> String {
    let keys = format!(
        "remote-asn = {remote_asn}\naccept-max-prefixes = 10000\naccept = [\n\
         {{ prefix = \"100.100.0.0/16\", le = 32 }}, {{ prefix = \"2001:db8:76::/48\", le = 64 }},\n]"
    );
    text.replacen("remote-asn = 65000", &keys, 1)
}

/// A daemon that learns from the hostile router, which is in this AS.
fn start(remote_asn: u32) -> Result<Stage> {
    Stage::start_with(Dialer::Hostile, |fabric: &Fabric, text| {
        let end = fabric.host(1).end(1);
        fabric.host(1).namespace.ip(&format!("addr add 10.77.0.1/24 dev {}\n", end.interface))?;
        Ok(accepting(&text, remote_asn))
    })
}

/// The OPEN of this sender: with its AS, and with two octets for it without the capability that
/// says so.
fn open(sender: Sender) -> Open {
    let families = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0];
    let with = |asn| capabilities(&[&families[..], &four_octet_asn(asn)].concat());
    match sender {
        Sender::External => Open::clean(),
        Sender::Internal => Open { asn: 65100, parameters: with(65100), ..Open::clean() },
        Sender::TwoOctets => Open { parameters: capabilities(&families), ..Open::clean() },
    }
}

fn establish(stage: &Stage, sender: Sender) -> Result<Connection> {
    let mut connection = stage.connect_to(State::OpenSent)?;
    connection.open(&open(sender).encode())?;
    connection.establish()?;
    Ok(connection)
}

/// Announces all prefixes without a defect, but those of IPv6 that are announced later.
fn announce(connection: &mut Connection, rows: &[(u16, &Row)], sender: Sender) -> Result<()> {
    let path: &[u8] = match sender {
        Sender::External | Sender::Internal => &[2, 1, 0, 0, 0xfd, 0xe8],
        Sender::TwoOctets => &[2, 1, 0xfd, 0xe8],
    };
    let mandatory = [origin(), attribute(WELL_KNOWN, 2, path)].concat();
    for (number, row) in rows {
        let [high, low] = number.to_be_bytes();
        let all = [mandatory.clone(), attribute(WELL_KNOWN, 3, &BEFORE)].concat();
        connection.send(&update(&[], &all, &[32, 100, 100, high, low]))?;
        if row.six == Outcome::Withdrawn {
            let reach = attribute(0x80, 14, super::attributes::REACH);
            let all = [reach, mandatory.clone(), next_hop()].concat();
            let message = update(&[], &all, &[]);
            connection.send(&Row { message, ..(*row).clone() }.numbered(*number))?;
        }
    }
    Ok(())
}

/// What the kernel has of ours, by prefix.
fn routes(stage: &Stage) -> Result<BTreeMap<IpNet, IpAddr>> {
    let mut found = BTreeMap::new();
    for family in ["-4", "-6"] {
        let show = [family, "-j", "route", "show", "proto", "118"];
        let text = stage.fabric.host(1).namespace.run("ip", show)?;
        let shown: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        for route in shown.as_array().context("routes")? {
            let text = |key| route[key].as_str().with_context(|| format!("{route:#}"));
            let prefix = text("dst")?;
            let prefix = prefix.parse().or_else(|_| prefix.parse::<IpAddr>().map(IpNet::from))?;
            found.insert(prefix, text("gateway")?.parse()?);
        }
    }
    Ok(found)
}

fn wait_routes(
    stage: &Stage,
    rows: &[(u16, &Row)],
    expected: &BTreeMap<IpNet, IpAddr>,
) -> Result<()> {
    let same =
        wait::until_true("the kernel has these routes", BOUND, || Ok(routes(stage)? == *expected));
    same.with_context(|| {
        let found = routes(stage).unwrap_or_default();
        let wrong = rows.iter().filter(|(number, _)| {
            prefixes(*number).iter().any(|prefix| found.get(prefix) != expected.get(prefix))
        });
        let wrong: Vec<String> = wrong
            .map(|(_, row)| format!("{}: {:?}, {:?} ({})", row.what, row.outcome, row.six, row.rfc))
            .collect();
        format!("{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"))
    })
}

fn prefixes(number: u16) -> [IpNet; 2] {
    let [high, low] = number.to_be_bytes();
    let four = IpAddr::from([100, 100, high, low]).into();
    let six = IpAddr::from([0x2001, 0xdb8, 0x76, number, 0, 0, 0, 0]);
    [four, IpNet::new(six, 64).expect("a length of IPv6")]
}

/// What the kernel is to have before the rows, and after them.
fn expected(stage: &Stage, rows: &[(u16, &Row)], is_after: bool) -> BTreeMap<IpNet, IpAddr> {
    let router = stage.fabric.host(1).far_end(1);
    let mut expected = BTreeMap::new();
    for (number, row) in rows {
        let [four, six] = prefixes(*number);
        let before = IpAddr::from(BEFORE);
        let next_hop = match row.outcome {
            Outcome::Accepted | Outcome::Ignored | Outcome::Discarded if is_after => {
                Some(router.ipv4.into())
            }
            Outcome::Withdrawn if is_after => None,
            Outcome::Accepted
            | Outcome::Ignored
            | Outcome::Discarded
            | Outcome::Withdrawn
            | Outcome::Untouched
            | Outcome::Reset(_) => Some(before),
        };
        expected.extend(next_hop.map(|next_hop| (four, next_hop)));
        if row.six == Outcome::Withdrawn && !is_after || row.six == Outcome::Accepted && is_after {
            expected.insert(six, router.ipv6.into());
        }
    }
    expected
}

/// The rows that leave the session alone, over one.
fn survive(stage: &Stage, sender: Sender) -> Result<()> {
    let all = rows::all();
    let stays = |row: &&Row| row.sender == sender && !matches!(row.outcome, Outcome::Reset(_));
    let rows: Vec<(u16, &Row)> = (1..).zip(all.iter().filter(stays)).collect();
    let mut connection = establish(stage, sender)?;
    announce(&mut connection, &rows, sender)?;
    wait_routes(stage, &rows, &expected(stage, &rows, false)).context("before")?;
    for (number, row) in &rows {
        let sent = connection.send(&row.numbered(*number));
        sent.with_context(|| format!("behind {}", row.what))?;
    }
    connection.prove_established()?;
    wait_routes(stage, &rows, &expected(stage, &rows, true))?;
    connection.finish()?;
    wait_routes(stage, &rows, &BTreeMap::new()).context("when the session is over")
}

/// The rows that end it, each with a session of its own.
fn end(stage: &Stage, sender: Sender) -> Result<()> {
    let mut failures = Vec::new();
    for row in rows::all().into_iter().filter(|row| row.sender == sender) {
        let Outcome::Reset(subcode) = row.outcome else { continue };
        let expected = [&[3, subcode], row.data.as_slice()].concat();
        let mut connection = establish(stage, sender)?;
        connection.send(&row.message)?;
        let last = connection.wait_for_end()?;
        if last.as_ref() != Some(&expected) {
            failures.push(format!("{} ({}): {last:?}", row.what, row.rfc));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    stage.check_unharmed()
}

/// The session that is clean is the next one of this sender: the other side of the wire has not
/// forgotten how, whatever was sent.
fn check_clean(stage: &Stage, sender: Sender) -> Result<()> {
    stage.check_unharmed()?;
    establish(stage, sender)?.finish()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn defects_from_another_as_cost_what_the_rfcs_say() -> Result<()> {
    let stage = start(65000)?;
    for sender in [Sender::External, Sender::TwoOctets] {
        survive(&stage, sender).with_context(|| format!("{sender:?}"))?;
        end(&stage, sender).with_context(|| format!("{sender:?}"))?;
        check_clean(&stage, sender)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn defects_from_our_own_as_cost_what_the_rfcs_say() -> Result<()> {
    let stage = start(65100)?;
    survive(&stage, Sender::Internal)?;
    end(&stage, Sender::Internal)?;
    check_clean(&stage, Sender::Internal)
}
