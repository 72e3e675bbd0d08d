//! Why datagrams are dropped, and how many were.

/// Why a datagram was dropped; each is counted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Discard {
    /// Came over more hops than allowed (RFC 5881 §5, RFC 5883 §5), or with no TTL known
    Ttl,
    /// Not version 1
    Version,
    /// Shorter than a packet, or than its own Length
    Length,
    /// Detect Mult zero
    DetectMult,
    /// Multipoint bit set
    Multipoint,
    /// My Discriminator zero
    MyDiscriminator,
    /// Your Discriminator zero in a state other than Down and AdminDown
    YourDiscriminator,
    /// No session has this discriminator, or this source address on this port
    UnknownSession,
    /// A session has this discriminator, but not this source address or port
    WrongSource,
    /// Authentication where none is configured, none where it is, or not what it must be: another
    /// type or key, a sequence number that came before, a wrong digest
    Authentication,
    /// An Echo packet that is neither one of ours that was missing nor to be sent back
    Echo,
}

impl Discard {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ttl,
        Self::Version,
        Self::Length,
        Self::DetectMult,
        Self::Multipoint,
        Self::MyDiscriminator,
        Self::YourDiscriminator,
        Self::UnknownSession,
        Self::WrongSource,
        Self::Authentication,
        Self::Echo,
    ];

    /// A short fixed word for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Version => "version",
            Self::Length => "length",
            Self::DetectMult => "detect-mult-zero",
            Self::Multipoint => "multipoint",
            Self::MyDiscriminator => "my-discriminator-zero",
            Self::YourDiscriminator => "your-discriminator-zero",
            Self::UnknownSession => "unknown-session",
            Self::WrongSource => "wrong-source",
            Self::Authentication => "authentication",
            Self::Echo => "echo",
        }
    }
}

/// How many datagrams were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// One more.
    pub fn count(&mut self, reason: Discard) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// How many for this reason.
    #[must_use]
    pub fn get(&self, reason: Discard) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// The reasons there were, each with how many.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, n)| *n != 0)
    }
}
