//! `replay`: what does live traffic notice while consumers replay history?
//!
//! ```text
//! history ---- cold, as fast as it goes ----> N replaying processes, by default at nice 19
//! requests --> echo --> replies               one process, open loop, latency from the due moment
//! ```
//!
//! First the request-reply traffic alone ("quiet"), then for each load the replay alone, then both at
//! once. The history must be larger than every cache of the broker, or nothing is cold; the broker's own
//! settings decide that, not this command.

pub(super) mod client;
mod crowd;
mod history;
mod pressure;
mod watch;

use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;

use super::options::{Target, parse_bytes};
use super::{Failure, roundtrip};
use crate::metrics_page::MetricsUrl;
use crate::process::{Meter, Usage};
use crate::replay::Phase;
use crate::report::Report;
use crowd::Crowd;
use watch::{Watch, Watched};

/// Between the start of a load and what is measured of it: connections, read-ahead, first blocks.
const SETTLE: Duration = Duration::from_secs(1);
/// `proc(5)`: writing 1 frees the page cache.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const GIB: f64 = 1_073_741_824.0;
const MIB: f64 = 1_048_576.0;

/// How many replay, and how politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Replaying processes.
    pub(super) replays: u32,
    /// Their scheduling priority.
    pub(super) nice: i32,
}

impl Load {
    /// A word for names of groups.
    fn slug(self) -> String {
        format!("{}-{}", self.replays, self.nice)
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (replays, nice) = text.split_once('@').unwrap_or((text, "19"));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        let load = Self { replays: number(replays)? as u32, nice: number(nice)? };
        match (load.replays, load.nice) {
            (1..=1024, -20..=19) => Ok(load),
            _ => Err("expected CONSUMERS[@NICE], such as 4 or 4@0".into()),
        }
    }
}

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(super) target: Target,

    /// The topic of the history.
    #[arg(long, default_value = "replay")]
    pub(super) topic: String,

    /// Partitions of the history.
    #[arg(long, default_value_t = 4)]
    pub(super) partitions: u32,

    /// Replicas of each partition, where topics are created.
    #[arg(long, default_value_t = 1)]
    pub(super) replication: i16,

    /// The topic is filled to this many payload bytes first; 0 takes it as it is.
    #[arg(long, default_value = "2GiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) history: u64,

    /// Payload bytes of each record of the history.
    #[arg(long, default_value = "1KiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) record_size: u64,

    /// Only fill the history.
    #[arg(long)]
    fill_only: bool,

    /// Replaying consumers, each over the whole history; `@NICE` sets their priority.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,4,16",
        value_name = "CONSUMERS[@NICE],..."
    )]
    loads: Vec<Load>,

    /// Replay through consumer groups, one per consumer and pass, instead of without a coordinator.
    #[arg(long)]
    pub(super) groups: bool,

    /// Empty the machine's page cache before each measurement of a replay (root).
    #[arg(long)]
    drop_page_cache: bool,

    /// Instead of live traffic: the first load beside a producer at full speed, for this long.
    #[arg(long, value_name = "SECONDS")]
    pressure: Option<u64>,

    /// Memory that the broker may use, where its metrics page does not say so (`--pressure`).
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES")]
    pub(super) budget: Option<u64>,

    /// How long each load is measured without live traffic.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    alone_seconds: u64,

    /// How long live traffic is measured, quiet and under each load.
    #[arg(long, default_value_t = 20)]
    seconds: u64,

    /// Live traffic before each measurement.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    warmup_seconds: u64,

    /// Requests per second.
    #[arg(long, default_value_t = 300, value_name = "PER_SECOND")]
    rate: u64,

    /// Payload bytes of each request, at least 16.
    #[arg(long, default_value_t = 256)]
    request_size: usize,

    /// The broker's metrics page, for reads of its bucket.
    #[arg(long, value_parser = MetricsUrl::parse, value_name = "http://HOST:PORT/metrics")]
    pub(super) metrics: Option<MetricsUrl>,
}

impl Options {
    fn traffic(&self) -> roundtrip::Options {
        roundtrip::Options {
            target: self.target.clone(),
            topic: format!("{}-live", self.topic),
            partitions: 1,
            replication: self.replication,
            rate: self.rate,
            seconds: self.seconds,
            warmup_seconds: self.warmup_seconds,
            record_size: self.request_size,
        }
    }

    /// Not while something is measured: it keeps a processor busy for a good part of a second.
    fn chill(&self) -> std::io::Result<()> {
        if self.drop_page_cache { std::fs::write(DROP_CACHES, "1") } else { Ok(()) }
    }

