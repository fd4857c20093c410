//! Whether live traffic flows, and how much of it: looked up when somebody wants to know, so that
//! live traffic itself counts nothing for it.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a reading holds, and over how long a rate is taken.
const WINDOW: Duration = Duration::from_millis(100);
/// Without a look for this long, the last reading says nothing about now.
const STALE: Duration = Duration::from_secs(2);

/// The rate of live appends.
pub(super) struct LiveRate {
    appended: Box<dyn Fn() -> u64 + Send + Sync>,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    appended: u64,
    rate: u64,
}

impl fmt::Debug for LiveRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveRate").field("reading", &self.reading).finish_non_exhaustive()
    }
}

impl LiveRate {
    pub(super) fn new(appended: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let reading = Reading { at: Instant::now(), appended: appended(), rate: 0 };
        Self { appended: Box::new(appended), reading: Mutex::new(reading) }
    }

    /// Bytes a second that live traffic appends; `None` when it rests.
    pub(super) fn now(&self) -> Option<u64> {
        let mut reading = self.reading.lock();
        let elapsed = reading.at.elapsed();
        if elapsed >= WINDOW {
            let appended = (self.appended)();
            let grown = appended.saturating_sub(reading.appended);
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
            // After a long pause the mean over it is no rate; look again in a moment.
            let rate = if elapsed > STALE { 0 } else { grown.saturating_mul(1000) / millis };
            *reading = Reading { at: Instant::now(), appended, rate };
        }
        (reading.rate > 0).then_some(reading.rate)
    }
}
