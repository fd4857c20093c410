//! Many reports of two systems -> medians, ratios and bars.
//!
//! One number of one run says nothing on a shared machine. Each workload runs several rounds,
//! alternating between the systems; what counts is the median, shown with its extremes.

mod bars;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::report::Report;
use bars::{Bar, SHOWN, bar};
pub(crate) use table::{cell, write_facts, write_problems};

/// Why reports could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no report.
    #[error("{path}: not a report: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// (workload, system) -> reports of all rounds. Workloads keep the order of their names.
pub(crate) type Runs = BTreeMap<(String, String), Vec<Report>>;

/// Reads every `SYSTEM.WORKLOAD.ROUND.json` of `directory`.
pub(crate) fn load(directory: &Path) -> Result<Runs, CompareError> {
    let unreadable = |source| CompareError::Read { path: directory.into(), source };
    let mut runs = Runs::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some(key) = key_of(&path) {
            runs.entry(key).or_default().push(read(&path)?);
        }
    }
    Ok(runs)
}

fn key_of(path: &Path) -> Option<(String, String)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let mut parts = name.split('.');
    let (system, workload, round) = (parts.next()?, parts.next()?, parts.next()?);
    round.parse::<u32>().ok()?;
    Some((workload.into(), system.into()))
}

fn read(path: &Path) -> Result<Report, CompareError> {
    let bytes =
        fs::read(path).map_err(|source| CompareError::Read { path: path.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|source| CompareError::Parse { path: path.into(), source })
}

/// Median and extremes over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle round, or the mean of the two middle ones.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Over what `reports` say about `metric`; `None` when none says anything.
    pub(crate) fn of(reports: Option<&Vec<Report>>, metric: &str) -> Option<Self> {
        Self::of_values(reports?.iter().filter_map(|report| report.value(metric)).collect())
    }

    /// Over `values`; `None` when there are none.
    pub(crate) fn of_values(mut values: Vec<f64>) -> Option<Self> {
        let median = median(&mut values)?;
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

/// The median of `values`, which are sorted by the call.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some((lower + upper) / 2.0)
}

/// One metric of one workload.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The workload.
    pub(crate) workload: String,
    /// The metric; its name ends in the unit.
    pub(crate) metric: &'static str,
    /// The judged system.
    pub(crate) subject: Option<Spread>,
    /// The system it is compared with.
    pub(crate) peer: Option<Spread>,
    /// Subject / peer.
    pub(crate) ratio: Option<f64>,
    /// The bar as text.
    pub(crate) bar: Option<String>,
    /// Whether the bar is reached; `None` without a bar or a subject.
    pub(crate) pass: Option<bool>,
}

/// Everything a comparison has to say.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    subject: String,
    peer: String,
    facts: Value,
    rows: Vec<Row>,
    /// Problems of single runs, with where they happened.
    problems: Vec<String>,
}

impl Comparison {
    /// Compares `subject` with `peer` over all workloads of `runs`.
    pub(crate) fn new(subject: &str, peer: &str, facts: Value, runs: &Runs) -> Self {
        let mut workloads: Vec<&String> = runs.keys().map(|(workload, _)| workload).collect();
        workloads.dedup();
        let of = |workload: &String, system: &str| runs.get(&(workload.clone(), system.to_owned()));
        let rows = workloads
            .into_iter()
            .flat_map(|workload| rows_of(workload, of(workload, subject), of(workload, peer)));
        let (subject, peer) = (subject.to_owned(), peer.to_owned());
        Self { rows: rows.collect(), problems: problems_of(runs), subject, peer, facts }
    }

    /// The comparison as a report: what is printed at the end of a run.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::new("compare");
        report.text = Some(self.markdown());
        self.problems.iter().for_each(|problem| report.problem(problem.clone()));
        report
    }

    /// The comparison as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

