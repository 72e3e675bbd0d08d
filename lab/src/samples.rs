//! Measured values and what to say about them.

use std::time::Duration;

/// Values of one unit, in the order in which they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a time, in milliseconds.
    pub fn push_time(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// All of them.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value that this part of them, from 0 to 1, does not exceed: 0 is the minimum, 0.5 the
    /// median (of an even number, the mean of the two in the middle), 1 the maximum.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        #[expect(clippy::cast_precision_loss, reason = "not that many")]
        let place = part * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=last")]
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        Some(sorted[below] + (sorted[above] - sorted[below]) * place.fract())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut samples = Self::default();
        times.into_iter().for_each(|time| samples.push_time(time));
        samples
    }
}

/// A value with three digits that count, like `0.87`, `12.3` and `1062`.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let samples = Samples(vec![3.0, 1.0, 2.0, 10.0]);
        let quantiles = [0.0, 0.5, 1.0].map(|part| samples.quantile(part));
        assert_eq!(quantiles, [Some(1.0), Some(2.5), Some(10.0)]);
        assert_eq!(Samples::default().quantile(0.5), None);
    }

    #[test]
    fn values_are_shown_with_three_digits() {
        let shown = [0.0, 0.874, 9.999, 12.34, 99.96, 1061.7].map(short);
        assert_eq!(shown, ["0.00", "0.87", "10.0", "12.3", "100", "1062"]);
    }
}
