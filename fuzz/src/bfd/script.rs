//! The steps of a script: one octet says what happens, those behind it how.
use std::num::NonZeroU32;
use std::time::Duration;

use vipcast::bfd::packet::{Packet, State};
use vipcast::bfd::session::Look;
use vipcast::bfd::sessions::{Datagram, Hops};
use vipcast::route::ScopedAddress;

use super::super::input::{Input, pick};
use super::octets::{STATES, Said, check_read};
use super::{PEERS, SIGNED, Stage, address, alone, name, timers};

/// What peers call themselves.
const THEIRS: u32 = 100;

/// What a peer says that is right.
fn right(state: State, yours: NonZeroU32, flags: u8) -> Said {
    Said {
        state: state as u8,
        flags: 0,
        detect_mult: 3,
        mine: THEIRS,
        yours: yours.get(),
        desired_min_tx: pick(flags, &[10_000, 300_000, 1_000_000]),
        required_min_rx: pick(flags >> 2, &[10_000, 300_000, 1_000_000]),
    }
}

impl Stage {
    /// The next one.
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        // Each may be a reason to send.
        self.seconds.values_mut().for_each(|second| second.causes += 1);
        let now = self.now;
        match input.u8() % 16 {
            0 => self.pass(Duration::from_millis(input.u8().into())),
            1 => self.pass(Duration::from_millis(100) * u32::from(input.u8() & 0x7f)),
            // Nothing was done for that long.
            2 => self.freeze(pick(input.u8(), &[1, 3, 60, 86_400]) * Duration::from_millis(1001)),
            3 => (0..input.u8() & 15).for_each(|_| self.pass_to_next()),
            4 => self.any_octets(input),
            5 | 6 => self.peer_says(input),
            7 => self.converse(input.u8(), input.u8(), input.u8()),
            8 => self.answer(input.u8(), input.u8(), input.u8()),
            9 => self.far_end_says(input.u8()),
            10 => self.set(input.u8(), input.u8(), input.u8()),
            11 => self.sessions.remove(&name(input.u8() % PEERS), now),
            12 => self.admin_down(input.u8()),
            13 | 14 => self.alone_hears(input),
            _ => self.alone_changes(input.u8(), input.u8()),
        }
    }

    fn pass_to_next(&mut self) {
        if let Some(timeout) = self.timeout() {
            let time = timeout - self.now;
            // Who sends once an hour is not waited for.
            self.pass(time.min(Duration::from_secs(10)));
        }
    }

    fn ours(&self, peer: u8) -> u32 {
        self.sessions.session_with(&name(peer % PEERS)).map_or(0, NonZeroU32::get)
    }

    /// Where a datagram comes from: mostly from where it should.
    fn from(peer: u8, way: u8) -> (ScopedAddress, Hops, Option<u8>) {
        let is_multi = matches!(peer % PEERS, 2 | 4) != (way & 1 != 0);
        let hops = if is_multi { Hops::Multi } else { Hops::Single };
        let source = address(if way & 2 != 0 { peer.wrapping_add(1) } else { peer });
        (source, hops, pick(way >> 2, &[Some(255), Some(254), Some(249), None]))
    }

    fn datagram(&mut self, peer: u8, way: u8, payload: &[u8]) {
        let (source, hops, ttl) = Self::from(peer, way);
        let at = self.now;
        self.hear(Datagram { hops, source, ttl, payload, at });
    }

    /// They may be for a session: the discriminator is put into their place.
    fn any_octets(&mut self, input: &mut Input<'_>) {
        let [peer, way, length] = [input.u8(), input.u8(), input.u8()];
        let mut payload = input.take(length.into()).to_vec();
        if way & 0x80 != 0
            && let Some(yours) = payload.get_mut(8..12)
        {
            yours.copy_from_slice(&self.ours(peer).to_be_bytes());
        }
        self.datagram(peer, way & 0x7f, &payload);
    }

    /// A packet that is right but for what is asked for.
    fn peer_says(&mut self, input: &mut Input<'_>) {
        let [peer, way] = [input.u8(), input.u8()];
        let yours = pick(way >> 4, &[self.ours(peer), 0, self.ours(peer.wrapping_add(1)), 1]);
        let said = Said::read(input, THEIRS + u32::from(peer), yours);
        self.datagram(peer, way & 15, &said.encode());
    }

    /// The session with a peer, if there is one.
    fn look(&self, peer: u8) -> Option<Look> {
        let ours = self.sessions.session_with(&name(peer % PEERS))?;
        self.looks().remove(&ours)
    }

    /// A peer that does what it should, for so many packets: by RFC 5880 §6.2, answering polls. It may ask us
    /// to be silent.
    fn converse(&mut self, peer: u8, count: u8, flags: u8) {
        for _ in 0..count & 31 {
            let Some(look) = self.look(peer) else { return };
            let state = match look.state {
                State::AdminDown | State::Down => State::Down,
                State::Init | State::Up => State::Up,
            };
            let demand = if count & 32 != 0 { 2 } else { 0 };
            let said = Said { flags: 0x10 | demand, ..right(state, look.discriminator, flags) };
            self.datagram(peer, 0, &said.encode());
            self.drain();
            self.pass(Duration::from_millis(pick(flags >> 4, &[0, 10, 29, 300])));
        }
    }

    /// A peer that is Up and was asked to be silent, for so many timeouts: it answers polls and says nothing
    /// else.
    fn answer(&mut self, peer: u8, count: u8, flags: u8) {
        for _ in 0..count {
            let Some(look) = self.look(peer).filter(|look| look.state == State::Up) else { return };
            let heard = self.heard.get(&look.discriminator);
            if heard.is_some_and(|heard| heard.demand.is_polling()) {
                let said = Said { flags: 0x10, ..right(State::Up, look.discriminator, flags) };
                self.datagram(peer, 0, &said.encode());
                self.drain();
            } else {
                self.pass_to_next();
            }
        }
    }

    /// The one that signs its packets says what it has to, so many times, a second apart; some are lost or
    /// come twice.
    fn far_end_says(&mut self, how: u8) {
        for _ in 0..how & 7 {
            self.far_end.handle_timeout(self.now);
            let mut turns = 0;
            while let Some(packet) = self.far_end.poll_transmit(self.now) {
                let payload = packet.payload;
                turns += 1;
                assert!(turns < 100, "each answers the other, and there is no end to it");
                let times = pick(how >> 3, &[1, 2, 0]);
                for _ in 0..times {
                    let mut octets = payload.octets().to_vec();
                    if how & 0x80 != 0
                        && let Some(last) = octets.last_mut()
                    {
                        *last ^= 1;
                    }
                    self.datagram(SIGNED, 0, &octets);
                }
                self.drain();
            }
            while self.far_end.poll_event().is_some() {}
            self.pass(Duration::from_millis(pick(how >> 5, &[1000, 10, 300])));
        }
    }

    /// As at the end of the process; seldom, for nothing comes after it but other sessions.
    fn admin_down(&mut self, how: u8) {
        if how & 1 == 1 {
            self.sessions.admin_down(self.now);
            for look in self.sessions.looks(self.now) {
                self.heard.entry(look.session.discriminator).or_default().is_over = true;
            }
        } else if how & 2 == 2 {
            self.alone.admin_down(self.now);
        }
    }

    /// What came through the discards of RFC 5880 §6.8.6.
    fn alone_hears(&mut self, input: &mut Input<'_>) {
        let said = Said::read(input, THEIRS, alone::OURS.get());
        let packet = check_read(&said.encode());
        if let Some(packet) = packet.filter(|packet| !packet.authentication_present) {
            self.alone.hear(&packet, self.now);
        }
    }

    fn alone_changes(&mut self, what: u8, how: u8) {
        let now = self.now;
        match what % 7 {
            0 => self.alone.configure(timers(how), now),
            1 => self.alone.slow_down(Duration::from_millis(50) * u32::from(how), now),
            2 => self.alone.restart(now),
            3 => self.alone = alone::Alone::new(timers(how), now),
            4 => self.alone_converses(how),
            5 => self.alone_answers(how),
            _ => {
                let demand = pick(how, &[None, Some(100), Some(3000)]).map(Duration::from_millis);
                self.alone.ask_for_silence(demand, now);
            }
        }
    }

    /// As [`Self::answer`].
    fn alone_answers(&mut self, how: u8) {
        for _ in 0..how {
            if self.alone.session.state() != State::Up {
                return;
            }
            if self.alone.is_polling() {
                let said = Said { flags: 0x10, ..right(State::Up, alone::OURS, how) };
                self.alone.hear(&check_read(&said.encode()).expect("a packet"), self.now);
                self.drain();
            } else {
                self.pass_to_next();
            }
        }
    }

    /// As [`Self::converse`].
    fn alone_converses(&mut self, how: u8) {
        for state in [State::Down, State::Init, State::Up].iter().cycle().take(usize::from(how & 7))
        {
            let state = if self.alone.session.state() == State::Up { State::Up } else { *state };
            let number = STATES.iter().position(|other| *other == state).unwrap_or_default();
            let said = Said {
                state: u8::try_from(number).unwrap_or_default(),
                flags: pick(how >> 3, &[0x10, 0, 0x20, 0x12]),
                detect_mult: 3,
                mine: THEIRS,
                yours: alone::OURS.get(),
                desired_min_tx: 300_000,
                required_min_rx: pick(how >> 5, &[10_000, 300_000, 0]),
            };
            let packet: Packet = check_read(&said.encode()).expect("a packet");
            self.alone.hear(&packet, self.now);
            self.drain();
            self.pass(Duration::from_millis(pick(how >> 4, &[10, 300, 100])));
        }
    }
}
