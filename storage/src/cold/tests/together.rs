//! Readers of one history that is larger than the cache, beside each other: how many GETs they cost,
//! and what they cost each other. In time that stands still until all wait, so that speeds are exact.

use std::time::Duration;

use antiphon_common::PartitionId;
use futures::future::join_all;
use tokio::time::Instant;

use super::*;
use crate::cold::block_cache::{BlockCache, Load};
use crate::object::samples::slices;

const MIB: usize = 1 << 20;
const BLOCKS: u64 = 56;

/// Blocks of a mebibyte, three and a half times what the cache holds.
fn history() -> Vec<BatchSlice> {
    slices(0, BLOCKS as i64 * 104, 10_000)
}

fn small_cache() -> ColdOptions {
    ColdOptions { cache_bytes: 16 * MIB as u64, ..ColdOptions::default() }
}

/// Reads everything as a consumer does that works for `pause` on each mebibyte; returns how long it
/// took.
async fn replay(
    reader: ColdReader,
    segment: SegmentRef,
    id: ReaderId,
    pause: Duration,
) -> Duration {
    let (began, mut from) = (Instant::now(), segment.base_offset);
    while from <= segment.last_offset {
        let runs = reader.read_for(id, &segment, from, MIB, true).await.unwrap().runs;
        from = runs.last().and_then(|run| last_offset_of_run(run)).unwrap().next();
        reader.reader_is_at(id, segment.partition, from);
        tokio::time::sleep(pause).await;
    }
    began.elapsed()
}

/// Replays with one reader for each of `pauses`; returns how often the history was fetched from the
/// store, and how long each took.
async fn replay_together(pauses: &[u64]) -> (f64, Vec<Duration>) {
    let (reader, watched, segment) = watched_reader(&history(), small_cache()).await;
    let readers = pauses.iter().enumerate().map(|(number, pause)| {
        let id = ReaderId(number as u64 + 1);
        replay(reader.clone(), segment, id, Duration::from_millis(*pause))
    });
    let times = join_all(readers).await;
    let fetched: u64 = watched.gets().iter().map(|range| range.end - range.start).sum();
    let cached = reader.stats().cached_bytes;
    assert!(cached <= small_cache().cache_bytes, "{cached}");
    (fetched as f64 / segment.length as f64, times)
}

#[tokio::test(start_paused = true)]
async fn four_readers_at_different_speeds_cost_about_one_get_per_block() {
    let (fetched, _) = replay_together(&[10, 14, 20, 28]).await;
    assert!(fetched < 1.2, "the history was fetched {fetched:.2} times");
}

#[tokio::test(start_paused = true)]
async fn sixteen_readers_at_different_speeds_cost_about_one_get_per_block() {
    let pauses: Vec<u64> = (0..16).map(|number| 10 + number).collect();
    let (fetched, _) = replay_together(&pauses).await;
    assert!(fetched < 1.2, "the history was fetched {fetched:.2} times");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_crawls_holds_nobody_for_long() {
    let (fetched, times) = replay_together(&[5, 5, 2_000]).await;
    // All blocks at 5 ms, three times that with all the waiting that a reader does for others,
    // and the second after which one who reads no more is not waited for.
    assert!(times[0] < Duration::from_millis(BLOCKS * 15 + 1_100), "{times:?}");
    assert!(fetched < 2.2, "the crawling one fetches for itself: {fetched:.2}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_ten_times_as_slow_is_left_behind() {
    let (_, times) = replay_together(&[10, 10, 100]).await;
    let patience = Duration::from_secs(2);
    assert!(times[0] < Duration::from_millis(BLOCKS * 30) + patience, "{times:?}");
    assert!(times[2] < Duration::from_millis(BLOCKS * 101), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_single_reader_never_waits_for_itself() {
    let (fetched, times) = replay_together(&[10]).await;
    assert_eq!(times, [Duration::from_millis(BLOCKS * 10)]);
    assert!(fetched < 1.01, "{fetched}");
}

#[tokio::test]
async fn readers_of_two_partitions_do_not_wait_for_each_other() {
    let cache = BlockCache::new(4 * MIB as u64);
    let (one, two) = (PartitionId(1), PartitionId(2));
    cache.reader_is_at(ReaderId(1), one, Offset(0));
    cache.reader_is_at(ReaderId(2), two, Offset(500));
    let load = Load { reader: ReaderId(2), partition: two, offset: Offset(500), bytes: 1 };
    // Nothing to wait for, so it returns at once; the paused runtime of the others would hide that.
    cache.keep_together(&load).await;
    assert!(!cache.is_too_far_ahead(two, Offset(500), 1));
}
