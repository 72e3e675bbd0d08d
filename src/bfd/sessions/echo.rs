//! Which session an Echo packet belongs to, ours or the router's.
use std::time::Instant;

use super::{Hops, Sessions};
use crate::bfd::discard::Discard;
use crate::bfd::echo::{FORWARDED, FROM_THE_LINK, Frame, Mark, Path};
use crate::route::{PeerName, ScopedAddress};

impl Sessions {
    /// Where the Echo packets of the session with a peer go; `None` while that is not known.
    pub fn set_echo_path(&mut self, peer: &PeerName, path: Option<Path>, now: Instant) {
        if let Some((discriminator, entry)) = self.wanted_mut(peer) {
            entry.path = path;
            let is_answered = path.is_some_and(|path| !path.forwards);
            entry.session.set_echo_possible(path.is_some(), is_answered, now);
            self.settle(discriminator, now);
        }
    }

    /// Whether any session has a use for Echo packets of this family.
    #[must_use]
    pub fn has_echo(&self, is_ipv4: bool) -> bool {
        let mut entries = self.entries.values();
        entries.any(|entry| entry.wants_echo() && entry.config.remote.ip.is_ipv4() == is_ipv4)
    }

    /// Takes in what came in on a link; the router's hardware address if it is to be sent back to it,
    /// because nobody else does.
    pub fn handle_echo(&mut self, frame: Frame<'_>) -> Option<[u8; 6]> {
        if let Some((packet, mark)) = Mark::decode(frame.payload)
            && let Some(entry) = self.entries.get_mut(&packet.my_discriminator)
            && entry.path.is_some_and(|path| path.interface == frame.interface)
        {
            let is_near = frame.ttl >= FORWARDED;
            if is_near && entry.session.handle_echo(&packet, &mark, frame.at) {
                self.settle(packet.my_discriminator, frame.at);
            } else {
                entry.discards.count(Discard::Echo);
                self.discards.count(Discard::Echo);
            }
            return None;
        }
        let is_there = |path: &Path| path.interface == frame.interface;
        self.answer(frame.destination.into(), frame.ttl, frame.at, is_there)
    }

    /// Takes in an Echo packet that a router sent to our own address, as FRR does over IPv6; whether
    /// it is to be sent back.
    pub fn handle_echo_to_us(
        &mut self,
        source: ScopedAddress,
        ttl: Option<u8>,
        at: Instant,
    ) -> bool {
        self.answer(source, ttl.unwrap_or(0), at, |_| true).is_some()
    }

    /// Where a packet of the router at this address goes to, if it is to be sent back. By which of its
    /// hardware addresses it came does not matter: a router may have several.
    fn answer(
        &mut self,
        router: ScopedAddress,
        ttl: u8,
        at: Instant,
        is_there: impl Fn(&Path) -> bool,
    ) -> Option<[u8; 6]> {
        let session = self.far_ends.get(&(router, Hops::Single))?;
        let entry = self.entries.get_mut(session)?;
        let path = entry.path.filter(|path| is_there(path) && !path.forwards)?;
        let least = entry.echo_interval(at)?;
        if ttl == FROM_THE_LINK && entry.answers.take(least, at) {
            return Some(path.router);
        }
        entry.discards.count(Discard::Echo);
        self.discards.count(Discard::Echo);
        None
    }
}
