//! `gets`: how fast objects come out of a bucket when nobody does anything with them.
//!
//! The ceiling of a cold replay: the same objects, by ranges of the same size, as many at a time,
//! through the client that the broker reads with (`object_store`). The bytes are counted and dropped.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::Failure;
use super::options::parse_bytes;
use crate::latency::Latencies;
use crate::process::Meter;
use crate::replay::Phase;
use crate::report::Report;

/// Options of `gets`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where the objects are; endpoint and credentials come from the `AWS_*` environment.
    #[arg(long, value_parser = Place::parse, value_name = "s3://BUCKET/PREFIX")]
    store: Place,

    /// GETs in flight.
    #[arg(long, default_value_t = 4)]
    concurrency: usize,

    /// Bytes asked for by each GET; the last one of an object asks for what is left.
    #[arg(long, default_value = "1MiB", value_parser = parse_bytes, value_name = "BYTES")]
    get_bytes: u64,

    /// Takes both from this replay report instead: a GET for each partition that its consumers read
    /// at once, of the mean size that the broker's GETs had.
    #[arg(long, value_name = "FILE", requires = "consumers")]
    like: Option<PathBuf>,

    /// How many of the report's consumers.
    #[arg(long, value_name = "CONSUMERS")]
    consumers: Option<u32>,

    /// How long to run; the objects are read over and over.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// A bucket and a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    bucket: String,
    prefix: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or("expected s3://BUCKET/PREFIX")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { bucket: bucket.into(), prefix: prefix.trim_end_matches('/').into() })
    }

    fn open(&self) -> Result<impl ObjectStore, Failure> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let builder = AmazonS3Builder::from_env().with_bucket_name(&self.bucket);
        Ok(builder.with_allow_http(true).build()?)
    }
}

/// Runs `gets`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let clock = Arc::new(SystemClock::default());
    let shape = Shape::of(options)?;
    let store = Arc::new(options.store.open()?);
    let job = runtime.block_on(Job::plan(&*store, &options.store, shape.get_bytes, clock))?;
    if job.ranges.is_empty() {
        return Err(Failure::Unusable(format!("no objects in {:?}", options.store)));
    }
    let job = Arc::new(job);
    let meter = Meter::start(&*job.clock, None);
    let tally =
        runtime.block_on(Arc::clone(&job).run(store, shape.concurrency, options.seconds))?;
    let usage = meter.finish(&*job.clock);
    let mut report = Report::new("gets")
        .setting("concurrency", shape.concurrency)
        .setting("get_bytes", shape.get_bytes);
    report.throughput(tally.gets, tally.bytes, &usage);
    report.latencies(&tally.latencies);
    Ok(report)
}

/// How many at a time, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    concurrency: usize,
    get_bytes: u64,
}

impl Shape {
    fn of(options: &Options) -> Result<Self, Failure> {
        let asked = Self { concurrency: options.concurrency, get_bytes: options.get_bytes };
        let Some((path, consumers)) = options.like.as_ref().zip(options.consumers) else {
            return Ok(asked);
        };
        let report = serde_json::from_slice(&std::fs::read(path)?).map_err(std::io::Error::from)?;
        Ok(asked.like(&report, consumers))
    }

    /// What the report does not say stays as it was asked for. Sizes are rounded up to whole KiB.
    fn like(self, report: &Report, consumers: u32) -> Self {
        let partitions = report.settings.get("partitions").and_then(serde_json::Value::as_u64);
        let alone = |phase: &&Phase| phase.replays == consumers && !phase.live;
        let phase = report.phases.iter().find(alone);
        let kib = phase.and_then(|phase| phase.metrics.get("mean_get_kib"));
        Self {
            concurrency: partitions
                .map_or(self.concurrency, |each| consumers as usize * each as usize),
            get_bytes: kib.map_or(self.get_bytes, |kib| kib.ceil() as u64 * 1024),
        }
    }
}

