//! Waiting for something to become true, never longer than a bound.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it answers `Some`, and fails when it has not within `bound`;
/// `what` says in the error what was awaited. An error of the probe ends the wait at once.
pub fn until<T>(
    what: &str,
    bound: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().with_context(|| format!("while waiting until {what}"))? {
            return Ok(answer);
        }
        if start.elapsed() >= bound {
            bail!("waited {bound:?} in vain until {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Asks `probe` until it answers `true`; otherwise as [`until`].
pub fn until_true(
    what: &str,
    bound: Duration,
    mut probe: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(what, bound, || Ok(probe()?.then_some(())))
}
