//! What an idle broker's storage, all of it, asks of its bucket in a day.
//!
//! Time is tokio's, paused: a day takes as long as its timers take to run.

use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::conformance::ObservedStore;

use super::HOUR;
use crate::merge::tests::kit::{Process, World};

/// The bar: what an idle broker may ask in an hour, by the hour and by any five minutes of it.
const REQUESTS_PER_HOUR: u64 = 120;
const WINDOW: Duration = Duration::from_secs(300);
const WINDOWS_PER_HOUR: usize = 12;
/// Flushes enough for the catalog to write tables: 256 changes each.
const FLUSHES: usize = 600;

struct Idle {
    world: World,
    bucket: Arc<ObservedStore>,
}

impl Idle {
    fn new() -> Self {
        let world = World::in_memory();
        let bucket = ObservedStore::new(Arc::clone(&world.store.objects));
        Self { world, bucket }
    }

    async fn open(&self) -> Process {
        let bucket = Arc::clone(&self.bucket);
        self.world.open_over(self.world.store.wrapped(|_| bucket.clone() as _)).await
    }

    fn requests(&self, kind: &str) -> u64 {
        self.bucket.requests().get(kind).copied().unwrap_or_default()
    }

    /// All but the deletions, which are what is left of work that was done: one for each file.
    fn all_requests(&self) -> u64 {
        self.bucket.requests().values().sum::<u64>() - self.requests("delete")
    }

    /// Lets time pass, by the broker's clock and for its timers.
    async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_secs(10);
        for _ in 0..time.as_secs() / STEP.as_secs() {
            self.world.advance(STEP);
            tokio::time::sleep(STEP).await;
        }
    }

    /// Requests in each five minutes of so many hours.
    async fn hours(&self, hours: usize) -> Vec<u64> {
        let mut windows = Vec::new();
        for _ in 0..hours * WINDOWS_PER_HOUR {
            let before = self.all_requests();
            self.pass(WINDOW).await;
            windows.push(self.all_requests() - before);
        }
        windows
    }
}

fn expect_frugal_hours(windows: &[u64]) {
    for hour in windows.windows(WINDOWS_PER_HOUR) {
        assert!(hour.iter().sum::<u64>() <= REQUESTS_PER_HOUR, "by hour: {windows:?}");
    }
}

/// As somebody sees it who watches for five minutes.
fn expect_frugal_windows(windows: &[u64]) {
    let most = windows.iter().max().copied().unwrap_or_default();
    let extrapolated = most * WINDOWS_PER_HOUR as u64;
    assert!(extrapolated <= REQUESTS_PER_HOUR, "by five minutes: {windows:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_broker_with_a_little_data_is_frugal() {
    let idle = Idle::new();
    let process = idle.open().await;
    process.flushes(2, 400).await;
    process.storage.start().await;
    // Two hours after the flushes their objects are merged, and ten minutes later deleted.
    expect_frugal_hours(&idle.hours(3).await);
    let windows = idle.hours(24).await;
    expect_frugal_hours(&windows);
    expect_frugal_windows(&windows);
    assert!(idle.world.fatal.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_rests_after_work_is_frugal_and_so_is_its_next_run() {
    let idle = Idle::new();
    let process = idle.open().await;
    process.flushes(FLUSHES, 400).await;
    let expected = process.histories().await;
    process.storage.start().await;
    // Merges, deletions after their grace and the catalog's own garbage are the end of the work.
    idle.pass(3 * HOUR).await;
    assert!(process.storage.stats().merge.objects > 0, "something was merged");
    expect_frugal_windows(&idle.hours(24).await);

    assert!(process.storage.close(|_| {}).await, "a clean stop");
    idle.world.crash(process);
    let process = idle.open().await;
    process.storage.start().await;
    idle.pass(3 * HOUR).await;
    expect_frugal_windows(&idle.hours(24).await);
    assert_eq!(process.histories().await, expected);
    assert!(idle.world.fatal.lock().is_empty());
}

/// Where nothing was made since a complete sweep there is nothing to find.
#[tokio::test(start_paused = true)]
async fn a_bucket_in_order_is_not_listed_again_until_something_is_put() {
    let idle = Idle::new();
    let process = idle.open().await;
    process.flushes(2, 400).await;
    process.storage.start().await;
    let sweeps = || process.storage.stats().sweep.sweeps;
    // The first finds objects that are too young, the second what the merge after two hours made,
    // and judges everything.
    idle.pass(24 * HOUR).await;
    assert_eq!(sweeps(), 2);
    idle.pass(48 * HOUR).await;
    assert_eq!(sweeps(), 2, "nothing was made since");
    process.flushes(1, 400).await;
    idle.pass(24 * HOUR).await;
    let after = sweeps();
    assert!(after > 2, "new objects are looked at");
    idle.pass(48 * HOUR).await;
    assert_eq!(sweeps(), after);
}
