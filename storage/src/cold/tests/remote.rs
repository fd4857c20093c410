//! What the store is asked for: one GET per block however many readers, and never more in memory
//! than was allowed.

use antiphon_common::Offset;
use futures::future::join_all;

use super::*;
use crate::cold::Onward;
use crate::object::samples::slices;

const MIB: usize = 1 << 20;

/// Eight blocks of 104 batches each.
fn eight_blocks() -> Vec<BatchSlice> {
    slices(0, 8 * 104, 10_000)
}

const BLOCK: u64 = 104 * 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_one_history_cost_one_get_per_block() {
    let (reader, watched, segment) = watched_reader(&eight_blocks(), no_read_ahead()).await;
    let readers = (0..32).map(|_| {
        let reader = reader.clone();
        tokio::spawn(async move { read_all(&reader, &segment, MIB).await })
    });
    for read in join_all(readers).await {
        assert!(read.unwrap() == concatenated(&eight_blocks()));
    }
    let mut starts: Vec<_> = watched.gets().iter().map(|range| range.start).collect();
    starts.sort_unstable();
    let mut expected: Vec<_> = (0..8).map(|block| segment.position + block * BLOCK).collect();
    expected.push(segment.index_position);
    assert_eq!(starts, expected, "one GET per block and one for the index");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_read_ahead_too_no_byte_is_fetched_twice() {
    let (reader, watched, segment) = watched_reader(&eight_blocks(), ColdOptions::default()).await;
    let readers = (0..16).map(|number| {
        let reader = reader.clone();
        tokio::spawn(async move { read_all(&reader, &segment, MIB / 4 + number * 100_000).await })
    });
    for read in join_all(readers).await {
        assert!(read.unwrap() == concatenated(&eight_blocks()));
    }
    let fetched: u64 = watched.gets().iter().map(|range| range.end - range.start).sum();
    assert_eq!(fetched, segment.length + segment.index_length);
    let stats = reader.stats();
    assert_eq!(stats.get_bytes + stats.readahead_bytes, segment.length);
    assert!(stats.hits > 0 && stats.index_loads == 1, "{stats:?}");
}

#[tokio::test]
async fn a_small_section_costs_one_get_in_all() {
    let (reader, watched, segment) =
        watched_reader(&slices(0, 10, 1_000), ColdOptions::default()).await;
    read_all(&reader, &segment, 3_000).await;
    let whole = segment.position..segment.position + segment.length;
    assert_eq!(watched.gets(), vec![whole]);
}

#[tokio::test]
async fn neighbouring_blocks_come_with_one_get() {
    let (reader, watched, segment) = watched_reader(&eight_blocks(), ColdOptions::default()).await;
    reader.read(&segment, Offset(0), 4 * MIB, true).await.unwrap();
    assert_eq!(watched.gets()[1], segment.position..segment.position + 4 * BLOCK);
}

#[tokio::test]
async fn a_sequential_reader_is_read_ahead_for_and_a_random_one_is_not() {
    let (reader, _, segment) = watched_reader(&eight_blocks(), ColdOptions::default()).await;
    for from in [7_000, 3_000, 5_000, 1_500] {
        reader.read(&segment, Offset(from), 1, true).await.unwrap();
    }
    assert_eq!(reader.stats().readahead_gets, 0);

    let (reader, watched, segment) = watched_reader(&eight_blocks(), ColdOptions::default()).await;
    reader.read(&segment, Offset(0), MIB, true).await.unwrap();
    // The window of half a MiB is rounded up to one block.
    let second = segment.position + BLOCK..segment.position + 2 * BLOCK;
    watched.until_gets(|gets| gets.contains(&second)).await;
    assert_eq!(reader.stats().readahead_gets, 1);
}

#[tokio::test]
async fn demand_does_not_wait_for_read_ahead() {
    let options = ColdOptions { readahead_concurrency: 1, ..ColdOptions::default() };
    let (reader, watched, segment) = watched_reader(&eight_blocks(), options).await;
    let second = segment.position + BLOCK;
    // Load the index, then let everything from the second block on hang, and with it the only slot
    // of read-ahead.
    let index = reader.timestamp_lookup(&segment, antiphon_common::Timestamp(0), Offset(0)).await;
    index.unwrap();
    watched.hold_gets_from(second);
    reader.read(&segment, Offset(0), 1, true).await.unwrap();
    watched.until_gets(|gets| gets.iter().any(|range| range.start == second)).await;
    // A demand for another block is sent at once, though read-ahead hangs.
    let demand = tokio::spawn({
        let reader = reader.clone();
        async move { reader.read(&segment, Offset(4_200), 1, true).await }
    });
    let fifth = segment.position + 4 * BLOCK;
    watched.until_gets(|gets| gets.iter().any(|range| range.start == fifth)).await;
    watched.hold_gets_from(u64::MAX);
    assert!(!demand.await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_reader_that_goes_away_takes_nothing_from_the_others() {
    let (reader, watched, segment) = watched_reader(&eight_blocks(), no_read_ahead()).await;
    reader.timestamp_lookup(&segment, antiphon_common::Timestamp(0), Offset(0)).await.unwrap();
    let second = segment.position + BLOCK;
    watched.hold_gets_from(second);
    let read =
        |reader: ColdReader| async move { reader.read(&segment, Offset(1_040), 1, true).await };
    let first = tokio::spawn(read(reader.clone()));
    watched.until_gets(|gets| gets.iter().any(|range| range.start == second)).await;
    let joined = tokio::spawn(read(reader.clone()));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    watched.hold_gets_from(u64::MAX);
    assert!(!joined.await.unwrap().unwrap().is_empty());
    let times = watched.gets().iter().filter(|range| range.start == second).count();
    assert_eq!(times, 1, "the load that the first reader started was used");
}

#[tokio::test]
async fn the_cache_keeps_to_its_budget_and_drops_the_oldest_block() {
    let options = ColdOptions { cache_bytes: 3 * MIB as u64, ..no_read_ahead() };
    let (reader, watched, segment) = watched_reader(&eight_blocks(), options).await;
    for block in 0..8 {
        reader.read(&segment, Offset(block * 1_040), 1, true).await.unwrap();
        let cached = reader.stats().cached_bytes;
        assert!(cached <= 3 * MIB as u64, "{cached} bytes after block {block}");
    }
    let before = watched.gets().len();
    reader.read(&segment, Offset(7 * 1_040), 1, true).await.unwrap();
    reader.read(&segment, Offset(6 * 1_040), 1, true).await.unwrap();
    assert_eq!(watched.gets().len(), before, "the newest blocks are still here");
    reader.read(&segment, Offset(0), 1, true).await.unwrap();
    assert_eq!(watched.gets().len(), before + 1, "the oldest is not");
}

#[tokio::test]
async fn demand_has_no_more_in_flight_than_its_share() {
    // Half of 4 MiB: two blocks of about one.
    let options = ColdOptions { cache_bytes: 4 * MIB as u64, ..no_read_ahead() };
    let (reader, watched, segment) = watched_reader(&eight_blocks(), options).await;
    reader.timestamp_lookup(&segment, antiphon_common::Timestamp(0), Offset(7_280)).await.unwrap();
    watched.hold_gets_from(0);
    let before = watched.gets().len();
    let reads: Vec<_> = (0..6)
        .map(|block| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.read(&segment, Offset(block * 1_040), 1, true).await })
        })
        .collect();
    watched.until_gets(|gets| gets.len() == before + 2).await;
    // Everything that can run has run when the runtime's queue has gone round a few times.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.gets().len(), before + 2, "the third waits for bytes to come free");
    watched.hold_gets_from(u64::MAX);
    for read in join_all(reads).await {
        assert!(!read.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_read_ahead_across_segments_spares_the_reader_the_wait() {
    let (reader, watched, segment) = watched_reader(&eight_blocks(), no_read_ahead()).await;
    let onward = Onward { ahead_bytes: 0, window_bytes: 1, filling: false };
    assert_eq!(reader.read_ahead(&segment, onward).await.unwrap(), None);
    watched.until_gets(|gets| gets.len() == 2).await;
    reader.read(&segment, Offset(0), 1, true).await.unwrap();
    assert_eq!(watched.gets().len(), 2);
    assert_eq!(reader.stats().misses, 0);
}
