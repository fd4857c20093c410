//! A replay benchmark as Markdown, which is also what the terminal shows.

use std::fmt::Write;

use super::Summary;
use super::summary::{Medians, System};
use crate::compare::{cell, write_facts, write_problems};
use crate::report::round;

impl Summary {
    /// Bars, latencies, replays, problems, facts.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# Live traffic while history is replayed\n\n");
        text.push_str("Median of the rounds (min..max).\n");
        self.write_bars(&mut text);
        self.write_latencies(&mut text);
        self.write_replays(&mut text);
        self.write_raw(&mut text);
        write_problems(&mut text, &self.problems);
        write_facts(&mut text, &self.facts);
        text
    }

    fn write_bars(&self, text: &mut String) {
        let subject = self.systems.first().map_or("-", |system| &system.name);
        let _ = writeln!(text, "\n## Bars for {subject}\n\n| what | bar | value | verdict |");
        let _ = writeln!(text, "|---|---|---|---|");
        for bar in &self.bars {
            let verdict = bar.pass.map_or("-", |pass| if pass { "pass" } else { "MISS" });
            let value = bar.value.map_or_else(|| "-".into(), round);
            let _ = writeln!(text, "| {} | {} | {value} | {verdict} |", bar.what, bar.bar);
        }
    }

    fn write_latencies(&self, text: &mut String) {
        text.push_str("\n## Request-reply latency, from the moment a request was due\n\n");
        text.push_str("| system | load | p50 ms | p99 ms | p99.9 ms | max ms | p99 / quiet | ");
        text.push_str("broker cores | broker RSS MiB |\n|---|---|---|---|---|---|---|---|---|\n");
        for system in &self.systems {
            for phase in system.phases.iter().filter(|phase| phase.live) {
                text.push_str(&latency_line(system, phase));
            }
        }
    }

    fn write_replays(&self, text: &mut String) {
        text.push_str("\n## Replay, all consumers together\n\n");
        text.push_str("| system | load | live traffic | MiB/s | GETs per GiB | mean GET KiB | ");
        text.push_str("bucket MiB/s | broker CPU s/GiB | broker cores | broker RSS max MiB |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        for system in &self.systems {
            for phase in system.phases.iter().filter(|phase| phase.replays > 0) {
                text.push_str(&replay_line(system, phase));
            }
        }
    }

    fn write_raw(&self, text: &mut String) {
        if self.raw_gets_mib_s.is_empty() {
            return;
        }
        text.push_str("\n## Raw GETs of the same objects\n\n");
        text.push_str("| as many as for | MiB/s |\n|---|---|\n");
        for (replays, spread) in &self.raw_gets_mib_s {
            let _ = writeln!(text, "| {replays} replaying | {} |", cell(Some(*spread)));
        }
    }
}

fn cells(phase: &Medians, names: &[&str]) -> String {
    names.iter().map(|name| format!(" {} |", cell(phase.metrics.get(*name).copied()))).collect()
}

fn latency_line(system: &System, phase: &Medians) -> String {
    let against = match phase.replays {
        0 => "-".into(),
        replays => {
            let ratio = system.p99_against_quiet(replays, phase.nice);
            ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"))
        }
    };
    let percentiles = ["latency_p50_ms", "latency_p99_ms", "latency_p999_ms", "latency_max_ms"];
    format!(
        "| {} | {} |{} {against} |{}\n",
        system.name,
        phase.label(),
        cells(phase, &percentiles),
        cells(phase, &["broker_cpu_cores", "broker_rss_mib"])
    )
}

fn replay_line(system: &System, phase: &Medians) -> String {
    let columns = [
        "replay_mib_s",
        "gets_per_gib",
        "mean_get_kib",
        "bucket_mib_s",
        "broker_cpu_s_per_gib",
        "broker_cpu_cores",
        "broker_rss_max_mib",
    ];
    let live = if phase.live { "yes" } else { "no" };
    format!("| {} | {} | {live} |{}\n", system.name, phase.label(), cells(phase, &columns))
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::summary;

    #[test]
    fn every_table_has_its_rows() {
        let text = summary().markdown();
        let bar = "| cold replay / raw GETs, 4 consumer(s) | >= 0.9 | 0.950 | pass |\n";
        assert!(text.contains(bar), "{text}");
        assert!(text.contains("| kafka | 4 replaying, nice 19 | no | 900 |"), "{text}");
        assert!(text.contains("| 4 replaying | 1000 |"), "{text}");
    }
}
