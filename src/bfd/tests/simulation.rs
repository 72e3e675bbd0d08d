//! Two sessions on one clock, and a link between them that loses, repeats, delays and reorders.
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::packet::LEN;
use crate::bfd::session::{Event, Plane, Session};

const A: usize = 0;
const B: usize = 1;
const FAILED: Event = Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
const SIGNALED: Event = Event::Down(Diag::NEIGHBOR_SIGNALED_DOWN, Plane::Control);

/// What the link does to a packet from one end: the delay of each copy that arrives.
type Fate = Box<dyn FnMut(usize, Duration) -> Vec<Duration>>;

struct World {
    began: Instant,
    now: Instant,
    ends: [Session; 2],
    /// When what happened at each end, since the beginning
    events: [Vec<(Duration, Event)>; 2],
    /// How many packets each end has sent
    sent: [u64; 2],
    /// When each end heard the other last
    heard: [Duration; 2],
    /// By time of arrival, with a number to tell equals apart: to which end, what
    wire: BTreeMap<(Instant, u64), (usize, [u8; LEN])>,
    fate: Fate,
}

/// A link on which every packet takes this long.
fn clean(delay: Duration) -> Fate {
    Box::new(move |_, _| vec![delay])
}

impl World {
    fn new(configs: [Config; 2], fate: Fate) -> Self {
        let began = start();
        let [a, b] = configs;
        Self {
            began,
            now: began,
            ends: [
                Session::new(a, discriminator(1), 11, began),
                Session::new(b, discriminator(2), 22, began),
            ],
            events: [vec![], vec![]],
            sent: [0; 2],
            heard: [Duration::ZERO; 2],
            wire: BTreeMap::new(),
            fate,
        }
    }

    /// Two ends that have come up over a clean link.
    fn up(configs: [Config; 2], delay: Duration) -> Self {
        let mut world = Self::new(configs, clean(delay));
        world.run(secs(10));
        assert_eq!(world.states(), [State::Up; 2]);
        world.events = [vec![], vec![]];
        world.sent = [0; 2];
        world
    }

    fn states(&self) -> [State; 2] {
        self.ends.each_ref().map(Session::state)
    }

    fn happened(&self) -> [Vec<Event>; 2] {
        self.events.each_ref().map(|events| events.iter().map(|(_, event)| *event).collect())
    }

    fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    /// Hops from one deadline or arrival to the next until some time has passed.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let deadlines = self.ends.iter().filter_map(Session::poll_timeout);
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let next = deadlines.chain(arrival).min().filter(|next| *next <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= next) {
                let (to, octets) = entry.remove();
                let packet = Packet::decode(&octets).expect("a good packet");
                self.heard[to] = self.elapsed();
                self.ends[to].handle_packet(&packet, self.now);
                self.drain();
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    fn drain(&mut self) {
        for from in [A, B] {
            while let Some(packet) = self.ends[from].poll_transmit(self.now) {
                self.sent[from] += 1;
                for delay in (self.fate)(from, self.now - self.began) {
                    let number = self.wire.keys().map(|(_, number)| *number).max().unwrap_or(0) + 1;
                    self.wire.insert((self.now + delay, number), (1 - from, packet.encode()));
                }
            }
            while let Some(event) = self.ends[from].poll_event() {
                self.events[from].push((self.now - self.began, event));
            }
        }
    }
}

#[test]
fn an_hour_over_a_clean_link_stays_up() {
    let mut world = World::new([config(3, 300, 300), config(3, 300, 300)], clean(millis(1)));
    world.run(secs(3600));
    assert_eq!(world.happened(), [[Event::Up], [Event::Up]]);
    let (up_a, up_b) = (world.events[A][0].0, world.events[B][0].0);
    assert!(up_a.max(up_b) <= secs(2), "{up_a:?} and {up_b:?}");
}

#[test]
fn an_hour_over_a_bad_link_stays_up() {
    let mut random = fastrand::Rng::with_seed(5);
    let fate = move |_: usize, _: Duration| {
        let copies = match random.u32(..100) {
            0..10 => 0,
            10..20 => 2,
            _ => 1,
        };
        // Enough for packets to overtake one another, Finals above all.
        (0..copies).map(|_| millis(random.u64(..200))).collect()
    };
    // While it comes up a session believes a packet that was overtaken by later ones.
    let mut world = World::up([config(10, 300, 300), config(10, 100, 400)], millis(1));
    world.fate = Box::new(fate);
    world.run(secs(3600));
    assert_eq!(world.happened(), [[], []]);
}

#[test]
fn asymmetric_timers_are_negotiated_for_each_direction() {
    let mut world = World::up([config(3, 100, 1000), config(5, 50, 200)], millis(1));
    let timings = world.ends.each_ref().map(Session::timing);
    let expected = [(millis(200), Some(millis(5000))), (millis(1000), Some(millis(600)))];
    assert_eq!(timings, expected);
    world.run(secs(1000));
    let [a, b] = world.sent;
    assert!((5000..=6667).contains(&a) && (1000..=1334).contains(&b), "{a} and {b} packets");
    assert_eq!(world.happened(), [[], []]);
}

#[test]
fn one_end_restarts_and_the_other_notices_and_comes_back() {
    let configs = [config(3, 300, 300); 2];
    let mut world = World::up(configs, millis(1));
    world.ends[A] = Session::new(configs[A], discriminator(77), 33, world.now);
    world.run(secs(10));
    assert_eq!(world.happened(), [vec![Event::Up], vec![SIGNALED, Event::Up]]);
    assert_eq!(world.ends[B].remote_discriminator(), Some(discriminator(77)));
}

#[test]
fn one_direction_cut_brings_both_ends_down_and_neither_up() {
    let mut world = World::up([config(3, 300, 300); 2], millis(1));
    world.fate = Box::new(|from, _| if from == A { vec![] } else { vec![millis(1)] });
    world.run(secs(600));
    assert_eq!(world.happened(), [[SIGNALED], [FAILED]]);
    assert_eq!(world.states(), [State::Init, State::Down]);
    world.fate = clean(millis(1));
    world.run(secs(10));
    assert_eq!(world.happened(), [[SIGNALED, Event::Up], [FAILED, Event::Up]]);
}

#[test]
fn an_operators_shutdown_is_a_failure_to_neither_end() {
    let mut world = World::up([config(3, 300, 300); 2], millis(1));
    let now = world.now;
    world.ends[A].admin_down(now);
    world.run(secs(60));
    assert_eq!(world.happened(), [vec![], vec![Event::PeerAdminDown]]);
    assert_eq!(world.states(), [State::AdminDown, State::Down]);
}

/// Timers that BFD may be given, with transmission no slower than a second.
fn any_config() -> impl Strategy<Value = Config> {
    (2u8..6, 50u64..1000, 50u64..1000).prop_map(|(mult, tx, rx)| config(mult, tx, rx))
}

/// For each direction, how many packets are lost in a row, and how many arrive after that.
fn any_loss(longest: u8) -> impl Strategy<Value = [Vec<bool>; 2]> {
    let direction = || {
        vec((0..=longest, 1u8..4), 1..40).prop_map(|runs| {
            let parts = runs.into_iter().flat_map(|(lost, arrive)| {
                let lost = std::iter::repeat_n(true, lost.into());
                lost.chain(std::iter::repeat_n(false, arrive.into()))
            });
            parts.collect()
        })
    };
    [direction(), direction()]
}

/// A link that loses by a pattern for each direction, again and again.
fn losing(patterns: [Vec<bool>; 2], delay: Duration) -> Fate {
    let mut patterns = patterns.map(|pattern| pattern.into_iter().cycle());
    Box::new(move |from, _| match patterns[from].next() {
        Some(true) => vec![],
        _ => vec![delay],
    })
}

proptest! {
    #[test]
    fn a_loss_of_fewer_packets_in_a_row_than_detect_mult_never_brings_a_session_down(
        (detect_mult, patterns) in (1u8..6).prop_flat_map(|mult| (Just(mult), any_loss(mult - 1))),
        intervals in any::<[u16; 4]>(),
        delay in 0u64..20,
    ) {
        let [a_tx, a_rx, b_tx, b_rx] = intervals.map(|number| 50 + u64::from(number % 1000));
        let configs = [config(detect_mult, a_tx, a_rx), config(detect_mult, b_tx, b_rx)];
        let mut world = World::new(configs, losing(patterns, millis(delay)));
        world.run(secs(200));
        prop_assert_eq!(world.happened(), [[Event::Up], [Event::Up]]);
    }

    #[test]
    fn a_change_of_timers_never_brings_a_session_down_whatever_little_is_lost(
        configs in [any_config(), any_config()],
        patterns in any_loss(1),
        changes in vec((0usize..2, 0u64..3000, any_config()), 1..8),
    ) {
        let mut world = World::up(configs, millis(2));
        world.fate = losing(patterns, millis(2));
        for (end, wait, config) in changes {
            world.run(millis(wait));
            let now = world.now;
            world.ends[end].configure(config, now);
        }
        world.run(secs(60));
        prop_assert_eq!(world.happened(), [[], []]);
    }

    #[test]
    fn silence_is_noticed_exactly_a_detection_time_after_the_last_packet(
        configs in [any_config(), any_config()],
        delay in 0u64..20,
        cut_after in 0u64..5000,
    ) {
        let mut world = World::up(configs, millis(delay));
        world.run(millis(cut_after));
        let detection = world.ends.each_ref().map(|end| end.timing().1.expect("the peer is heard"));
        let intervals = [B, A].map(|sender| world.ends[sender].timing().0);
        world.fate = Box::new(|_, _| vec![]);
        let cut = world.elapsed();
        world.run(secs(30));
        for end in [A, B] {
            prop_assert_eq!(&world.events[end], &[(world.heard[end] + detection[end], FAILED)]);
            let (noticed, _) = world.events[end][0];
            prop_assert!(noticed <= cut + millis(delay) + detection[end]);
            prop_assert!(noticed + intervals[end] >= cut + detection[end]);
        }
    }

    #[test]
    fn whatever_happened_to_the_link_both_ends_are_up_soon_after_it_is_clean_again(
        fates in vec((0u8..4, 0u64..5000), 0..10),
        seed in any::<u64>(),
    ) {
        let mut world = World::new([config(3, 300, 300), config(3, 100, 500)], clean(millis(1)));
        for (number, (kind, time)) in fates.into_iter().enumerate() {
            let mut random = fastrand::Rng::with_seed(seed ^ number as u64);
            world.fate = Box::new(move |from, _| match kind {
                0 => vec![],
                1 if from == A => vec![],
                2 if random.bool() => vec![],
                3 => (0..random.u64(..3)).map(|_| millis(random.u64(..1000))).collect(),
                _ => vec![millis(1)],
            });
            world.run(millis(time));
        }
        world.fate = clean(millis(1));
        world.run(secs(12));
        prop_assert_eq!(world.states(), [State::Up; 2]);
        let settled = world.happened();
        world.run(secs(60));
        prop_assert_eq!(world.happened(), settled);
    }
}
