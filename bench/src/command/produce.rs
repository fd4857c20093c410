//! `produce`: closed loop (as fast as the broker acknowledges) or, with `--rate`, open loop.
//!
//! Records go to the partitions in turn, record by record. That is the worst case for batching, and
//! the same one for every broker.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::{Args, ValueEnum};

use super::Failure;
use super::options::{Target, Topics, parse_bytes};
use crate::client::{ClientError, Config, Payloads, Producer, Tally};
use crate::pace::{Schedule, drive, sharpen_sleep};
use crate::process::Meter;
use crate::report::Report;

/// Long enough for a broker that stalls; beyond it, records count as failed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Kafka's `acks`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Acks {
    /// Every in-sync replica has it.
    All,
    /// The leader has it.
    #[value(name = "1")]
    Leader,
    /// Nobody is asked.
    #[value(name = "0")]
    None,
}

impl Acks {
    fn property(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "1",
            Self::None => "0",
        }
    }
}

/// Options of `produce`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) topics: Topics,

    /// Payload bytes of each record.
    #[arg(long, default_value = "1KiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) record_size: u64,

    /// Stop after this many payload bytes (closed loop).
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) bytes: u64,

    /// Run for this long instead (closed loop), or how long to run with --rate.
    #[arg(long, value_name = "SECONDS")]
    pub(super) seconds: Option<u64>,

    /// Open loop: records per second over all producers.
    #[arg(long, value_name = "PER_SECOND")]
    pub(super) rate: Option<u64>,

    /// Producers, each with its own connection and thread.
    #[arg(long, default_value_t = 1)]
    pub(super) producers: u32,

    /// Who must have a record before it is acknowledged.
    #[arg(long, default_value = "all")]
    pub(super) acks: Acks,

    /// Idempotent producer (KIP-98).
    #[arg(long)]
    pub(super) idempotent: bool,

    /// How long the client waits for a batch to fill, in milliseconds.
    #[arg(long, default_value_t = 5.0)]
    pub(super) linger_ms: f64,

    /// Largest batch.
    #[arg(long, default_value = "1000000", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) batch_size: u64,

    /// Unanswered requests per connection.
    #[arg(long, default_value_t = 5)]
    pub(super) in_flight: u32,

    /// The client's own queue; bounds the latency of a closed loop.
    #[arg(long, default_value = "32MiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) queue: u64,

    /// none, lz4, zstd or snappy. Payloads are random and do not compress.
    #[arg(long, default_value = "none")]
    pub(super) compression: String,

    /// Records sent and acknowledged before the measurement, per producer.
    #[arg(long, default_value_t = 1000)]
    pub(super) warmup_records: u64,
}

impl Options {
    fn config(&self) -> Config {
        self.target
            .config()
            .set("acks", self.acks.property())
            .set("enable.idempotence", self.idempotent)
            .set("linger.ms", self.linger_ms)
            .set("batch.size", self.batch_size)
            .set("max.in.flight.requests.per.connection", self.in_flight)
            .set("queue.buffering.max.kbytes", (self.queue >> 10).max(1))
            .set("queue.buffering.max.messages", 0)
            .set("compression.type", &self.compression)
            .with(&self.target.properties)
    }

    fn load(&self, clock: &dyn Clock, producer: u64) -> Load {
        let producers = u64::from(self.producers.max(1));
        let share = |total: u64| total / producers + u64::from(producer < total % producers);
        match (self.rate, self.seconds) {
            (Some(rate), seconds) => {
                let schedule = Schedule::new(clock.monotonic(), share(rate).max(1));
                Load::Open(schedule, schedule.total(Duration::from_secs(seconds.unwrap_or(10))))
            }
            (None, Some(seconds)) => Load::Until(clock.monotonic() + Duration::from_secs(seconds)),
            (None, None) => Load::Records(share(self.bytes / self.record_size.max(1))),
        }
    }

    fn report(&self) -> Report {
        let kind = if self.rate.is_some() { "produce-open" } else { "produce" };
        let report = Report::new(kind)
            .setting("brokers", self.target.brokers.clone())
            .setting("topics", self.topics.topics)
            .setting("partitions", self.topics.partitions)
            .setting("record_size", self.record_size)
            .setting("producers", self.producers)
            .setting("acks", self.acks.property())
            .setting("idempotent", self.idempotent)
            .setting("linger_ms", self.linger_ms)
            .setting("batch_size", self.batch_size)
            .setting("in_flight", self.in_flight)
            .setting("compression", self.compression.clone());
        self.rate.into_iter().fold(report, |report, rate| report.setting("rate_per_s", rate))
    }
}

