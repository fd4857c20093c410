//! Phases of all rounds, as medians.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Phase;
use super::bars::{Verdict, judge};
use crate::compare::{Runs, Spread, median};
use crate::report::Report;

/// The workload under which rounds of `replay` are filed.
const REPLAY: &str = "replay";
/// The system under which raw GETs are filed, and the beginning of their workloads: `gets-4` is the
/// same concurrency as four replaying consumers.
const RAW: &str = "raw";
const GETS: &str = "gets-";

/// A phase over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Medians {
    /// As in [`Phase`].
    pub(crate) replays: u32,
    /// As in [`Phase`].
    pub(crate) nice: i32,
    /// As in [`Phase`].
    pub(crate) live: bool,
    /// Median and extremes.
    pub(crate) metrics: BTreeMap<String, Spread>,
    /// At each quantile the median of the rounds.
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Medians {
    fn of(rounds: &[&Phase]) -> Option<Self> {
        let first = rounds.first()?;
        let spread = |name: &String| {
            let values = rounds.iter().filter_map(|phase| phase.metrics.get(name).copied());
            Some((name.clone(), Spread::of_values(values.collect())?))
        };
        let metrics = first.metrics.keys().filter_map(spread).collect();
        let at = |index: usize, quantile: f64| {
            let values = rounds.iter().filter_map(|phase| phase.curve.get(index));
            let mut values: Vec<f64> = values.map(|(_, ms)| *ms).collect();
            median(&mut values).map(|ms| (quantile, ms))
        };
        let quantiles = first.curve.iter().enumerate();
        let curve = quantiles.filter_map(|(index, (quantile, _))| at(index, *quantile)).collect();
        let (replays, nice, live) = first.key();
        Some(Self { replays, nice, live, metrics, curve })
    }

    /// The median of one metric.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).map(|spread| spread.median)
    }

    /// How a person calls this load.
    pub(super) fn label(&self) -> String {
        match (self.replays, self.nice) {
            (0, _) => "quiet".into(),
            (replays, nice) => format!("{replays} replaying, nice {nice}"),
        }
    }
}

/// One system's phases.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct System {
    /// Its name.
    pub(crate) name: String,
    /// In the order in which they were measured.
    pub(crate) phases: Vec<Medians>,
}

impl System {
    fn of(name: &str, rounds: &[Report]) -> Self {
        let phases = rounds.first().map_or(&[][..], |report| &report.phases);
        let all_rounds = |phase: &Phase| {
            let same = |other: &&Phase| other.key() == phase.key();
            let found: Vec<&Phase> =
                rounds.iter().filter_map(|report| report.phases.iter().find(same)).collect();
            Medians::of(&found)
        };
        Self { name: name.into(), phases: phases.iter().filter_map(all_rounds).collect() }
    }

    /// Live traffic without replay.
    pub(super) fn quiet(&self) -> Option<&Medians> {
        self.phases.iter().find(|phase| phase.replays == 0)
    }

    /// One load.
    pub(super) fn load(&self, replays: u32, nice: i32, live: bool) -> Option<&Medians> {
        let wanted = (replays, nice, live);
        self.phases.iter().find(|phase| (phase.replays, phase.nice, phase.live) == wanted)
    }

    /// A load's p99 with live traffic, as a multiple of the quiet one.
    pub(super) fn p99_against_quiet(&self, replays: u32, nice: i32) -> Option<f64> {
        let p99 = |phase: &Medians| phase.value("latency_p99_ms");
        let loaded = p99(self.load(replays, nice, true)?)?;
        Some(loaded / p99(self.quiet()?)?)
    }
}

/// Everything a replay benchmark has to say.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// The judged system first.
    pub(super) systems: Vec<System>,
    /// Replaying consumers -> raw GETs of the same concurrency, MiB/s.
    pub(super) raw_gets_mib_s: BTreeMap<u32, Spread>,
    pub(super) bars: Vec<Verdict>,
    pub(super) facts: Value,
    pub(super) problems: Vec<String>,
}

impl Summary {
    /// Summarises `runs`; `subject` is judged, every other system is its peer.
    pub(crate) fn new(subject: &str, facts: Value, runs: &Runs) -> Self {
        let of_replay = runs.iter().filter(|((workload, _), _)| workload == REPLAY);
        let mut systems: Vec<System> =
            of_replay.map(|((_, name), rounds)| System::of(name, rounds)).collect();
        systems.sort_by_key(|system| system.name != subject);
        let raw_gets_mib_s = runs.iter().filter_map(raw).collect();
        let bars = judge(&systems, &raw_gets_mib_s);
        let problems = crate::compare::problems_of(runs);
        Self { systems, raw_gets_mib_s, bars, facts, problems }
    }

    /// The summary as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// What is printed at the end of a run.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::new("replay-report");
        report.text = Some(self.markdown());
        self.problems.iter().for_each(|problem| report.problem(problem.clone()));
        report
    }
}

fn raw(((workload, system), rounds): (&(String, String), &Vec<Report>)) -> Option<(u32, Spread)> {
    let replays = workload.strip_prefix(GETS).filter(|_| system == RAW)?.parse().ok()?;
    Some((replays, Spread::of(Some(rounds), "throughput_mib_s")?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A round: quiet, then four replaying consumers alone and with traffic.
    pub(crate) fn round(quiet_p99: f64, loaded_p99: f64, alone: f64, loaded: f64) -> Report {
        let mut phases = [Phase::quiet(), Phase::new(4, 19, false), Phase::new(4, 19, true)];
        phases[0].metric("latency_p99_ms", quiet_p99);
        phases[1].metric("replay_mib_s", alone);
        phases[2].metric("latency_p99_ms", loaded_p99);
        phases[2].metric("replay_mib_s", loaded);
        phases[2].curve = vec![(0.5, 1.0), (0.99, loaded_p99)];
        let mut report = Report::new("replay");
        report.phases = phases.into();
        report
    }

    pub(crate) fn summary() -> Summary {
        let mut gets = Report::new("gets");
        gets.metric("throughput_mib_s", 1000.0);
        let key = |workload: &str, system: &str| (workload.to_string(), system.to_string());
        let runs = Runs::from([
            (
                key("replay", "antiphon"),
                vec![
                    round(2.0, 2.1, 950.0, 700.0),
                    round(2.0, 9.0, 1.0, 1.0),
                    round(2.0, 2.0, 960.0, 800.0),
                ],
            ),
            (key("replay", "kafka"), vec![round(3.0, 9.0, 900.0, 100.0)]),
            (key("gets-4", "raw"), vec![gets]),
        ]);
        Summary::new("antiphon", Value::Null, &runs)
    }

    #[test]
    fn medians_are_taken_over_rounds_and_the_judged_system_comes_first() {
        let summary = summary();
        assert_eq!(summary.systems[0].name, "antiphon");
        assert_eq!(summary.systems[0].p99_against_quiet(4, 19), Some(1.05));
        assert_eq!(summary.systems[1].p99_against_quiet(4, 19), Some(3.0));
        assert_eq!(summary.raw_gets_mib_s[&4].median, 1000.0);
        let curve = &summary.systems[0].load(4, 19, true).unwrap().curve;
        assert_eq!(*curve, [(0.5, 1.0), (0.99, 2.1)]);
    }
}
