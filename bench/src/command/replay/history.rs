//! Fills the history that is going to be replayed, once.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};

use super::super::produce::{self, Acks};
use super::super::{Failure, options::Topics};
use super::Options;
use crate::client::Consumer;
use crate::metrics_page::{MERGE_QUEUE, MetricsUrl, UNFLUSHED_BYTES};

const POLL: Duration = Duration::from_millis(200);
/// Longer than the default flush interval of any broker that has such a thing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(180);
/// Merging begins when flushes end and takes as long as reading and writing all of it.
const MERGE_TIMEOUT: Duration = Duration::from_secs(600);
/// One look may fall between two merges.
const ZEROS_IN_A_ROW: u32 = 10;

/// Writes what is missing and waits until the broker has put it where history lives. Says how many
/// payload bytes there are, taking every record for one of `--record-size`.
pub(super) fn fill(options: &Options, clock: &Arc<SystemClock>) -> Result<u64, Failure> {
    let topic = std::slice::from_ref(&options.topic);
    let (partitions, replication) = (options.partitions, options.replication);
    options.target.connect()?.create_topics(&**clock, topic, partitions, replication)?;
    let there = stored(options)?;
    if there < options.history {
        let report = produce::run(&producer(options, topics(options), options.history - there))?;
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(Failure::Unusable(problem));
        }
    }
    if let Some(page) = &options.metrics {
        let flushed = "the history did not reach the bucket";
        await_zero(page, UNFLUSHED_BYTES, (FLUSH_TIMEOUT, flushed), &**clock)?;
        let merged = "the broker still merges what was written: nothing is quiet";
        await_zero(page, MERGE_QUEUE, (MERGE_TIMEOUT, merged), &**clock)?;
    }
    stored(options)
}

fn stored(options: &Options) -> Result<u64, Failure> {
    let config = options.target.config().with(&options.target.properties);
    let topic = std::slice::from_ref(&options.topic);
    let marks = Consumer::watermarks(&config, topic, options.partitions)?;
    let records = marks.iter().flatten().map(|marks| (marks.high - marks.low).unsigned_abs());
    Ok(records.sum::<u64>() * options.record_size)
}

fn topics(options: &Options) -> Topics {
    Topics {
        topic: options.topic.clone(),
        topics: 1,
        partitions: options.partitions,
        replication: options.replication,
    }
}

/// As fast as it goes, in the batches that `produce` makes by default.
pub(super) fn producer(options: &Options, topics: Topics, bytes: u64) -> produce::Options {
    produce::Options {
        target: options.target.clone(),
        topics,
        record_size: options.record_size,
        bytes,
        seconds: None,
        rate: None,
        producers: 1,
        acks: Acks::All,
        idempotent: false,
        linger_ms: 5.0,
        batch_size: 1_000_000,
        in_flight: 5,
        queue: 32 << 20,
        compression: "none".into(),
        warmup_records: 0,
    }
}

/// Waits until the gauge `name` has been 0 for a while. A page without the figure is not Antiphon's,
/// and then there is nothing to wait for.
fn await_zero(
    page: &MetricsUrl,
    name: &str,
    (timeout, otherwise): (Duration, &str),
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let deadline = clock.monotonic() + timeout;
    let mut zeros = 0;
    while zeros < ZEROS_IN_A_ROW {
        match page.fetch()?.value(name) {
            None => return Ok(()),
            Some(value) if value > 0.0 => zeros = 0,
            Some(_) => zeros += 1,
        }
        if clock.monotonic() > deadline {
            return Err(Failure::Unusable(otherwise.into()));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
