//! The octets of an input, read front to back. At its end there are zeros: no input is too short.

/// What is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// So many octets, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The lowest bits of an octet, each by itself.
pub(crate) fn bits(octet: u8) -> [bool; 8] {
    std::array::from_fn(|bit| octet >> bit & 1 == 1)
}

/// One of `all`, whatever the octet is.
pub(crate) fn pick<T: Copy>(octet: u8, all: &[T]) -> T {
    *all.get(usize::from(octet) % all.len()).expect("there is one")
}
