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
        &[
            "first_metadata_ms",
            "all_leaders_ms",
            "first_ack_ms",
            "idle_rss_mb",
            "idle_cpu_percent",
            "stop_ms",
        ],
    ),
    (
        "partitions",
        &["create_s", "produce_s", "acked_share", "read_s", "broker_cpu_s", "broker_rss_mib"],
    ),
    ("idle", &["requests_per_hour", "broker_rss_mib", "idle_cpu_percent"]),
    (
        "pressure",
        &[
            "throughput_mib_s",
            "replay_mib_s",
            "broker_rss_max_mb",
            "memory_budget_mb",
            "rss_above_budget_mb",
            "other_cpu_cores",
        ],
    ),
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
    /// The subject's own number at least this.
    AtLeast(f64),
}

impl Bar {
    /// `None` while there is nothing to judge.
    pub(super) fn judge(self, subject: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtLeast(bound) => ratio.map(|ratio| ratio >= bound),
            Self::RatioAtMost(bound) => ratio.map(|ratio| ratio <= bound),
            Self::AtMost(bound) => subject.map(|value| value <= bound),
            Self::AtLeast(bound) => subject.map(|value| value >= bound),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(bound) => write!(out, ">= {bound}x"),
            Self::RatioAtMost(bound) => write!(out, "<= {bound}x"),
            Self::AtMost(bound) => write!(out, "<= {bound}"),
            Self::AtLeast(bound) => write!(out, ">= {bound}"),
        }
    }
}

/// The bar of one metric. Start-up has bars of its own for an empty broker, for one with ten thousand
/// partitions and for one that was killed; otherwise its numbers are shown and not judged.
pub(super) fn bar(kind: &str, workload: &str, metric: &str) -> Option<Bar> {
    match (kind, metric) {
        ("produce", "throughput_mib_s") => Some(Bar::RatioAtLeast(1.5)),
        ("produce", "broker_cpu_s_per_gib") if workload == "produce-1k" => {
            Some(Bar::RatioAtMost(0.4))
        }
        ("consume", _) if workload == "consume-cold" => None,
        ("consume", "throughput_mib_s") => Some(Bar::RatioAtLeast(1.0)),
        ("consume", "broker_cpu_s_per_gib") => Some(Bar::RatioAtMost(1.2)),
        ("roundtrip", "latency_p50_ms" | "latency_p99_ms") => Some(Bar::RatioAtMost(1.0)),
        ("startup", _) => startup_bar(workload, metric),
        ("partitions", "acked_share") => Some(Bar::AtLeast(1.0)),
        ("idle", "requests_per_hour") => Some(Bar::AtMost(120.0)),
        ("pressure", "rss_above_budget_mb") => Some(Bar::AtMost(64.0)),
        _ => None,
    }
}

fn startup_bar(workload: &str, metric: &str) -> Option<Bar> {
    match (workload, metric) {
        ("startup", "first_metadata_ms") => Some(Bar::AtMost(50.0)),
        ("startup", "idle_rss_mb") => Some(Bar::AtMost(25.0)),
        ("restart-10000", "all_leaders_ms") => Some(Bar::AtMost(1000.0)),
        ("restart-10000", "idle_rss_mb") => Some(Bar::AtMost(200.0)),
        (workload, "first_ack_ms") if workload.starts_with("kill") => Some(Bar::AtMost(500.0)),
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
        assert_eq!(Bar::AtLeast(1.0).judge(Some(0.9), None), Some(false));
    }

    #[test]
    fn a_full_broker_is_not_held_to_the_bar_of_an_empty_one() {
        assert_eq!(bar("startup", "startup", "first_metadata_ms"), Some(Bar::AtMost(50.0)));
        assert_eq!(bar("startup", "restart-1000", "first_metadata_ms"), None);
        assert_eq!(bar("startup", "restart-10000", "idle_rss_mb"), Some(Bar::AtMost(200.0)));
        assert_eq!(bar("startup", "startup", "first_ack_ms"), None);
    }

    #[test]
    fn bars_are_on_metrics_that_are_shown() {
        let workloads = ["produce-1k", "consume-hot", "startup", "restart-10000", "kill", "x"];
        let judged = |kind: &str| {
            let metrics = SHOWN.iter().filter(|(of, _)| *of == kind).flat_map(|(_, shown)| *shown);
            let any = |metric: &&&str| workloads.iter().any(|of| bar(kind, of, metric).is_some());
            metrics.filter(any).count()
        };
        let kinds =
            ["produce", "consume", "roundtrip", "startup", "partitions", "idle", "pressure"];
        assert_eq!(kinds.map(judged), [2, 2, 2, 4, 1, 1, 1]);
    }
}
