//! Fills the history that is going to be replayed, once.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};

use super::super::produce::{self, Acks};
use super::super::{Failure, options::Topics};
use super::Options;
use crate::client::Consumer;
use crate::metrics_page::{MetricsUrl, UNFLUSHED_BYTES};

const POLL: Duration = Duration::from_millis(200);
/// Longer than the default flush interval of any broker that has such a thing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(180);

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
        await_flush(page, &**clock)?;
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

/// A page without the figure is not Antiphon's, and then there is nothing to wait for.
fn await_flush(page: &MetricsUrl, clock: &dyn Clock) -> Result<(), Failure> {
    let deadline = clock.monotonic() + FLUSH_TIMEOUT;
    while page.fetch()?.value(UNFLUSHED_BYTES).is_some_and(|bytes| bytes > 0.0) {
        if clock.monotonic() > deadline {
            return Err(Failure::Unusable("the history did not reach the bucket".into()));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
