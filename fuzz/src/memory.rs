//! How much memory an input makes us take: what a length only claims must not be reserved.
#![expect(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// What this thread has, and the most it had since it last asked. What other threads free is
    /// counted there, so what it has may come to less than nothing.
    static USED: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's, with a tally.
struct Counting;

fn count(old: usize, new: usize) {
    // Fails only in a thread that ends.
    let _ = USED.try_with(|used| {
        let (now, most) = used.get();
        let now = now.wrapping_add_unsigned(new).wrapping_sub_unsigned(old);
        used.set((now, most.max(now)));
    });
}

// SAFETY: the system's allocator does all of it; the tally has no part in what it returns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while it is copied.
        count(0, size);
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most memory that is taken at once meanwhile, in octets.
pub(crate) fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let (before, _) = USED.get();
    USED.set((before, before));
    let result = run();
    let (_, most) = USED.get();
    (result, usize::try_from(most - before).expect("the most is no less than the beginning"))
}

/// Holds to what an input of so many octets may cost. A prefix of one octet takes twenty, a defective
/// attribute of three a hundred, and a list that grows is there twice.
pub(crate) fn bounded<T>(octets: usize, run: impl FnOnce() -> T) -> T {
    let (result, most) = peak(run);
    assert!(most <= (16 << 10) + 256 * octets, "{octets} octets took {most} octets of memory");
    result
}