/// Every range of every object, to be read in order, by whoever is free.
struct Job {
    ranges: Vec<(Path, Range<u64>)>,
    next: AtomicUsize,
    clock: Arc<SystemClock>,
}

#[derive(Default)]
struct Tally {
    gets: u64,
    bytes: u64,
    latencies: Latencies,
}

impl Job {
    async fn plan(
        store: &impl ObjectStore,
        place: &Place,
        get_bytes: u64,
        clock: Arc<SystemClock>,
    ) -> Result<Self, Failure> {
        let prefix = Path::from(place.prefix.as_str());
        let objects: Vec<_> = store.list(Some(&prefix)).try_collect().await?;
        let of_object = |object: &object_store::ObjectMeta| {
            let path = object.location.clone();
            cut(object.size, get_bytes).map(move |range| (path.clone(), range)).collect::<Vec<_>>()
        };
        let ranges = objects.iter().flat_map(of_object).collect();
        Ok(Self { ranges, next: AtomicUsize::new(0), clock })
    }

    async fn run(
        self: Arc<Self>,
        store: Arc<impl ObjectStore>,
        concurrency: usize,
        seconds: u64,
    ) -> Result<Tally, Failure> {
        let until = self.clock.monotonic() + Duration::from_secs(seconds);
        let start = |_| tokio::spawn(Arc::clone(&self).read(Arc::clone(&store), until));
        let readers: Vec<_> = (0..concurrency.max(1)).map(start).collect();
        let mut total = Tally::default();
        for reader in readers {
            let tally = reader.await.map_err(|_| Failure::Panicked)??;
            total.gets += tally.gets;
            total.bytes += tally.bytes;
            total.latencies.merge(&tally.latencies);
        }
        Ok(total)
    }

    /// One of the concurrent readers.
    async fn read(
        self: Arc<Self>,
        store: Arc<impl ObjectStore>,
        until: Duration,
    ) -> Result<Tally, object_store::Error> {
        let mut tally = Tally::default();
        loop {
            let began = self.clock.monotonic();
            if began >= until {
                return Ok(tally);
            }
            let index = self.next.fetch_add(1, Ordering::Relaxed) % self.ranges.len();
            let (path, range) = &self.ranges[index];
            tally.bytes += store.get_range(path, range.clone()).await?.len() as u64;
            tally.gets += 1;
            tally.latencies.record(self.clock.monotonic().saturating_sub(began));
        }
    }
}

/// An object of `size` bytes in ranges of at most `step`.
fn cut(size: u64, step: u64) -> impl Iterator<Item = Range<u64>> {
    let step = step.max(1);
    (0..size.div_ceil(step)).map(move |index| index * step..((index + 1) * step).min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_an_object_once() {
        assert_eq!(cut(10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!((cut(8, 4).count(), cut(0, 4).count(), cut(3, 0).count()), (2, 0, 3));
    }

    #[test]
    fn the_shape_of_a_replay_is_taken_from_its_report() {
        let asked = Shape { concurrency: 1, get_bytes: 4096 };
        let mut report = Report::new("replay").setting("partitions", 4);
        assert_eq!(asked.like(&report, 2), Shape { concurrency: 8, get_bytes: 4096 });
        let mut alone = Phase::new(2, 19, false);
        alone.metric("mean_get_kib", 99.5);
        report.phases = vec![Phase::quiet(), alone];
        assert_eq!(asked.like(&report, 2), Shape { concurrency: 8, get_bytes: 100 << 10 });
    }

    #[test]
    fn a_place_is_a_bucket_and_maybe_a_prefix() {
        let place =
            |bucket: &str, prefix: &str| Place { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(Place::parse("s3://b/p/q/"), Ok(place("b", "p/q")));
        assert_eq!(Place::parse("s3://b"), Ok(place("b", "")));
        assert!(Place::parse("file:///x").is_err());
    }
}
