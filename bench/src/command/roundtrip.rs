//! `roundtrip`: request and reply at a fixed rate.
//!
//! ```text
//! sender --requests topic--> echo worker --replies topic--> receiver
//! ```
//!
//! A request carries its number and the moment it was due; the echo sends the payload back
//! unchanged. The latency is two produces, two fetches and the client's own wake-ups, counted from
//! the due moment. All three run in this process, so there is one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock, scheduling};
use clap::Args;

use super::Failure;
use super::options::Target;
use crate::client::{ClientError, Config, Consumer, Producer, Start};
use crate::latency::Latencies;
use crate::pace::{Schedule, drive, sharpen_sleep};
use crate::process::{Meter, Usage};
use crate::report::Report;

/// How long a worker waits for a record before it looks whether it should stop.
const POLL: Duration = Duration::from_millis(100);
/// Replies that take longer than this after the last request are lost.
const LAST_REPLY: Duration = Duration::from_secs(10);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// Number and due time, eight bytes each, lead every payload.
const HEADER_BYTES: usize = 16;

/// Options of `roundtrip`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: Target,

    /// Prefix of the two topics, `-requests` and `-replies`.
    #[arg(long, default_value = "roundtrip")]
    pub(super) topic: String,

    /// Partitions of each topic.
    #[arg(long, default_value_t = 1)]
    pub(super) partitions: u32,

    /// Replicas of each partition.
    #[arg(long, default_value_t = 1)]
    pub(super) replication: i16,

    /// Requests per second.
    #[arg(long, default_value_t = 300, value_name = "PER_SECOND")]
    pub(super) rate: u64,

    /// How long to measure.
    #[arg(long, default_value_t = 15)]
    pub(super) seconds: u64,

    /// How long to run before measuring.
    #[arg(long, default_value_t = 3)]
    pub(super) warmup_seconds: u64,

    /// Payload bytes of each request, at least 16.
    #[arg(long, default_value_t = 256)]
    pub(super) record_size: usize,
}

impl Options {
    fn producer_config(&self) -> Config {
        let config = self.target.config().set("acks", "all").set("linger.ms", 0);
        config.with(&self.target.properties)
    }

    fn consumer_config(&self) -> Config {
        self.target.config().set("enable.auto.commit", "false").with(&self.target.properties)
    }

    /// A reader of `topic` from where it ends now.
    fn reader(&self, topic: &String) -> Result<Consumer, ClientError> {
        let config = self.consumer_config();
        let topic = std::slice::from_ref(topic);
        let marks = Consumer::watermarks(&config, topic, self.partitions)?;
        let ends = marks.iter().flatten().enumerate();
        let starts: Vec<Start> = ends
            .map(|(partition, marks)| Start {
                topic: 0,
                partition: partition as i32,
                offset: marks.high,
            })
            .collect();
        Consumer::assign(&config, topic, &starts)
    }
}

/// Runs `roundtrip`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let exchange = measure(options, &Arc::new(SystemClock::default()))?;
    Ok(report(options, &exchange))
}

/// What a run saw, without its warm-up.
pub(super) struct Exchange {
    /// When the measured part began (monotonic).
    pub(super) began: Duration,
    /// What the measured part cost.
    pub(super) usage: Usage,
    /// The replies.
    pub(super) inbox: Inbox,
    refused: u64,
}

impl Exchange {
    /// Why the run does not count, if it does not.
    pub(super) fn problem(&self) -> Option<String> {
        let (missing, repeated) = (self.inbox.missing, self.inbox.repeated);
        let refused = self.refused;
        let fine = missing + repeated + refused == 0;
        (!fine).then(|| format!("{missing} replies missing, {repeated} twice, {refused} refused"))
    }
}

/// Exchanges requests and replies; topics are created where they do not exist.
pub(super) fn measure(options: &Options, clock: &Arc<SystemClock>) -> Result<Exchange, Failure> {
    let [requests, replies] =
        ["requests", "replies"].map(|role| format!("{}-{role}", options.topic));
    let topics = [requests.clone(), replies.clone()];
    let (partitions, replication) = (options.partitions, options.replication);
    options.target.connect()?.create_topics(&**clock, &topics, partitions, replication)?;

    // The client's threads inherit it. What they wait for a processor is no broker's latency.
    let _ = scheduling::prefer_short_waits();
    let sender =
        Producer::start(&options.producer_config(), std::slice::from_ref(&requests), clock)?;
    let echo = Producer::start(&options.producer_config(), std::slice::from_ref(&replies), clock)?;
    let (requests, replies) = (options.reader(&requests)?, options.reader(&replies)?);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let echoing = scope.spawn(|| answer(requests, &echo, &stop));
        let outcome = exchange(options, &sender, replies, clock, &stop);
        stop.store(true, Ordering::Relaxed);
        echoing.join().map_err(|_| Failure::Panicked)??;
        outcome
    })
}

/// The echo worker.
fn answer(mut requests: Consumer, echo: &Producer, stop: &AtomicBool) -> Result<(), ClientError> {
    while !stop.load(Ordering::Relaxed) {
        let mut outcome = Ok(());
        requests.poll_one(POLL, |request| {
            outcome = echo.send_copy(0, request.partition, request.payload);
        })?;
        outcome?;
    }
    Ok(())
}

