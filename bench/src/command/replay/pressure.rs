//! Everything at once: consumers replay while a producer goes as fast as it can. What counts is the
//! broker's memory.

use std::sync::Arc;

use antiphon_common::SystemClock;

use super::super::options::Topics;
use super::super::{Failure, produce};
use super::crowd::Crowd;
use super::watch::Watch;
use super::{Load, MIB, Options, history};
use crate::metrics_page::MEMORY_BUDGETS;
use crate::report::Report;

/// Bar and report speak of 10^6 bytes.
const MB: f64 = 1e6;

/// Runs `load` beside a producer for `seconds`.
pub(super) fn run(
    options: &Options,
    load: Load,
    seconds: u64,
    clock: &Arc<SystemClock>,
) -> Result<Report, Failure> {
    let mut crowd = Crowd::start(options, load, &**clock)?;
    let (page, broker) = (options.metrics.clone(), options.target.broker_pid);
    let watch = Watch::start(&crowd, page, broker, clock)?;
    let topic = format!("{}-pressure", options.topic);
    let topics = Topics { topic, topics: 1, partitions: options.partitions, replication: 1 };
    let load_of = history::producer(options, topics, u64::MAX);
    let mut report = produce::run(&produce::Options { seconds: Some(seconds), ..load_of })?;
    let watched = watch.finish();
    crowd.check()?;
    report.kind = "pressure".into();
    report.settings.insert("replays".into(), load.replays.into());
    report.metric("replay_mib_s", watched.delivered.mean_rate() / MIB);
    report.metric("broker_rss_max_mb", watched.resident_max / MB);
    if let Some(budget) = budget(options) {
        report.metric("memory_budget_mb", budget / MB);
        report.metric("rss_above_budget_mb", (watched.resident_max - budget) / MB);
    }
    Ok(report)
}

/// What the broker says it may use, or else what the caller says.
fn budget(options: &Options) -> Option<f64> {
    let page = options.metrics.as_ref().and_then(|page| page.fetch().ok());
    let said = page.and_then(|page| page.sum(&MEMORY_BUDGETS));
    said.or(options.budget.map(|bytes| bytes as f64))
}
