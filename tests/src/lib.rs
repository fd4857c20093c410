//! The test kit: a broker as a process, a raw Kafka client, and the words that tests are told in.
//!
//! ```text
//!   TestBroker   starts the binary on free ports with a folder of its own; stops it, kills it,
//!       |        starts it again; fails the test over log lines that nobody expected
//!       |
//!   RawClient    bytes and typed requests of any API and version over one connection
//!       |
//!   Kafka        the vocabulary: create_topic, produce, read_all, end_offset, join, ...
//!       |
//!   Batch        record batches as producers make them, and records as consumers read them
//! ```
//!
//! Nothing here links the broker. What is tested is the binary that users run: `$ANTIPHON_BIN`, else
//! `target/release/antiphon`, else `target/debug/antiphon`.
//!
//! A helper that fails panics with what it expected: that is what fails a test. Helpers that tests
//! use while the broker is being killed return results.

mod batch;
mod binary;
mod broker;
mod client;
mod http;
mod journal;
mod kafka;
mod machine;
mod process;
mod report;
mod requests;
mod turn;

pub use batch::{Batch, Producer, Stored, now_ms, stored};
pub use binary::{antiphon, cache_dir};
pub use broker::{BrokerSetup, TestBroker};
pub use client::{CallError, RawClient, Reaction};
pub use journal::Journal;
pub use kafka::{Appended, Fetched, Kafka, TopicInfo};
pub use machine::{Footprint, bytes_written, free_port, limit_file_size};
pub use process::{Exited, run_to_end, stop_and_wait};
pub use report::{Figures, figure};
pub use requests::{Fetch, create_topics, fetch_request, produce_request, text};
pub use turn::{Turn, alone, shared};

use std::time::Duration;

use antiphon_common::{Clock, SystemClock};

/// How long a helper waits for something that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time since it was made.
#[derive(Debug, Default)]
pub struct Stopwatch(SystemClock);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self::default()
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.monotonic()
    }
}

/// Waits until `condition` gives a value; panics with `what` when [`PATIENCE`] is over.
///
/// The states waited for are those of another process, which tells nobody when they change.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// As [`eventually`], with a patience of its own.
pub fn within<T>(patience: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    const POLL: Duration = Duration::from_millis(1);
    let watch = Stopwatch::start();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(watch.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(POLL);
    }
}
