//! Which metrics a comparison shows, and the bars that the judged system has to reach.

use std::fmt;

/// Kind of run -> metrics shown, in this order.
pub(super) const SHOWN: &[(&str, &[&str])] = &[
    (
        "produce",
        &[
            "throughput_mib_s",
            "records_per_s",
            "broker_cpu_s_per_gib",
            "client_cpu_s_per_gib",
            "latency_p50_ms",
            "latency_p99_ms",
            "broker_rss_mib",
            "other_cpu_cores",
        ],
    ),
    (
        "produce-open",
        &[
            "latency_p50_ms",
            "latency_p99_ms",
            "latency_p999_ms",
            "latency_max_ms",
            "broker_cpu_s",
            "other_cpu_cores",
        ],
    ),
    (
        "consume",
        &[
            "throughput_mib_s",
            "broker_cpu_s_per_gib",
            "client_cpu_s_per_gib",
            "broker_rss_mib",
            "other_cpu_cores",
        ],
    ),
    (
        "roundtrip",
        &[
            "latency_p50_ms",
            "latency_p99_ms",
            "latency_p999_ms",
            "latency_max_ms",
            "broker_cpu_s",
            "other_cpu_cores",
        ],
    ),
    (
        "startup",
        &["first_metadata_ms", "all_leaders_ms", "idle_rss_mb", "idle_cpu_percent", "stop_ms"],
    ),
    ("partitions", &["create_s", "produce_s", "read_s", "broker_cpu_s", "broker_rss_mib"]),
];

/// What a number has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    /// Subject / peer at least this.
    RatioAtLeast(f64),
    /// Subject / peer at most this.
    RatioAtMost(f64),
    /// The subject's own number at most this, whatever the peer does.
    AtMost(f64),
}

impl Bar {
    /// `None` while there is nothing to judge.
    pub(super) fn judge(self, subject: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtLeast(bound) => ratio.map(|ratio| ratio >= bound),
            Self::RatioAtMost(bound) => ratio.map(|ratio| ratio <= bound),
            Self::AtMost(bound) => subject.map(|value| value <= bound),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(bound) => write!(out, ">= {bound}x"),
            Self::RatioAtMost(bound) => write!(out, "<= {bound}x"),
            Self::AtMost(bound) => write!(out, "<= {bound}"),
        }
    }
}

/// The bar of one metric. Start-up bars hold for an empty broker only: with a thousand partitions
/// the number is shown and not judged.
pub(super) fn bar(kind: &str, workload: &str, metric: &str) -> Option<Bar> {
    match (kind, metric) {
        ("produce", "throughput_mib_s") => Some(Bar::RatioAtLeast(1.0)),
        ("produce", "broker_cpu_s_per_gib") => Some(Bar::RatioAtMost(0.6)),
        ("consume", "throughput_mib_s") => Some(Bar::RatioAtLeast(0.9)),
        ("startup", _) if workload != "startup" => None,
        ("startup", "first_metadata_ms") => Some(Bar::AtMost(50.0)),
        ("startup", "idle_rss_mb") => Some(Bar::AtMost(40.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_has_a_side() {
        assert_eq!(Bar::RatioAtLeast(1.0).judge(None, Some(0.99)), Some(false));
        assert_eq!(Bar::RatioAtMost(0.6).judge(None, Some(0.6)), Some(true));
        assert_eq!(Bar::AtMost(50.0).judge(Some(51.0), None), Some(false));
        assert_eq!(Bar::AtMost(50.0).judge(None, Some(0.1)), None);
    }

    #[test]
    fn a_full_broker_is_not_held_to_the_bar_of_an_empty_one() {
        assert_eq!(bar("startup", "startup", "first_metadata_ms"), Some(Bar::AtMost(50.0)));
        assert_eq!(bar("startup", "restart-1000", "first_metadata_ms"), None);
    }

    #[test]
    fn every_bar_is_on_a_metric_that_is_shown() {
        let shown = |kind: &str, metric: &str| {
            SHOWN.iter().any(|(of, metrics)| *of == kind && metrics.contains(&metric))
        };
        assert!(shown("produce", "broker_cpu_s_per_gib") && shown("startup", "idle_rss_mb"));
    }
}
