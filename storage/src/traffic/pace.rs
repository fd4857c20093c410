//! A token bucket that goes into debt: a request starts when what was charged before it is paid
//! off, however large it is itself.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The most that an idle pace saves up, in seconds of its rate.
const BURST: Duration = Duration::from_millis(250);
/// The longest that one request is made to wait, whatever was charged before it.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// When everything that was charged will be paid off.
#[derive(Debug, Default)]
pub(super) struct Pace {
    paid_off: Mutex<Option<Instant>>,
}

impl Pace {
    /// Charges `bytes` at `rate` bytes a second; returns how long to wait before they may start.
    pub(super) fn charge(&self, bytes: u64, rate: u64) -> Duration {
        let now = Instant::now();
        let mut paid_off = self.paid_off.lock();
        let saved = now.checked_sub(BURST).unwrap_or(now);
        let start = paid_off.map_or(saved, |at| at.max(saved));
        // A debt made at a lower rate, or by a giant, must not hold everybody for minutes.
        let start = start.min(now + PAUSE_MAX);
        *paid_off = Some(start + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
        start.saturating_duration_since(now)
    }

    /// Whether a request would have to wait at `rate`.
    pub(super) fn is_behind(&self, _rate: u64) -> bool {
        self.paid_off.lock().is_some_and(|at| at > Instant::now())
    }
}
