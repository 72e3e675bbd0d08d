//! Communities (RFC 1997) and large communities (RFC 8092): as written, and their well-known names.
use std::fmt;
use std::str::FromStr;

use super::{Attributes, ExtendedCommunity};

/// A standard community, "65000:100".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Community(pub u32);

/// A large community, "large:65000:1:100".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LargeCommunity {
    /// Global Administrator, an AS number
    pub global: u32,
    /// Local Data Part 1
    pub local1: u32,
    /// Local Data Part 2
    pub local2: u32,
}

/// Any kind, as the configuration writes it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AnyCommunity {
    /// RFC 1997
    Standard(Community),
    /// RFC 8092
    Large(LargeCommunity),
    /// RFC 4360
    Extended(ExtendedCommunity),
}

/// Well-known communities and the RFC that gives each its meaning.
const WELL_KNOWN: &[(&str, u32, &str)] = &[
    ("graceful-shutdown", 0xffff_0000, "RFC 8326"),
    ("accept-own", 0xffff_0001, "RFC 7611"),
    ("llgr-stale", 0xffff_0006, "RFC 9494"),
    ("no-llgr", 0xffff_0007, "RFC 9494"),
    ("blackhole", 0xffff_029a, "RFC 7999"),
    ("no-export", 0xffff_ff01, "RFC 1997"),
    ("no-advertise", 0xffff_ff02, "RFC 1997"),
    ("no-export-subconfed", 0xffff_ff03, "RFC 1997"),
    ("no-peer", 0xffff_ff04, "RFC 3765"),
];

impl Attributes {
    /// Adds a community of any kind.
    pub fn insert(&mut self, community: AnyCommunity) {
        match community {
            AnyCommunity::Standard(community) => drop(self.communities.insert(community)),
            AnyCommunity::Large(community) => drop(self.large_communities.insert(community)),
            AnyCommunity::Extended(community) => drop(self.extended_communities.insert(community)),
        }
    }
}

impl Community {
    /// The names that stand for a community without being configured.
    pub fn well_known_names() -> impl Iterator<Item = &'static str> + Clone {
        WELL_KNOWN.iter().map(|(name, ..)| *name)
    }

    /// Where a well-known community is defined; `None` if this is the name of none.
    #[must_use]
    pub fn defined_in(name: &str) -> Option<&'static str> {
        WELL_KNOWN.iter().find(|(known, ..)| *known == name).map(|(.., rfc)| *rfc)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(_, value, _)| *value == self.0) {
            Some((name, ..)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "large:{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl fmt::Display for AnyCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(community) => community.fmt(f),
            Self::Large(community) => community.fmt(f),
            Self::Extended(community) => community.fmt(f),
        }
    }
}

/// A text that is no community.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a community")]
pub struct NotACommunity;

impl FromStr for AnyCommunity {
    type Err = NotACommunity;

    fn from_str(text: &str) -> Result<Self, NotACommunity> {
        if let Some((_, value, _)) = WELL_KNOWN.iter().find(|(name, ..)| *name == text) {
            return Ok(Self::Standard(Community(*value)));
        }
        if let Some(parts) = text.strip_prefix("large:") {
            let [global, local1, local2] = numbers::<3, u32>(parts)?;
            return Ok(Self::Large(LargeCommunity { global, local1, local2 }));
        }
        if let Ok(extended) = text.parse() {
            return Ok(Self::Extended(extended));
        }
        let [high, low] = numbers::<2, u16>(text)?;
        Ok(Self::Standard(Community(u32::from(high) << 16 | u32::from(low))))
    }
}

/// Exactly `N` numbers with colons between them.
fn numbers<const N: usize, T: FromStr>(text: &str) -> Result<[T; N], NotACommunity> {
    let parsed: Result<Vec<T>, _> = text.split(':').map(decimal).collect();
    parsed?.try_into().map_err(|_| NotACommunity)
}

/// Digits only: `FromStr` of integers would take a sign.
pub(super) fn decimal<T: FromStr>(text: &str) -> Result<T, NotACommunity> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotACommunity);
    }
    text.parse().map_err(|_| NotACommunity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in
            ["65000:100", "0:0", "65535:65535", "large:4294967295:0:1", "no-export", "rt:1:2"]
        {
            let parsed: AnyCommunity = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn numbers_of_a_well_known_community_show_its_name() {
        let parsed: AnyCommunity = "65535:0".parse().expect("a community");
        assert_eq!(parsed.to_string(), "graceful-shutdown");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":",
            "65536:1",
            "1:65536",
            "1",
            "1:2:3",
            "large:1:2",
            "large:1:2:3:4",
            "large:4294967296:0:0",
            "+1:2",
            " 1:2",
            "no-exports",
            "-1:0",
        ] {
            assert_eq!(text.parse::<AnyCommunity>(), Err(NotACommunity), "{text}");
        }
    }
}
