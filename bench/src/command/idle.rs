//! `idle`: how fast a counter grows while nobody does anything.

use std::thread;
use std::time::Duration;

use antiphon_common::SystemClock;
use clap::Args;

use super::Failure;
use super::options::Target;
use crate::metrics_page::{MetricsUrl, Page};
use crate::process::Meter;
use crate::report::Report;

const SECONDS_PER_HOUR: f64 = 3600.0;

/// Options of `idle`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    target: Target,

    /// The page with the counter.
    #[arg(long, value_parser = MetricsUrl::parse, value_name = "http://HOST:PORT/metrics")]
    metrics: MetricsUrl,

    /// The counter; the sum over all its labels counts. MinIO's by default.
    #[arg(long, default_value = "minio_s3_requests_total")]
    counter: String,

    /// How long to watch. An hour's worth is extrapolated from it.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// Runs `idle`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = SystemClock::default();
    let before = options.metrics.fetch()?;
    let meter = Meter::start(&clock, options.target.broker_pid);
    thread::sleep(Duration::from_secs(options.seconds));
    let after = options.metrics.fetch()?;
    let usage = meter.finish(&clock);
    let requests = growth(&options.counter, &before, &after);
    let hours = usage.elapsed.as_secs_f64() / SECONDS_PER_HOUR;
    let mut report = Report::new("idle")
        .setting("counter", options.counter.clone())
        .setting("seconds", options.seconds);
    report.metric("requests", requests);
    report.metric("requests_per_hour", requests / hours);
    report.memory(&usage);
    if let Some(cpu) = usage.broker_cpu {
        report.metric("idle_cpu_percent", cpu.as_secs_f64() / hours / SECONDS_PER_HOUR * 100.0);
    }
    Ok(report)
}

/// A counter that nothing has counted yet is not on the page.
fn growth(counter: &str, before: &Page, after: &Page) -> f64 {
    let value = |page: &Page| page.value(counter).unwrap_or_default();
    value(after) - value(before)
}