/// Sends all requests while a thread collects the replies.
fn exchange(
    options: &Options,
    sender: &Producer,
    replies: Consumer,
    clock: &Arc<SystemClock>,
    stop: &AtomicBool,
) -> Result<Exchange, Failure> {
    let schedule = Schedule::new(clock.monotonic(), options.rate);
    let warmup = schedule.total(Duration::from_secs(options.warmup_seconds));
    let total = warmup + schedule.total(Duration::from_secs(options.seconds));
    thread::scope(|scope| {
        let inbox = Inbox::expecting(warmup, total);
        let collecting = scope.spawn(|| collect(replies, inbox, &**clock, stop));
        let sending = send(options, sender, schedule, (warmup, total), &**clock);
        let tally = sender.flush(FLUSH_TIMEOUT);
        let end = clock.monotonic() + LAST_REPLY;
        while !collecting.is_finished() && sending.is_ok() && clock.monotonic() < end {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let inbox = collecting.join().map_err(|_| Failure::Panicked)??;
        let (began, usage) = sending?;
        Ok(Exchange { began, usage, inbox, refused: tally.failed })
    })
}

/// Sends on schedule. The cost is metered over the measured part only, whose beginning is returned
/// with it.
fn send(
    options: &Options,
    sender: &Producer,
    schedule: Schedule,
    (warmup, total): (u64, u64),
    clock: &dyn Clock,
) -> Result<(Duration, Usage), ClientError> {
    sharpen_sleep();
    let start = || Meter::start(clock, options.target.broker_pid);
    let (mut began, mut meter) = (clock.monotonic(), start());
    let mut payload = vec![0; options.record_size.max(HEADER_BYTES)];
    let partitions = u64::from(options.partitions.max(1));
    drive(clock, schedule, total, |index, due| {
        if index == warmup {
            (began, meter) = (clock.monotonic(), start());
        }
        stamp(&mut payload, index, due);
        sender.send_copy(0, (index % partitions) as i32, &payload)
    })?;
    Ok((began, meter.finish(clock)))
}

fn stamp(payload: &mut [u8], index: u64, due: Duration) {
    payload[..8].copy_from_slice(&index.to_be_bytes());
    payload[8..HEADER_BYTES].copy_from_slice(&(due.as_nanos() as u64).to_be_bytes());
}

/// Number and due time of a reply; `None` when it is not one of ours.
fn unstamp(payload: &[u8]) -> Option<(u64, Duration)> {
    let (index, rest) = payload.split_first_chunk::<8>()?;
    let (due, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*index), Duration::from_nanos(u64::from_be_bytes(*due))))
}

/// Which replies came.
#[derive(Debug)]
pub(super) struct Inbox {
    warmup: u64,
    arrived: Vec<bool>,
    missing: u64,
    repeated: u64,
    /// From the due moment to the reply.
    pub(super) latencies: Latencies,
}

impl Inbox {
    fn expecting(warmup: u64, total: u64) -> Self {
        let arrived = vec![false; total as usize];
        Self { warmup, arrived, missing: total, repeated: 0, latencies: Latencies::default() }
    }

    fn take(&mut self, payload: &[u8], now: Duration) {
        let Some((index, due)) = unstamp(payload) else { return };
        let Some(arrived) = self.arrived.get_mut(index as usize) else { return };
        if std::mem::replace(arrived, true) {
            self.repeated += 1;
            return;
        }
        self.missing -= 1;
        if index >= self.warmup {
            self.latencies.record(now.saturating_sub(due));
        }
    }
}

fn collect(
    mut replies: Consumer,
    mut inbox: Inbox,
    clock: &dyn Clock,
    stop: &AtomicBool,
) -> Result<Inbox, ClientError> {
    while inbox.missing > 0 && !stop.load(Ordering::Relaxed) {
        replies.poll_one(POLL, |reply| inbox.take(reply.payload, clock.monotonic()))?;
    }
    Ok(inbox)
}

fn report(options: &Options, exchange: &Exchange) -> Report {
    let mut report = Report::new("roundtrip")
        .setting("brokers", options.target.brokers.clone())
        .setting("partitions", options.partitions)
        .setting("rate_per_s", options.rate)
        .setting("record_size", options.record_size);
    let latencies = &exchange.inbox.latencies;
    let measured = latencies.count();
    report.throughput(measured, measured * options.record_size as u64, &exchange.usage);
    report.latencies(latencies);
    exchange.problem().into_iter().for_each(|problem| report.problem(problem));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_counts_once_and_from_its_due_time() {
        let mut inbox = Inbox::expecting(1, 2);
        let mut payload = vec![0; HEADER_BYTES];
        stamp(&mut payload, 1, Duration::from_millis(10));
        inbox.take(&payload, Duration::from_millis(15));
        inbox.take(&payload, Duration::from_millis(16));
        assert_eq!((inbox.missing, inbox.repeated, inbox.latencies.count()), (1, 1, 1));
        let p50 = inbox.latencies.percentiles_ms()[0].1;
        assert!((p50 - 5.0).abs() < 0.01, "{p50}");
    }

    #[test]
    fn warm_up_replies_and_foreign_records_leave_no_latency() {
        let mut inbox = Inbox::expecting(1, 2);
        let mut payload = vec![0; HEADER_BYTES];
        stamp(&mut payload, 0, Duration::ZERO);
        inbox.take(&payload, Duration::from_millis(1));
        inbox.take(b"short", Duration::from_millis(1));
        stamp(&mut payload, 99, Duration::ZERO);
        inbox.take(&payload, Duration::from_millis(1));
        assert_eq!((inbox.missing, inbox.latencies.count()), (1, 0));
    }
}
