//! What a replay benchmark measured, phase by phase; and many of those -> medians, bars, plots.
//!
//! ```text
//! replay command -> Report { phases }      one per system and round
//! gets command   -> Report                 one per concurrency and round
//!         `---- Summary ---- tables (Markdown), draw (SVG), JSON
//! ```

mod bars;
mod draw;
mod summary;
mod tables;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::process::Usage;
use crate::report::round;

pub(crate) use summary::Summary;

const MIB: f64 = 1_048_576.0;

/// One stretch of a replay benchmark.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Phase {
    /// Consumers that replay the history; 0 is the quiet phase.
    pub(crate) replays: u32,
    /// Their scheduling priority.
    pub(crate) nice: i32,
    /// Whether request-reply traffic ran at the same time.
    pub(crate) live: bool,
    /// What was measured; names end in their unit.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Latency in milliseconds by quantile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Phase {
    /// Live traffic alone.
    pub(crate) fn quiet() -> Self {
        Self::new(0, 0, true)
    }

    /// `replays` consumers at `nice`, with live traffic or without.
    pub(crate) fn new(replays: u32, nice: i32, live: bool) -> Self {
        Self { replays, nice, live, ..Self::default() }
    }

    /// Adds one number; one that does not exist (0/0) is left out.
    pub(crate) fn metric(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.into(), value);
        }
    }

    /// Adds percentiles and their curve.
    pub(crate) fn latencies(&mut self, latencies: &Latencies) {
        if latencies.count() > 0 {
            latencies.percentiles_ms().into_iter().for_each(|(name, ms)| self.metric(name, ms));
            self.curve = latencies.curve_ms();
        }
    }

    /// Adds what the broker took of the machine.
    pub(crate) fn usage(&mut self, usage: &Usage) {
        let seconds = usage.elapsed.as_secs_f64();
        if let Some(broker) = usage.broker_cpu {
            self.metric("broker_cpu_cores", broker.as_secs_f64() / seconds);
        }
        if let Some(memory) = usage.broker_memory {
            self.metric("broker_rss_mib", memory.resident.get() as f64 / MIB);
        }
    }

    /// Phases of several rounds belong together when this is equal.
    fn key(&self) -> (u32, i32, bool) {
        (self.replays, self.nice, self.live)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = if self.live { "with live traffic" } else { "alone" };
        writeln!(out, "  {} replaying at nice {}, {live}", self.replays, self.nice)?;
        self.metrics
            .iter()
            .try_for_each(|(name, value)| writeln!(out, "    {name:<24} {:>12}", round(*value)))
    }
}
