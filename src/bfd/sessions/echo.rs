//! Which session an Echo packet belongs to, ours or the router's.
use std::time::Instant;

use super::{Entry, Hops, Sessions};
use crate::bfd::discard::Discard;
use crate::bfd::echo::{FORWARDED, FROM_THE_LINK, Frame, Mark, Path};
use crate::route::{PeerName, ScopedAddress};

impl Sessions {
    /// Where the Echo packets of the session with a peer go; `None` while that is not known.
    pub fn set_echo_path(&mut self, peer: &PeerName, path: Option<Path>, now: Instant) {
        if let Some((discriminator, entry)) = self.wanted_mut(peer) {
            entry.path = path;
            entry.session.set_echo_possible(path.is_some(), now);
            self.settle(discriminator, now);
        }
    }

    /// Whether any session has a use for Echo packets of this family.
    #[must_use]
    pub fn has_echo(&self, is_ipv4: bool) -> bool {
        let mut entries = self.entries.values();
        entries.any(|entry| entry.wants_echo() && entry.config.remote.ip.is_ipv4() == is_ipv4)
    }

    /// Takes in what came in on a link; whether it is to be sent back to where it came from, because
    /// nobody else does.
    pub fn handle_echo(&mut self, frame: Frame<'_>) -> bool {
        if let Some((packet, mark)) = Mark::decode(frame.payload)
            && let Some(entry) = self.entries.get_mut(&packet.my_discriminator)
            && entry.path.is_some_and(|path| path.interface == frame.interface)
        {
            let is_near = frame.ttl >= FORWARDED;
            if is_near && entry.session.handle_echo(&packet, &mark, frame.at) {
                self.settle(packet.my_discriminator, frame.at);
            } else {
                self.discards.count(Discard::Echo);
            }
            return false;
        }
        self.answers(frame.ttl, frame.at, |entry| {
            let is_there = |path: Path| {
                (path.interface, path.router) == (frame.interface, frame.sender) && !path.forwards
            };
            entry.config.remote.ip == frame.destination && entry.path.is_some_and(is_there)
        })
    }

    /// Takes in an Echo packet that a router sent to our own address, as FRR does over IPv6; whether
    /// it is to be sent back.
    pub fn handle_echo_to_us(
        &mut self,
        source: ScopedAddress,
        ttl: Option<u8>,
        at: Instant,
    ) -> bool {
        let far_end = (source, Hops::Single);
        self.answers(ttl.unwrap_or(0), at, |entry| {
            entry.config.far_end() == far_end && entry.path.is_some()
        })
    }

    fn answers(&mut self, ttl: u8, at: Instant, is_theirs: impl Fn(&Entry) -> bool) -> bool {
        let entry = self.entries.values_mut().find(|entry| is_theirs(entry));
        let is_answered = entry.is_some_and(|entry| {
            let interval = entry.config.session.echo.map(|echo| echo.interval);
            ttl == FROM_THE_LINK && interval.is_some_and(|least| entry.answers.take(least, at))
        });
        if !is_answered {
            self.discards.count(Discard::Echo);
        }
        is_answered
    }
}