/// How much one producer sends, and when.
#[derive(Clone, Copy, Debug)]
enum Load {
    Records(u64),
    Until(Duration),
    Open(Schedule, u64),
}

/// Runs `produce`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = Arc::new(SystemClock::default());
    let names = options.topics.names();
    let (partitions, replication) = (options.topics.partitions, options.topics.replication);
    options.target.connect()?.create_topics(&*clock, &names, partitions, replication)?;
    let producers = (0..options.producers.max(1))
        .map(|_| Sender::warmed_up(options, &names, &clock))
        .collect::<Result<Vec<_>, _>>()?;

    let meter = Meter::start(&*clock, options.target.broker_pid);
    let started = clock.monotonic();
    let (sent, tally) = send_all(options, &producers, &*clock)?;
    let mut usage = meter.finish(&*clock);
    // The last acknowledgement ends the run, not the flush that noticed it.
    usage.elapsed = tally.last_report.saturating_sub(started);

    let mut report = options.report();
    report.throughput(tally.acked, tally.acked_bytes, &usage);
    report.latencies(&tally.latencies);
    judge(&mut report, sent, &tally);
    Ok(report)
}

fn judge(report: &mut Report, sent: u64, tally: &Tally) {
    if tally.acked < sent {
        let reason = tally.first_error.as_deref().unwrap_or("no answer in time");
        report.problem(format!(
            "{} of {sent} records not acknowledged: {reason}",
            sent - tally.acked
        ));
    }
}

fn send_all(
    options: &Options,
    senders: &[Sender],
    clock: &dyn Clock,
) -> Result<(u64, Tally), Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> = senders
            .iter()
            .enumerate()
            .map(|(index, sender)| {
                let load = options.load(clock, index as u64);
                scope.spawn(move || sender.send(load, clock))
            })
            .collect();
        let mut total = (0, Tally::default());
        for thread in threads {
            let (sent, tally) = thread.join().map_err(|_| Failure::Panicked)??;
            total.0 += sent;
            total.1.merge(tally);
        }
        Ok(total)
    })
}

/// One producer and what it sends.
struct Sender {
    producer: Producer,
    payloads: Payloads,
    topics: u64,
    partitions: u64,
}

impl Sender {
    fn warmed_up(
        options: &Options,
        names: &[String],
        clock: &Arc<SystemClock>,
    ) -> Result<Self, ClientError> {
        let sender = Self {
            producer: Producer::start(&options.config(), names, clock)?,
            payloads: Payloads::new(options.record_size as usize),
            topics: names.len() as u64,
            partitions: u64::from(options.topics.partitions.max(1)),
        };
        (0..options.warmup_records).try_for_each(|index| sender.send_one(index, Duration::ZERO))?;
        sender.producer.flush(FLUSH_TIMEOUT);
        Ok(sender)
    }

    fn send_one(&self, index: u64, intended: Duration) -> Result<(), ClientError> {
        let topic = index % self.topics;
        let partition = (index / self.topics) % self.partitions;
        let payload = self.payloads.get(index);
        self.producer.send(topic as usize, partition as i32, payload, intended)
    }

    /// Sends everything and waits for the reports. Returns how many records were sent.
    fn send(&self, load: Load, clock: &dyn Clock) -> Result<(u64, Tally), ClientError> {
        let sent = match load {
            Load::Records(total) => self.send_while(clock, |index, _| index < total),
            Load::Until(end) => self.send_while(clock, |_, now| now < end),
            Load::Open(schedule, total) => {
                sharpen_sleep();
                drive(clock, schedule, total, |index, due| self.send_one(index, due))?;
                Ok(total)
            }
        }?;
        Ok((sent, self.producer.flush(FLUSH_TIMEOUT)))
    }

    /// A closed loop: each record is due when the client accepted the one before.
    fn send_while(
        &self,
        clock: &dyn Clock,
        goes_on: impl Fn(u64, Duration) -> bool,
    ) -> Result<u64, ClientError> {
        let mut index = 0;
        loop {
            let now = clock.monotonic();
            if !goes_on(index, now) {
                return Ok(index);
            }
            self.send_one(index, now)?;
            index += 1;
        }
    }
}
