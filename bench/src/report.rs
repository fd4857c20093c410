//! The numbers of one run: a table for people, JSON for everything else.
//!
//! Metric names end in their unit (`throughput_mib_s`, `latency_p99_ms`), so that a file read in a
//! year still says what it means.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::latency::Latencies;
use crate::process::Usage;
use crate::replay::Phase;

const MIB: f64 = 1_048_576.0;
const GIB: f64 = MIB * 1024.0;

/// What one subcommand measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// The kind of run: `produce`, `produce-open`, `consume`, ...
    pub kind: String,
    /// What was asked for.
    pub settings: Map<String, Value>,
    /// What was measured, in the order in which it is shown.
    pub metrics: Map<String, Value>,
    /// The stretches of a replay benchmark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) phases: Vec<Phase>,
    /// Shown instead of settings and metrics when a table says it better.
    #[serde(skip)]
    pub(crate) text: Option<String>,
    /// Why the run does not count: records lost, repeated, refused. Empty when all is well.
    pub problems: Vec<String>,
}

impl Report {
    pub(crate) fn new(kind: &str) -> Self {
        let (settings, metrics) = (Map::new(), Map::new());
        let (phases, problems) = (Vec::new(), Vec::new());
        Self { kind: kind.into(), settings, metrics, phases, text: None, problems }
    }

    /// Adds one setting.
    pub(crate) fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Adds one metric; a number that does not exist (0/0) is left out.
    pub(crate) fn metric(&mut self, name: &str, value: f64) {
        if let Some(number) = serde_json::Number::from_f64(value) {
            self.metrics.insert(name.into(), Value::Number(number));
        }
    }

    /// One metric by name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).and_then(Value::as_f64)
    }

    /// Adds a reason why the run does not count.
    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Adds records, bytes (payload and key, without framing) and their rates.
    pub(crate) fn throughput(&mut self, records: u64, bytes: u64, usage: &Usage) {
        let seconds = usage.elapsed.as_secs_f64();
        self.metric("elapsed_s", seconds);
        self.metric("records", records as f64);
        self.metric("bytes", bytes as f64);
        self.metric("records_per_s", records as f64 / seconds);
        self.metric("throughput_mib_s", bytes as f64 / MIB / seconds);
        self.cpu(bytes, usage);
    }

    /// Adds CPU and memory. The cost per GiB suffers less from a noisy machine than a rate;
    /// `other_cpu_cores` says how noisy it was: cores that somebody else used, on average.
    fn cpu(&mut self, bytes: u64, usage: &Usage) {
        let gib = bytes as f64 / GIB;
        self.metric("client_cpu_s", usage.client_cpu.as_secs_f64());
        self.metric("client_cpu_s_per_gib", usage.client_cpu.as_secs_f64() / gib);
        if let Some(broker) = usage.broker_cpu {
            self.metric("broker_cpu_s", broker.as_secs_f64());
            self.metric("broker_cpu_s_per_gib", broker.as_secs_f64() / gib);
        }
        if let Some(other) = usage.other_cpu {
            self.metric("other_cpu_cores", other.as_secs_f64() / usage.elapsed.as_secs_f64());
        }
        self.memory(usage);
    }

    /// Adds the broker's resident memory.
    pub(crate) fn memory(&mut self, usage: &Usage) {
        if let Some(memory) = usage.broker_memory {
            self.metric("broker_rss_mib", memory.resident.get() as f64 / MIB);
            self.metric("broker_peak_rss_mib", memory.peak.get() as f64 / MIB);
        }
    }

    /// Adds percentiles, unless nothing was recorded.
    pub(crate) fn latencies(&mut self, latencies: &Latencies) {
        if latencies.count() > 0 {
            latencies.percentiles_ms().into_iter().for_each(|(name, ms)| self.metric(name, ms));
        }
    }

    /// Writes the report to `path`.
    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return out.write_str(text);
        }
        writeln!(out, "{}", self.kind)?;
        for (name, value) in &self.settings {
            writeln!(out, "  {name:<24} {}", plain(value))?;
        }
        for (name, value) in &self.metrics {
            writeln!(out, "  {name:<24} {:>14}", round(value.as_f64().unwrap_or_default()))?;
        }
        self.phases.iter().try_for_each(|phase| write!(out, "{phase}"))?;
        self.problems.iter().try_for_each(|problem| writeln!(out, "  PROBLEM: {problem}"))
    }
}

/// The facts that a run's script wrote down, as a JSON object; null without a file.
pub(crate) fn read_facts(path: Option<&Path>) -> io::Result<Value> {
    match path {
        Some(path) => Ok(serde_json::from_slice(&fs::read(path)?)?),
        None => Ok(Value::Null),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Three decimals where they matter, none for counts.
pub(crate) fn round(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn usage() -> Usage {
        Usage {
            elapsed: Duration::from_secs(2),
            client_cpu: Duration::from_secs(1),
            broker_cpu: Some(Duration::from_millis(500)),
            other_cpu: Some(Duration::from_millis(200)),
            broker_memory: None,
        }
    }

    #[test]
    fn rates_and_costs_follow_from_bytes_and_time() {
        let mut report = Report::new("produce");
        report.throughput(1024, 1 << 29, &usage());
        assert_eq!(report.value("throughput_mib_s"), Some(256.0));
        assert_eq!(report.value("records_per_s"), Some(512.0));
        assert_eq!(report.value("broker_cpu_s_per_gib"), Some(1.0));
    }

    #[test]
    fn a_number_that_does_not_exist_is_left_out() {
        let mut report = Report::new("produce");
        report.throughput(0, 0, &usage());
        assert_eq!(report.value("client_cpu_s_per_gib"), None);
    }

    #[test]
    fn a_report_survives_its_own_json() {
        let mut report = Report::new("consume").setting("topic", "t");
        report.metric("elapsed_s", 1.5);
        report.problem("3 records missing");
        let read: Report = serde_json::from_slice(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read.to_string(), report.to_string());
    }
}
