//! `partitions`: what many partitions cost. Creates them, writes one record (or some) to each, reads all
//! back.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;

use super::Failure;
use super::options::{Target, Topics};
use super::progress::Progress;
use crate::client::{ClientError, Consumer, Payloads, Producer, Start};
use crate::process::Meter;
use crate::report::Report;

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const BATCH_WAIT: Duration = Duration::from_millis(2);

/// Options of `partitions`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    topics: Topics,

    /// Payload bytes of each record.
    #[arg(long, default_value_t = 100)]
    record_size: usize,

    /// Records written to each partition, one pass over all of them after the other.
    #[arg(long, default_value_t = 1)]
    passes: u32,

    /// Pause after each pass, for brokers that store what a pass wrote apart from the next one's.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pause_ms: u64,
}

/// Runs `partitions`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = Arc::new(SystemClock::default());
    let names = options.topics.names();
    let partitions = options.topics.partitions;
    let total = names.len() as u64 * u64::from(partitions) * u64::from(options.passes);
    let mut report = Report::new("partitions")
        .setting("brokers", options.target.brokers.clone())
        .setting("topics", options.topics.topics)
        .setting("partitions", partitions)
        .setting("passes", options.passes);
    let meter = Meter::start(&*clock, options.target.broker_pid);

    let mut lap = Lap::start(&*clock);
    let replication = options.topics.replication;
    options.target.connect()?.create_topics(&*clock, &names, partitions, replication)?;
    report.metric("create_s", lap.next());
    let acked = write_passes(options, &names, &clock)?;
    report.metric("produce_s", lap.next());
    let progress = read_back(options, &names, &*clock)?;
    report.metric("read_s", lap.next());

    report.metric("acked_share", acked as f64 / total as f64);
    report.throughput(acked, acked * options.record_size as u64, &meter.finish(&*clock));
    if acked != total {
        report.problem(format!("{acked} of {total} records acknowledged"));
    }
    if progress.records != total || progress.missing + progress.repeated > 0 {
        report.problem(format!("{} of {total} records read back", progress.records));
    }
    Ok(report)
}

/// Time between one call and the next.
struct Lap<'a> {
    clock: &'a dyn Clock,
    last: Duration,
}

impl<'a> Lap<'a> {
    fn start(clock: &'a dyn Clock) -> Self {
        Self { clock, last: clock.monotonic() }
    }

    fn next(&mut self) -> f64 {
        let now = self.clock.monotonic();
        let elapsed = now.saturating_sub(self.last);
        self.last = now;
        elapsed.as_secs_f64()
    }
}

fn write_passes(
    options: &Options,
    names: &[String],
    clock: &Arc<SystemClock>,
) -> Result<u64, ClientError> {
    let config = options.target.config().set("acks", "all").set("linger.ms", 0);
    let producer = Producer::start(&config.with(&options.target.properties), names, clock)?;
    let mut acked = 0;
    for _pass in 0..options.passes {
        acked += write_one_each(options, names, &producer, &**clock)?;
        thread::sleep(Duration::from_millis(options.pause_ms));
    }
    Ok(acked)
}

fn write_one_each(
    options: &Options,
    names: &[String],
    producer: &Producer,
    clock: &dyn Clock,
) -> Result<u64, ClientError> {
    let payloads = Payloads::new(options.record_size);
    for topic in 0..names.len() {
        for partition in 0..options.topics.partitions as i32 {
            let payload = payloads.get(partition as u64);
            producer.send(topic, partition, payload, clock.monotonic())?;
        }
    }
    Ok(producer.flush(FLUSH_TIMEOUT).acked)
}

/// Reads every partition from offset 0, without asking where partitions end: that would measure
/// ListOffsets instead.
fn read_back(
    options: &Options,
    names: &[String],
    clock: &dyn Clock,
) -> Result<Progress, ClientError> {
    let partitions = options.topics.partitions as usize;
    let starts = (0..names.len()).flat_map(|topic| {
        (0..partitions as i32).map(move |partition| Start { topic, partition, offset: 0 })
    });
    let starts: Vec<Start> = starts.collect();
    let config = options.target.config().with(&options.target.properties);
    let mut consumer = Consumer::assign(&config, names, &starts)?;
    let mut progress =
        Progress::new(vec![vec![(0, i64::from(options.passes)); partitions]; names.len()]);
    let deadline = clock.monotonic() + READ_TIMEOUT;
    while !progress.is_done() && clock.monotonic() < deadline {
        consumer.poll_batch(BATCH_WAIT, |record| {
            progress.see(record.topic, record.partition, record.offset, record.size);
        })?;
    }
    Ok(progress)
}
