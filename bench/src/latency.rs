//! Latencies of one run as an HDR histogram: three significant digits from a microsecond up.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A slower answer is recorded as this; by then the run has failed anyway.
const LONGEST: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_micros(1);
const SIGNIFICANT_DIGITS: u8 = 3;
/// Points of a curve for each further nine.
const CURVE_STEPS: f64 = 10.0;

/// Records durations; merges with recorders of other threads.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let (low, high) = (SHORTEST.as_nanos() as u64, LONGEST.as_nanos() as u64);
        let histogram = Histogram::new_with_bounds(low, high, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram accepts");
        Self { histogram }
    }
}

impl Latencies {
    /// Adds one observation.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(latency.as_nanos() as u64);
    }

    /// Adds everything that `other` saw.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all recorders have the same bounds");
    }

    /// How many observations there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The percentiles that a report shows, as (name, milliseconds).
    pub(crate) fn percentiles_ms(&self) -> [(&'static str, f64); 5] {
        let at = |quantile| millis(self.histogram.value_at_quantile(quantile));
        [
            ("latency_p50_ms", at(0.5)),
            ("latency_p90_ms", at(0.9)),
            ("latency_p99_ms", at(0.99)),
            ("latency_p999_ms", at(0.999)),
            ("latency_max_ms", millis(self.histogram.max())),
        ]
    }

    /// The whole distribution as (quantile, milliseconds): ten steps for each further nine, up to
    /// where fewer than one observation in a step is left.
    pub(crate) fn curve_ms(&self) -> Vec<(f64, f64)> {
        let nines = (self.count() as f64).max(1.0).log10();
        let steps = 0..=(nines * CURVE_STEPS).floor() as u32;
        let quantiles = steps.map(|step| 1.0 - 10_f64.powf(-f64::from(step) / CURVE_STEPS));
        quantiles.map(|q| (q, millis(self.histogram.value_at_quantile(q)))).collect()
    }
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(latencies: &Latencies, name: &str) -> f64 {
        latencies.percentiles_ms().into_iter().find(|(found, _)| *found == name).unwrap().1
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        assert_eq!(latencies.count(), 1000);
        for (name, expected) in [("latency_p50_ms", 500.0), ("latency_p99_ms", 990.0)] {
            assert!((value(&latencies, name) / expected - 1.0).abs() < 0.002, "{name}");
        }
        assert!((value(&latencies, "latency_max_ms") / 1000.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn a_curve_rises_and_ends_where_the_observations_do() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let curve = latencies.curve_ms();
        assert!(curve.is_sorted_by(|(a, x), (b, y)| a < b && x <= y), "{curve:?}");
        let (last, ms) = *curve.last().unwrap();
        assert!((last - 0.999).abs() < 1e-9 && ms >= 998.0, "{last} {ms}");
    }

    #[test]
    fn merging_is_as_if_one_recorder_had_seen_everything() {
        let (mut all, mut first, mut second) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        for ms in 1..=100 {
            all.record(Duration::from_millis(ms));
            let part = if ms % 3 == 0 { &mut first } else { &mut second };
            part.record(Duration::from_millis(ms));
        }
        first.merge(&second);
        assert_eq!(first.percentiles_ms(), all.percentiles_ms());
    }

    #[test]
    fn what_is_out_of_range_is_kept_at_the_edge() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(10_000));
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.count(), 2);
        assert!(value(&latencies, "latency_max_ms") >= 600_000.0);
    }
}
