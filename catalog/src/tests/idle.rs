//! What an idle catalog asks of its bucket: requests are money.
//!
//! Time is tokio's, paused: a day takes as long as its timers take to run.

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{ErrorKind, ManualClock, PartitionId, Timestamp};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::{PREFIX, StoreFixture};
use crate::conformance::{Fixture, ObservedStore, create_topic, flush, new_topic};
use crate::{Catalog, SlateCatalog};

/// The bar: what an idle broker may ask in an hour, by the hour and by any five minutes of it.
const REQUESTS_PER_HOUR: u64 = 120;
const WINDOW: Duration = Duration::from_secs(300);
const WINDOWS_PER_HOUR: u64 = 12;
const HOURS: usize = 24;
/// The year 2100: the files of the store in memory carry the machine's time, and are old by this.
const FUTURE: Timestamp = Timestamp(4_102_444_800_000);
/// Two tables' worth and some.
const CHANGES: i64 = 600;

struct Idle {
    fixture: StoreFixture,
    store: Arc<ObservedStore>,
}

impl Idle {
    fn new() -> Self {
        let store = ObservedStore::new(Arc::new(InMemory::new()));
        let clock = Arc::new(ManualClock::starting_at(FUTURE));
        let fixture = StoreFixture { clock, ..StoreFixture::over(Arc::clone(&store) as _) };
        Self { fixture, store }
    }

    /// All but the deletions, which are what is left of work that was done: one for each file.
    fn requests(&self) -> u64 {
        let requests = self.store.requests();
        requests.iter().filter(|(kind, _)| **kind != "delete").map(|(_, count)| count).sum()
    }

    /// Lets time pass, by the catalog's clock and for its timers.
    async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_secs(10);
        for _ in 0..time.as_secs() / STEP.as_secs() {
            self.fixture.clock().advance(STEP);
            tokio::time::sleep(STEP).await;
        }
    }

    /// Requests in each window of a day.
    async fn day(&self) -> Vec<u64> {
        let mut windows = Vec::new();
        for _ in 0..HOURS * WINDOWS_PER_HOUR as usize {
            let before = self.requests();
            self.pass(WINDOW).await;
            windows.push(self.requests() - before);
        }
        windows
    }

    async fn files(&self, folder: &str) -> usize {
        let prefix = Path::from(format!("{PREFIX}/db/{folder}"));
        let files: Vec<_> = self.store.list(Some(&prefix)).try_collect().await.expect("a listing");
        files.len()
    }
}

async fn change(catalog: &SlateCatalog, partition: PartitionId, from: i64, count: i64) {
    for offset in from..from + count {
        let commit = flush(catalog, offset as u128 + 1, &[(partition, offset, offset)]);
        catalog.commit_flush(commit).await.expect("a flush");
    }
}

fn expect_frugal(windows: &[u64]) {
    for window in windows {
        assert!(window * WINDOWS_PER_HOUR <= REQUESTS_PER_HOUR, "by five minutes: {windows:?}");
    }
    for hour in windows.windows(WINDOWS_PER_HOUR as usize) {
        assert!(hour.iter().sum::<u64>() <= REQUESTS_PER_HOUR, "by hour: {windows:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_catalog_asks_next_to_nothing() {
    let idle = Idle::new();
    let (catalog, _) = idle.fixture.open_slate().await.expect("open");
    create_topic(&*catalog, "topic", 3).await;
    let windows = idle.day().await;
    expect_frugal(&windows);
    assert!(windows.iter().max() <= Some(&2), "only the look at the manifest: {windows:?}");
}

/// What has files to be collected collects them, a few requests at a time, and then rests.
#[tokio::test(start_paused = true)]
async fn a_catalog_collects_its_garbage_and_rests() {
    let idle = Idle::new();
    let (catalog, _) = idle.fixture.open_slate().await.expect("open");
    let partition = create_topic(&*catalog, "topic", 1).await.partitions[0].partition_id;
    change(&catalog, partition, 0, CHANGES).await;
    let log_files = idle.files("wal").await;
    let before = idle.requests();
    idle.pass(2 * Duration::from_secs(3_600)).await;
    let (left, asked) = (idle.files("wal").await, idle.requests() - before);
    assert!(left < log_files / 2, "{left} of {log_files} log files are left");
    assert!(asked <= 2 * REQUESTS_PER_HOUR, "{asked} requests in two hours");
    let windows = idle.day().await;
    expect_frugal(&windows);
    assert!(windows.iter().max() <= Some(&2), "at rest: {windows:?}");
}

/// The first hours after a start look for what earlier runs left.
#[tokio::test(start_paused = true)]
async fn a_catalog_with_tables_that_is_opened_again_asks_little() {
    let idle = Idle::new();
    let (catalog, _) = idle.fixture.open_slate().await.expect("open");
    let partition = create_topic(&*catalog, "topic", 1).await.partitions[0].partition_id;
    change(&catalog, partition, 0, CHANGES).await;
    idle.pass(Duration::from_secs(3 * 3_600)).await;
    catalog.close().await.expect("close");
    drop(catalog);

    let (catalog, _) = idle.fixture.open_slate().await.expect("open again");
    let windows = idle.day().await;
    expect_frugal(&windows);
    let looks = windows.iter().filter(|window| **window > 2).count();
    assert_eq!(looks, 4, "one round of looks for garbage: {windows:?}");
    assert!(catalog.object(antiphon_common::ObjectId(1)).await.expect("a row").is_some());
}

/// However long it did nothing: who was overtaken learns it from its first write.
#[tokio::test(start_paused = true)]
async fn a_catalog_that_was_idle_is_fenced_at_its_next_write() {
    let idle = Idle::new();
    let (first, _) = idle.fixture.open_slate().await.expect("open");
    idle.pass(WINDOW * 100).await;
    let (second, _) = idle.fixture.open_slate().await.expect("a second open");
    let refused = first.create_topics(vec![new_topic("late", 1)]).await.expect_err("overtaken");
    assert_eq!(refused.kind(), ErrorKind::Fenced, "{refused:?}");
    create_topic(&*second, "in time", 1).await;
}
