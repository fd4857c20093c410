//! `consume`: read partitions to the end they had when the run began, and prove that every offset
//! came exactly once.

use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;

use super::Failure;
use super::options::{Target, Topics, parse_bytes};
use super::progress::Progress;
use crate::client::{ClientError, Config, Consumer, Start, Watermarks};
use crate::process::Meter;
use crate::report::Report;

/// A batch is handed over when it is full or this old; the last one of a run waits this long.
const BATCH_WAIT: Duration = Duration::from_millis(10);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// At the first offset that exists.
    Earliest,
    /// This many records before the end of each partition.
    Tail(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "earliest" => Ok(Self::Earliest),
            Some(("tail", records)) => {
                records.parse().map(Self::Tail).map_err(|_| format!("{records:?} is no number"))
            }
            _ => Err("expected earliest or tail=RECORDS".into()),
        }
    }
}

impl From {
    fn offset(self, watermarks: Watermarks) -> i64 {
        match self {
            Self::Earliest => watermarks.low,
            Self::Tail(records) => {
                watermarks.high.saturating_sub_unsigned(records).max(watermarks.low)
            }
        }
    }
}

/// Options of `consume`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) topics: Topics,

    /// `earliest` reads the whole history, `tail=N` the last N records of each partition.
    #[arg(long, default_value = "earliest")]
    pub(super) from: From,

    /// Consumers; partitions are dealt out in turn.
    #[arg(long, default_value_t = 1)]
    pub(super) consumers: u32,

    /// Join this group and let the broker assign, instead of reading fixed partitions.
    #[arg(long)]
    pub(super) group: Option<String>,

    /// Bytes asked of one partition per fetch.
    #[arg(long, default_value = "1MiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) fetch_bytes: u64,

    /// Fail unless exactly this many records are there.
    #[arg(long)]
    pub(super) expect_records: Option<u64>,

    /// Fail unless exactly this many payload and key bytes are there.
    #[arg(long)]
    pub(super) expect_bytes: Option<u64>,

    /// Offsets may be missing: compacted or transactional topics.
    #[arg(long)]
    pub(super) allow_gaps: bool,

    /// Give up when nothing arrives for this long.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(super) stall_timeout: u64,
}

impl Options {
    fn config(&self) -> Config {
        self.target
            .config()
            .set("enable.auto.commit", "false")
            .set("fetch.message.max.bytes", self.fetch_bytes)
            .set("queued.max.messages.kbytes", 65_536)
            .with(&self.target.properties)
    }

    pub(super) fn consumer(
        &self,
        names: &[String],
        starts: &[Start],
    ) -> Result<Consumer, ClientError> {
        match &self.group {
            Some(group) => Consumer::subscribe(&self.config(), names, group),
            None => Consumer::assign(&self.config(), names, starts),
        }
    }

    fn report(&self) -> Report {
        let from = match self.from {
            From::Earliest => "earliest".into(),
            From::Tail(records) => format!("tail={records}"),
        };
        Report::new("consume")
            .setting("brokers", self.target.brokers.clone())
            .setting("topics", self.topics.topics)
            .setting("partitions", self.topics.partitions)
            .setting("from", from)
            .setting("consumers", self.consumers)
            .setting("group", self.group.clone().unwrap_or_else(|| "none".into()))
            .setting("fetch_bytes", self.fetch_bytes)
    }
}

/// Runs `consume`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = SystemClock::default();
    let plan = Plan::new(options)?;
    let meter = Meter::start(&clock, options.target.broker_pid);
    let progress = read_all(options, &plan, &clock)?;
    let usage = meter.finish(&clock);
    let mut report = options.report();
    report.throughput(progress.records, progress.bytes, &usage);
    judge(&mut report, options, &progress);
    Ok(report)
}

/// What is there to read.
pub(super) struct Plan {
    pub(super) names: Vec<String>,
    pub(super) ranges: Vec<Vec<(i64, i64)>>,
}