fn rows_of(workload: &str, subject: Option<&Vec<Report>>, peer: Option<&Vec<Report>>) -> Vec<Row> {
    let kind = subject.or(peer).and_then(|reports| reports.first()).map(|report| &*report.kind);
    let shown = SHOWN.iter().filter(|(of_kind, _)| Some(*of_kind) == kind);
    shown
        .flat_map(|(kind, metrics)| metrics.iter().map(move |metric| (*kind, *metric)))
        .map(|(kind, metric)| {
            let spreads = (Spread::of(subject, metric), Spread::of(peer, metric));
            row(workload, metric, spreads, bar(kind, workload, metric))
        })
        .filter(|row| row.subject.is_some() || row.peer.is_some())
        .collect()
}

fn row(
    workload: &str,
    metric: &'static str,
    (subject, peer): (Option<Spread>, Option<Spread>),
    bar: Option<Bar>,
) -> Row {
    let pair = subject.zip(peer).filter(|(_, peer)| peer.median != 0.0);
    let ratio = pair.map(|(subject, peer)| subject.median / peer.median);
    let pass = bar.and_then(|bar| bar.judge(subject.map(|spread| spread.median), ratio));
    let bar = bar.map(|bar| bar.to_string());
    Row { workload: workload.into(), metric, subject, peer, ratio, bar, pass }
}

/// Problems of single runs, with where they happened.
pub(crate) fn problems_of(runs: &Runs) -> Vec<String> {
    let of_run = |((workload, system), reports): (&(String, String), &Vec<Report>)| {
        let problems = reports.iter().flat_map(|report| report.problems.clone());
        problems.map(|problem| format!("{system} {workload}: {problem}")).collect::<Vec<_>>()
    };
    runs.iter().flat_map(of_run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(throughput: f64, cost: f64) -> Report {
        let mut report = Report::new("produce");
        report.metric("throughput_mib_s", throughput);
        report.metric("broker_cpu_s_per_gib", cost);
        report
    }

    fn runs() -> Runs {
        let key = |system: &str| ("produce-1k".to_string(), system.to_string());
        Runs::from([
            (key("antiphon"), vec![report(150.0, 2.0), report(90.0, 3.0), report(130.0, 2.5)]),
            (key("kafka"), vec![report(80.0, 5.0), report(90.0, 4.0), report(70.0, 4.5)]),
        ])
    }

    #[test]
    fn medians_are_compared_and_judged() {
        let comparison = Comparison::new("antiphon", "kafka", Value::Null, &runs());
        let row = |metric| comparison.rows.iter().find(|row| row.metric == metric).unwrap();
        let throughput = row("throughput_mib_s");
        assert_eq!(throughput.subject, Some(Spread { median: 130.0, min: 90.0, max: 150.0 }));
        assert_eq!((throughput.ratio, throughput.pass), (Some(1.625), Some(true)));
        let cost = row("broker_cpu_s_per_gib");
        assert_eq!((cost.ratio, cost.pass), (Some(2.5 / 4.5), Some(false)));
    }

    #[test]
    fn a_peer_alone_has_rows_but_no_verdict() {
        let mut runs = runs();
        runs.retain(|(_, system), _| system == "kafka");
        let comparison = Comparison::new("antiphon", "kafka", Value::Null, &runs);
        assert!(!comparison.rows.is_empty());
        assert!(comparison.rows.iter().all(|row| row.ratio.is_none() && row.pass.is_none()));
    }

    #[test]
    fn a_problem_of_one_run_is_a_problem_of_the_comparison() {
        let mut runs = runs();
        runs.values_mut().next().unwrap()[0].problem("3 records missing");
        let report = Comparison::new("antiphon", "kafka", Value::Null, &runs).report();
        assert_eq!(report.problems, ["antiphon produce-1k: 3 records missing"]);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn only_reports_of_a_round_are_read() {
        let key = |name: &str| key_of(Path::new(name));
        assert_eq!(key("/x/kafka.produce-1k.2.json"), Some(("produce-1k".into(), "kafka".into())));
        assert_eq!((key("kafka.produce-1k.warmup.json"), key("notes.txt")), (None, None));
    }
}