    fn report(&self) -> Report {
        let clients = if self.groups { "one group each" } else { "fixed partitions, no group" };
        Report::new("replay")
            .setting("brokers", self.target.brokers.clone())
            .setting("partitions", self.partitions)
            .setting("record_size", self.record_size)
            .setting("rate_per_s", self.rate)
            .setting("request_size", self.request_size)
            .setting("replay_clients", clients)
            .setting("drop_page_cache", self.drop_page_cache)
    }
}

/// Runs `replay`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = Arc::new(SystemClock::default());
    let bytes = history::fill(options, &clock)?;
    let mut report = options.report();
    report.metric("history_bytes", bytes as f64);
    if options.fill_only {
        return Ok(report);
    }
    if let Some((seconds, load)) = options.pressure.zip(options.loads.first()) {
        return pressure::run(options, *load, seconds, &clock);
    }
    let mut phases = vec![quiet(options, &clock, &mut report)?];
    for load in &options.loads {
        let (alone, loaded) = under(options, *load, &clock, &mut report)?;
        phases.extend([alone, loaded]);
    }
    report.phases = phases;
    Ok(report)
}

fn quiet(
    options: &Options,
    clock: &Arc<SystemClock>,
    report: &mut Report,
) -> Result<Phase, Failure> {
    let exchange = roundtrip::measure(&options.traffic(), clock)?;
    exchange.problem().into_iter().for_each(|problem| report.problem(problem));
    let mut phase = Phase::quiet();
    phase.latencies(&exchange.inbox.latencies);
    phase.usage(&exchange.usage);
    Ok(phase)
}

/// The same clients go on from the first measurement to the second, so that nothing but the live
/// traffic is different.
fn under(
    options: &Options,
    load: Load,
    clock: &Arc<SystemClock>,
    report: &mut Report,
) -> Result<(Phase, Phase), Failure> {
    options.chill()?;
    let mut crowd = Crowd::start(options, load, &**clock)?;
    let watch = Watch::start(&crowd, options.metrics.clone(), options.target.broker_pid, clock)?;
    thread::sleep(SETTLE);
    let meter = Meter::start(&**clock, options.target.broker_pid);
    let began = clock.monotonic();
    thread::sleep(Duration::from_secs(options.alone_seconds));
    let usage = meter.finish(&**clock);
    options.chill()?;
    let exchange = roundtrip::measure(&options.traffic(), clock)?;
    let watched = watch.finish();
    crowd.check()?;
    drop(crowd);

    let mut alone = Phase::new(load.replays, load.nice, false);
    describe(&mut alone, &watched, began, &usage);
    let mut loaded = Phase::new(load.replays, load.nice, true);
    loaded.latencies(&exchange.inbox.latencies);
    describe(&mut loaded, &watched, exchange.began, &exchange.usage);
    exchange.problem().into_iter().for_each(|problem| report.problem(problem));
    Ok((alone, loaded))
}

fn describe(phase: &mut Phase, watched: &Watched, began: Duration, usage: &Usage) {
    let ended = began + usage.elapsed;
    let grown = |series: &crate::series::Series| series.growth(began, ended);
    let bytes = grown(&watched.delivered).unwrap_or_default();
    phase.metric("replay_mib_s", bytes / MIB / usage.elapsed.as_secs_f64());
    if let Some(gets) = grown(&watched.gets) {
        phase.metric("gets_per_gib", gets / (bytes / GIB));
        phase.metric("gets_per_s", gets / usage.elapsed.as_secs_f64());
    }
    if let Some((read, gets)) = grown(&watched.read).zip(grown(&watched.gets)) {
        phase.metric("bucket_mib_s", read / MIB / usage.elapsed.as_secs_f64());
        phase.metric("mean_get_kib", read / 1024.0 / gets);
    }
    if let Some(cpu) = usage.broker_cpu {
        phase.metric("broker_cpu_s_per_gib", cpu.as_secs_f64() / (bytes / GIB));
    }
    phase.usage(usage);
    phase.metric("broker_rss_max_mib", watched.resident_max / MIB);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_polite_unless_told_otherwise() {
        assert_eq!("4".parse(), Ok(Load { replays: 4, nice: 19 }));
        assert_eq!("16@0".parse(), Ok(Load { replays: 16, nice: 0 }));
        for wrong in ["0", "-1", "4@20", "4@", "@3", "x"] {
            assert!(wrong.parse::<Load>().is_err(), "{wrong}");
        }
    }
}
