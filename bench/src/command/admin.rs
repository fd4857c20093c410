//! `wait` and `delete`: the steps around a measurement.

use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;

use super::Failure;
use super::options::{Target, Topics};
use crate::report::Report;
use crate::wire::{Connection, RequestError};

/// How often a broker that is not up yet is asked again.
const RETRY: Duration = Duration::from_millis(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Options of `wait`.
#[derive(Args, Debug)]
pub struct WaitOptions {
    #[command(flatten)]
    target: Target,

    /// Give up after this long.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

/// Options of `delete`.
#[derive(Args, Debug)]
pub struct DeleteOptions {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    topics: Topics,
}

/// What a broker that just came up said.
pub(super) struct Ready {
    /// Time until the first answer with a broker in it.
    pub(super) first_metadata: Duration,
    /// Time until every partition of every topic had a leader.
    pub(super) all_leaders: Duration,
}

/// Asks `address` for metadata until the answer names a broker, then until all partitions are led.
/// `None` after `timeout`, or when `alive` says that waiting is pointless.
pub(super) fn await_ready(
    clock: &dyn Clock,
    address: &str,
    timeout: Duration,
    mut alive: impl FnMut() -> bool,
) -> Option<Ready> {
    let started = clock.monotonic();
    let elapsed = || clock.monotonic().saturating_sub(started);
    let mut first_metadata = None;
    while elapsed() < timeout && alive() {
        if let Ok(all_led) = ask(address) {
            let first = *first_metadata.get_or_insert_with(elapsed);
            if all_led {
                return Some(Ready { first_metadata: first, all_leaders: elapsed() });
            }
        }
        thread::sleep(RETRY);
    }
    None
}

/// Whether every partition has a leader; an error as long as no broker is named.
fn ask(address: &str) -> Result<bool, RequestError> {
    let metadata = Connection::open(address, CONNECT_TIMEOUT)?.metadata(&[])?;
    if metadata.brokers.is_empty() {
        return Err(RequestError::Malformed { address: address.into() });
    }
    Ok(metadata.topics.iter().all(|topic| topic.is_ready(1)))
}

pub(super) fn wait(options: &WaitOptions) -> Result<Report, Failure> {
    let address = &options.target.brokers;
    let timeout = Duration::from_secs(options.timeout);
    let ready = await_ready(&SystemClock::default(), address, timeout, || true);
    let ready = ready.ok_or_else(|| {
        let command = "wait".into();
        Failure::NotReady { command, address: address.clone(), seconds: options.timeout }
    })?;
    let mut report = Report::new("wait").setting("brokers", address.clone());
    report.metric("first_metadata_ms", ready.first_metadata.as_secs_f64() * 1e3);
    Ok(report)
}

pub(super) fn delete(options: &DeleteOptions) -> Result<Report, Failure> {
    let names = options.topics.names();
    options.target.connect()?.delete_topics(&names)?;
    Ok(Report::new("delete").setting("topics", names))
}