impl Plan {
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        // librdkafka waits patiently for an address where nobody listens; we say so at once.
        options.target.connect()?;
        let names = options.topics.names();
        let config = options.target.config().with(&options.target.properties);
        let watermarks = Consumer::watermarks(&config, &names, options.topics.partitions)?;
        let range = |marks: &Watermarks| (options.from.offset(*marks), marks.high);
        let ranges = watermarks.iter().map(|topic| topic.iter().map(range).collect()).collect();
        Ok(Self { names, ranges })
    }

    /// The partitions of consumer `index` of `consumers`.
    pub(super) fn share(&self, index: usize, consumers: usize) -> Vec<Start> {
        let starts = self.ranges.iter().enumerate().flat_map(|(topic, ranges)| {
            let start = move |(partition, range): (usize, &(i64, i64))| Start {
                topic,
                partition: partition as i32,
                offset: range.0,
            };
            ranges.iter().enumerate().map(start)
        });
        starts.skip(index).step_by(consumers).collect()
    }
}

fn read_all(options: &Options, plan: &Plan, clock: &dyn Clock) -> Result<Progress, Failure> {
    let shared = Mutex::new(Progress::new(plan.ranges.clone()));
    let consumers = options.consumers.max(1) as usize;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..consumers)
            .map(|index| {
                let (shared, starts) = (&shared, plan.share(index, consumers));
                scope.spawn(move || read(options, plan, &starts, shared, clock))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| Ok(thread.join().map_err(|_| Failure::Panicked)??))
    })
    .map(|()| shared.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn read(
    options: &Options,
    plan: &Plan,
    starts: &[Start],
    shared: &Mutex<Progress>,
    clock: &dyn Clock,
) -> Result<(), ClientError> {
    let mut consumer = options.consumer(&plan.names, starts)?;
    let patience = Duration::from_secs(options.stall_timeout);
    let mut last_arrival = clock.monotonic();
    let mut last_records = 0;
    loop {
        let mut progress = None;
        consumer.poll_batch(BATCH_WAIT, |record| {
            progress.get_or_insert_with(|| lock(shared)).see(
                record.topic,
                record.partition,
                record.offset,
                record.size,
            );
        })?;
        let progress = progress.unwrap_or_else(|| lock(shared));
        if progress.records != last_records {
            (last_records, last_arrival) = (progress.records, clock.monotonic());
        }
        if progress.is_done() || clock.monotonic().saturating_sub(last_arrival) > patience {
            return Ok(());
        }
    }
}

fn lock(shared: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns what is wrong with `progress` into problems of the report.
fn judge(report: &mut Report, options: &Options, progress: &Progress) {
    report.metric("missing_offsets", progress.missing as f64);
    report.metric("repeated_records", progress.repeated as f64);
    if progress.outstanding() > 0 {
        report.problem(format!("stalled {} offsets before the end", progress.outstanding()));
    }
    if progress.missing > 0 && !options.allow_gaps {
        report.problem(format!("{} offsets missing", progress.missing));
    }
    if progress.repeated > 0 && options.group.is_none() {
        report.problem(format!("{} records came twice", progress.repeated));
    }
    expect(report, "records", options.expect_records, progress.records);
    expect(report, "bytes", options.expect_bytes, progress.bytes);
}

fn expect(report: &mut Report, what: &str, expected: Option<u64>, found: u64) {
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        report.problem(format!("{expected} {what} expected, {found} found"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin_is_parsed_and_stays_within_the_log() {
        let marks = Watermarks { low: 40, high: 100 };
        assert_eq!("earliest".parse::<From>().unwrap().offset(marks), 40);
        assert_eq!("tail=10".parse::<From>().unwrap().offset(marks), 90);
        assert_eq!("tail=99999999999999999999".parse::<From>().ok(), None);
        assert_eq!(From::Tail(u64::MAX).offset(marks), 40);
    }

    #[test]
    fn consumers_share_every_partition_once() {
        let plan = Plan { names: vec!["t".into()], ranges: vec![vec![(0, 1); 5]] };
        let of =
            |index| plan.share(index, 2).iter().map(|start| start.partition).collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![0, 2, 4], vec![1, 3]));
    }
}
