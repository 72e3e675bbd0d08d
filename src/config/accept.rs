//! `accept`, `accept-max-prefixes` and `accept-table` of `[peer.*]`: which routes are taken in.
use std::ops::RangeInclusive;

use ipnet::IpNet;
use toml::de::DeValue;

use super::address;
use super::problem::{Place, Problem};
use super::table::{Located, Table};
use super::value::{Number, Value};
use crate::bgp::accept::{Accept, PrefixMatch};

const MAX_PREFIXES: usize = 1000;
/// Whoever wants more of the Internet than this wants a router.
const MOST_PREFIXES: RangeInclusive<i64> = 1..=1_000_000;
/// `RT_TABLE_MAIN` and `RT_TABLE_LOCAL` of rtnetlink(7)
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// What a peer may teach us; `None`: nothing.
pub(super) fn accept(table: &mut Table<'_>) -> Option<Accept> {
    let has_other = ["accept-max-prefixes", "accept-table"].map(|key| (key, table.has(key)));
    let help = "leave the line out to take no routes in";
    let written = table.elements::<WrittenMatch>("accept", help);
    let max_prefixes = table.number("accept-max-prefixes", MOST_PREFIXES);
    let into = table.optional::<WrittenTable>("accept-table");
    if let Some(Located { value: WrittenTable(LOCAL), place }) = &into {
        let message =
            "`accept-table` cannot be 255: the kernel keeps the host's own addresses there";
        table.problem(Problem::new(place, message).help("write \"main\", or another number"));
    }
    let Some(written) = written else {
        for (key, place) in has_other {
            let Some(place) = place else { continue };
            let message = format!("`{key}` has no use without `accept`");
            let help = "write accept = [\"0.0.0.0/0\", \"::/0\"] to learn the default routes";
            table.problem(Problem::new(&place, message).help(help));
        }
        return None;
    };
    let prefixes = written.into_iter().filter_map(|written| {
        let understood = understand(&written.value, &written.place);
        understood.map_err(|problem| table.problem(problem)).ok()
    });
    Some(Accept {
        prefixes: prefixes.collect(),
        max_prefixes: max_prefixes.map_or(MAX_PREFIXES, |max| max.value),
        table: into.map_or(MAIN, |into| into.value.0),
    })
}

fn understand(written: &WrittenMatch, place: &Place) -> Result<PrefixMatch, Problem> {
    let WrittenMatch { prefix, ge, le } = *written;
    if prefix != prefix.trunc() {
        let message = format!("{prefix} is an address inside a prefix, not a prefix");
        let help = format!("did you mean \"{}\"?", prefix.trunc());
        return Err(Problem::new(place, message).help(help));
    }
    if let Some(problem) = address::problem(prefix, place, "accepted") {
        return Err(problem);
    }
    let (length, longest) = (prefix.prefix_len(), prefix.max_prefix_len());
    let bound = |key: &str, written: Option<i64>, least: u8| {
        let Some(written) = written else { return Ok(None) };
        let valid = u8::try_from(written).ok().filter(|n| (least..=longest).contains(n));
        valid.map(Some).ok_or_else(|| {
            let message = format!("`{key}` {written} must be from {least} to {longest} here");
            let help = format!(
                "prefixes inside {prefix} have lengths from {length} to {longest}; `ge` is the \
                 shortest that is let in, `le` the longest"
            );
            Problem::new(place, message).help(help)
        })
    };
    let ge = bound("ge", ge, length)?;
    let le = bound("le", le, ge.unwrap_or(length))?;
    // Alone, each opens the range to its end; without both the prefix stands for itself.
    let last = le.unwrap_or(if ge.is_some() { longest } else { length });
    Ok(PrefixMatch { prefix, lengths: ge.unwrap_or(length)..=last })
}

/// One element of `accept`, before it is known whether it makes sense.
#[derive(Clone, Copy, Debug)]
struct WrittenMatch {
    prefix: IpNet,
    ge: Option<i64>,
    le: Option<i64>,
}

impl Value for WrittenMatch {
    const EXPECTED: &'static str =
        "prefixes, such as \"0.0.0.0/0\" or { prefix = \"10.0.0.0/8\", ge = 16, le = 24 }";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        if let Some(text) = written.as_str() {
            return Some(Self { prefix: text.parse().ok()?, ge: None, le: None });
        }
        let table = written.as_table()?;
        let number = |key: &str| match table.get(key) {
            None => Some(None),
            Some(value) => Number::read(value.get_ref()).map(|number| Some(number.0)),
        };
        let is_known = |key: &str| matches!(key, "prefix" | "ge" | "le");
        let all_known = table.keys().all(|key| is_known(key.get_ref()));
        let prefix = table.get("prefix")?.get_ref().as_str()?.parse().ok()?;
        Some(Self { prefix, ge: number("ge")?, le: number("le")? }).filter(|_| all_known)
    }
}

/// `accept-table`: "main" or a number.
#[derive(Clone, Copy, Debug)]
struct WrittenTable(u32);

impl Value for WrittenTable {
    const EXPECTED: &'static str = "\"main\" or the number of a routing table";
    const WORDS: &'static [&'static str] = &["main"];

    fn read(written: &DeValue<'_>) -> Option<Self> {
        if let Some(Number(number)) = Number::read(written) {
            return u32::try_from(number).ok().filter(|number| *number != 0).map(Self);
        }
        (written.as_str()? == "main").then_some(Self(MAIN))
    }
}
