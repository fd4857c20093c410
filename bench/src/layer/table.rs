//! Runs of a layer over several rounds, as medians.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::drive::Measured;
use super::{Load, Variant};
use crate::compare::{Spread, cell, write_facts, write_problems};

/// Columns of each table: metric and heading.
const COLUMNS: [(&str, &str); 7] = [
    ("acks_per_s", "acks/s"),
    ("throughput_mib_s", "MiB/s"),
    ("latency_p50_ms", "p50 ms"),
    ("latency_p99_ms", "p99 ms"),
    ("latency_p999_ms", "p99.9 ms"),
    ("cpu_s_per_gib", "CPU s/GiB"),
    ("cpu_cores", "CPU cores"),
];

/// One variant under one load.
#[derive(Clone, Debug, Serialize)]
struct Row {
    variant: String,
    settings: Variant,
    load: Load,
    metrics: BTreeMap<&'static str, Spread>,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    rows: Vec<Row>,
    problems: Vec<String>,
    facts: Value,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(facts: Value) -> Self {
        Self { rows: Vec::new(), problems: Vec::new(), facts }
    }

    /// Adds all rounds of `variant` under `load`.
    pub(crate) fn add(&mut self, variant: Variant, load: Load, rounds: &[Measured]) {
        let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (name, value) in rounds.iter().flatten() {
            values.entry(name).or_default().push(*value);
        }
        let spread = |(name, values)| Spread::of_values(values).map(|spread| (name, spread));
        let metrics = values.into_iter().filter_map(spread).collect();
        self.rows.push(Row { variant: variant.label(), settings: variant, load, metrics });
    }

    /// Adds something that could not be measured.
    pub(crate) fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// The table as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// One table for each load.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# The write-ahead log alone\n\n");
        text.push_str(
            "Median of the rounds (min..max). CPU is that of the whole process, the load",
        );
        text.push_str(" included, which is the same for all.\n");
        let mut loads: Vec<Load> = self.rows.iter().map(|row| row.load).collect();
        loads.sort();
        loads.dedup();
        loads.into_iter().for_each(|load| self.write_load(&mut text, load));
        write_problems(&mut text, &self.problems);
        write_facts(&mut text, &self.facts);
        text
    }

    fn write_load(&self, text: &mut String, load: Load) {
        let Load { appenders, payload_bytes } = load;
        let _ = writeln!(text, "\n## {appenders} appenders of {} KiB\n", payload_bytes >> 10);
        let headings: String = COLUMNS.iter().map(|(_, name)| format!(" {name} |")).collect();
        let _ = writeln!(text, "| |{headings}\n|---|{}", "---|".repeat(COLUMNS.len()));
        for row in self.rows.iter().filter(|row| row.load == load) {
            let value = |(name, _): &(&str, &str)| cell(row.metrics.get(*name).copied());
            let cells: String =
                COLUMNS.iter().map(|column| format!(" {} |", value(column))).collect();
            let _ = writeln!(text, "| {} |{cells}", row.variant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_one_row_of_their_load() {
        let mut table = Table::new(Value::Null);
        let variant = Variant::Threads { threads: 2, spin: true };
        let load = Load { payload_bytes: 1024, appenders: 8 };
        let round = |acks| vec![("acks_per_s", acks), ("latency_p50_ms", 0.25)];
        table.add(variant, load, &[round(100.0), round(300.0), round(200.0)]);
        let text = table.markdown();
        assert!(text.contains("## 8 appenders of 1 KiB"), "{text}");
        assert!(text.contains("| raw, 2 threads, spin | 200 (100..300) | - | 0.250 |"), "{text}");
    }
}
