//! Looks at the counters of a replay while it runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};

use super::crowd::Crowd;
use crate::metrics_page::{HISTORY_GETS, HISTORY_READ_BYTES, MetricsUrl};
use crate::process::memory;
use crate::series::Series;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A metrics page costs the broker something; one look in this many includes it.
const PAGE_EVERY: u32 = 10;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Bytes that the replaying clients have received.
    pub(super) delivered: Series,
    /// The broker's reads of its bucket.
    pub(super) gets: Series,
    /// Bytes that those returned.
    pub(super) read: Series,
    /// The most that was resident at any look; 0 when the broker's pid is unknown.
    pub(super) resident_max: f64,
}

/// A thread that looks until [`Watch::finish`].
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

/// What to look at.
struct Subject {
    clients: Vec<Arc<AtomicU64>>,
    page: Option<MetricsUrl>,
    broker: Option<u32>,
}

impl Watch {
    pub(super) fn start(
        crowd: &Crowd,
        page: Option<MetricsUrl>,
        broker: Option<u32>,
        clock: &Arc<SystemClock>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, clock) = (Arc::clone(&stop), Arc::clone(clock));
        let subject = Subject { clients: crowd.counters(), page, broker };
        let look = move || subject.watch(&stopped, &*clock);
        let thread = thread::Builder::new().name("watch".into()).spawn(look)?;
        Ok(Self { stop, thread })
    }

    /// Stops looking. A watcher that panicked saw nothing.
    pub(super) fn finish(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Subject {
    fn watch(&self, stop: &AtomicBool, clock: &dyn Clock) -> Watched {
        let mut watched = Watched::default();
        for look in 0.. {
            let last = stop.load(Ordering::Relaxed);
            self.look(&mut watched, clock, last || look % PAGE_EVERY == 0);
            if last {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        watched
    }

    fn look(&self, watched: &mut Watched, clock: &dyn Clock, with_page: bool) {
        let delivered: u64 = self.clients.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        watched.delivered.push(clock.monotonic(), delivered as f64);
        if let Some(memory) = self.broker.and_then(memory) {
            watched.resident_max = watched.resident_max.max(memory.resident.get() as f64);
        }
        let page = self.page.as_ref().filter(|_| with_page).and_then(|page| page.fetch().ok());
        let Some(page) = page else { return };
        let now = clock.monotonic();
        let note = |series: &mut Series, name| {
            if let Some(value) = page.value(name) {
                series.push(now, value);
            }
        };
        note(&mut watched.gets, HISTORY_GETS);
        note(&mut watched.read, HISTORY_READ_BYTES);
    }
}
