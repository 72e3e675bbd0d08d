//! Which routes a peer may teach us: `accept`, as data. Without it none are taken in.
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// What is taken in from a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accept {
    /// Any of these lets a prefix in
    pub prefixes: Vec<PrefixMatch>,
    /// More of them than this end the session (RFC 4271 §6.7)
    pub max_prefixes: usize,
    /// The kernel's routing table that they go into
    pub table: u32,
}

/// Prefixes inside a prefix, by their length.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrefixMatch {
    /// What they are inside of
    pub prefix: IpNet,
    /// The lengths they may have, none shorter than that of `prefix`
    pub lengths: RangeInclusive<u8>,
}

impl Accept {
    /// Whether a prefix is let in.
    #[must_use]
    pub fn matches(&self, prefix: IpNet) -> bool {
        self.prefixes.iter().any(|one| one.matches(prefix))
    }

    /// Whether all that `other` lets in is let in here, each of its matches by one of ours.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.prefixes.iter().all(|theirs| self.prefixes.iter().any(|ours| ours.covers(theirs)))
    }
}

impl PrefixMatch {
    fn matches(&self, prefix: IpNet) -> bool {
        self.prefix.contains(&prefix) && self.lengths.contains(&prefix.prefix_len())
    }

    fn covers(&self, other: &Self) -> bool {
        self.prefix.contains(&other.prefix)
            && self.lengths.contains(other.lengths.start())
            && self.lengths.contains(other.lengths.end())
    }
}
