//! The database's clock: ours, so that a simulation decides what time it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::Clock;
use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};

/// Wall time as of its creation plus the time that has passed since: the database panics when time
/// goes back while it runs, which wall time does whenever the machine's clock is set.
#[derive(Debug)]
pub(super) struct DatabaseClock {
    clock: Arc<dyn Clock>,
    started_at_ms: i64,
    started: Duration,
}

impl DatabaseClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { started_at_ms: clock.now().get(), started: clock.monotonic(), clock }
    }
}

impl SystemClock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = self.clock.monotonic().saturating_sub(self.started).as_millis();
        let now_ms = self.started_at_ms.saturating_add(passed as i64);
        DateTime::from_timestamp_millis(now_ms).unwrap_or_default()
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}
