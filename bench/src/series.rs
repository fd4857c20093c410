//! A counter watched over time, and how fast it grew between two moments.

use std::time::Duration;

/// Readings of a counter, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    readings: Vec<(Duration, f64)>,
}

impl Series {
    /// Adds a reading. One that is not newer than the last is ignored.
    pub(crate) fn push(&mut self, at: Duration, value: f64) {
        if self.readings.last().is_none_or(|(last, _)| at > *last) {
            self.readings.push((at, value));
        }
    }

    /// How much the counter grew between two moments; `None` when nobody looked at it then. A moment
    /// between two readings is interpolated, one outside of them counts as the nearest.
    pub(crate) fn growth(&self, from: Duration, to: Duration) -> Option<f64> {
        let (first, last) = (self.readings.first()?, self.readings.last()?);
        if self.readings.len() < 2 || to <= first.0 || from >= last.0 {
            return None;
        }
        // The stretch that was really watched, scaled to the stretch that was asked for.
        let watched = (from.max(first.0), to.min(last.0));
        let share = (to - from).as_secs_f64() / (watched.1 - watched.0).as_secs_f64().max(1e-9);
        Some((self.at(watched.1)? - self.at(watched.0)?) * share)
    }

    /// Growth per second over all that was watched; 0 when that was nothing.
    pub(crate) fn mean_rate(&self) -> f64 {
        let Some(((from, first), (to, last))) = self.readings.first().zip(self.readings.last())
        else {
            return 0.0;
        };
        (last - first) / (*to - *from).as_secs_f64().max(1e-9)
    }

    fn at(&self, moment: Duration) -> Option<f64> {
        let after = self.readings.partition_point(|(at, _)| *at < moment);
        let (next_at, next) = *self.readings.get(after)?;
        let Some((last_at, last)) = after.checked_sub(1).and_then(|i| self.readings.get(i)) else {
            return Some(next);
        };
        let share = (moment - *last_at).as_secs_f64() / (next_at - *last_at).as_secs_f64();
        Some(last + (next - last) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn steady() -> Series {
        let mut series = Series::default();
        (0..=10).for_each(|second| series.push(s(f64::from(second)), f64::from(second) * 100.0));
        series
    }

    #[test]
    fn growth_between_readings_is_interpolated() {
        let grown = steady().growth(s(2.5), s(4.5)).unwrap();
        assert!((grown - 200.0).abs() < 1e-6, "{grown}");
        assert_eq!((steady().mean_rate(), Series::default().mean_rate()), (100.0, 0.0));
    }

    #[test]
    fn a_stretch_that_was_watched_in_part_is_scaled_up() {
        let grown = steady().growth(s(9.5), s(10.5)).unwrap();
        assert!((grown - 100.0).abs() < 1e-6, "{grown}");
    }

    #[test]
    fn what_nobody_watched_has_no_growth() {
        assert_eq!(steady().growth(s(11.0), s(12.0)), None);
        assert_eq!(Series::default().growth(s(0.0), s(1.0)), None);
    }

    #[test]
    fn a_reading_out_of_turn_is_ignored() {
        let mut series = steady();
        series.push(s(3.0), 0.0);
        assert_eq!(series.readings.len(), 11);
    }
}
