//! Packets lost on the wire, while the carrier stays up.
//!
//! What arrives at an end of a cable is dropped there, before the receiver's kernel looks at it;
//! the sender notices nothing, as with a real fault. To cut a cable in both directions, name both
//! ends. ARP and neighbour discovery go on.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::link::End;
use crate::netns::Namespace;

/// Which packets are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All.
    Everything,
    /// BFD's control and echo packets, single-hop and multihop.
    Bfd,
    /// BGP: the connections hang.
    Bgp,
    /// BGP: whoever sends a segment gets a reset.
    BgpRefused,
    /// An nftables rule of one's own, like `udp dport 3784 numgen random mod 100 < 30 drop`.
    Rule(String),
}

/// A fault in force, until it is healed or dropped.
#[derive(Debug)]
#[must_use = "a fault heals when it is dropped"]
pub struct Fault {
    namespaces: Vec<Namespace>,
    table: String,
}

impl Fault {
    /// From now on these packets are lost where they arrive at these ends.
    pub fn inject<'a>(ends: impl IntoIterator<Item = &'a End>, loss: &Loss) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let table = format!("lab_fault_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut fault = Self { namespaces: Vec::new(), table };
        for end in ends {
            let rules: String = loss
                .rules()
                .iter()
                .map(|rule| {
                    format!("add rule inet {} wire iifname {} {rule}\n", fault.table, end.interface)
                })
                .collect();
            let chain = "type filter hook prerouting priority -350; policy accept;";
            let text = format!(
                "add table inet {table}\nadd chain inet {table} wire {{ {chain} }}\n{rules}",
                table = fault.table
            );
            end.namespace.feed("nft", &["-f", "-"], &text)?;
            fault.namespaces.push(end.namespace.clone());
        }
        Ok(fault)
    }

    /// Ends the fault.
    pub fn heal(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        while let Some(namespace) = self.namespaces.pop() {
            self.namespaces.retain(|other| other.name() != namespace.name());
            namespace.feed("nft", &["-f", "-"], &format!("delete table inet {}\n", self.table))?;
        }
        Ok(())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("lab: cannot heal a fault: {error:#}");
        }
    }
}

impl Loss {
    fn rules(&self) -> Vec<&str> {
        match self {
            Self::Everything => {
                vec!["icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept", "drop"]
            }
            Self::Bfd => vec!["udp dport { 3784, 3785, 4784 } drop"],
            Self::Bgp => vec!["tcp dport 179 drop", "tcp sport 179 drop"],
            Self::BgpRefused => {
                vec!["tcp dport 179 reject with tcp reset", "tcp sport 179 reject with tcp reset"]
            }
            Self::Rule(rule) => vec![rule],
        }
    }
}
