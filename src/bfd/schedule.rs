//! Which session is next: moments by discriminator, the earliest first.
//!
//! A binary heap that knows where each key is, so that a moment can be changed in place. It
//! allocates when a key is new and never after that: the BFD thread asks and changes it for every
//! packet.
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Instant;

/// A moment for each key; `None` is never.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// No parent is later than its children, which are at twice its place and one or two more
    heap: Vec<(Option<Instant>, NonZeroU32)>,
    places: BTreeMap<NonZeroU32, usize>,
}

impl Schedule {
    /// Sets or changes the moment of a key.
    pub(super) fn set(&mut self, key: NonZeroU32, at: Option<Instant>) {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                self.heap.push((None, key));
                self.places.insert(key, self.heap.len() - 1);
                self.heap.len() - 1
            }
        };
        if let Some(slot) = self.heap.get_mut(place) {
            slot.0 = at;
        }
        let place = self.rise(place);
        self.sink(place);
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: NonZeroU32) {
        let Some(place) = self.places.remove(&key) else { return };
        self.heap.swap_remove(place);
        if let Some((_, moved)) = self.heap.get(place) {
            self.places.insert(*moved, place);
            let place = self.rise(place);
            self.sink(place);
        }
    }

    /// The earliest moment, and whose it is.
    pub(super) fn next(&self) -> Option<(Instant, NonZeroU32)> {
        let (at, key) = self.heap.first()?;
        Some(((*at)?, *key))
    }

    /// As [`Self::next`], if it has come.
    pub(super) fn due(&self, now: Instant) -> Option<NonZeroU32> {
        self.next().filter(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.is_before(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let [left, right] = [2 * place + 1, 2 * place + 2];
            let child = if self.is_before(right, left) { right } else { left };
            if !self.is_before(child, place) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }

    /// Whether the first of two places is earlier; a place that is not there is later than all.
    fn is_before(&self, one: usize, other: usize) -> bool {
        match (self.heap.get(one), self.heap.get(other)) {
            (Some((one, _)), Some((other, _))) => match (one, other) {
                (Some(one), Some(other)) => one < other,
                (one, _) => one.is_some(),
            },
            (one, _) => one.is_some(),
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            if let Some((_, key)) = self.heap.get(place) {
                self.places.insert(*key, place);
            }
        }
    }
}
