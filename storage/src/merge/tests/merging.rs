//! What a merge does to history: nothing that a reader could tell.

use std::time::Duration;

use antiphon_common::Offset;

use super::kit::{World, create_topic, eager, end_of, keeping, shape};
use crate::MergeOptions;
use crate::merge::tests::kit::GRACE;
use crate::store::{Store, StoreOptions, StoreUrl, open_store};

fn local(folder: &std::path::Path) -> Store {
    let options = StoreOptions { create_folder: true, ..StoreOptions::default() };
    open_store(&StoreUrl::File(folder.join("store")), &options).expect("the store opens")
}

#[tokio::test]
async fn history_reads_the_same_before_and_after() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in [Store::in_memory(), local(folder.path())] {
        let world = World::new(store);
        let process = world.open().await;
        process.flushes(6, 900).await;
        let before = process.histories().await;
        process.storage.merge().await;
        for partition in 0..2 {
            assert_eq!(shape(&process.segments(partition).await), [(0, 17, 1)]);
        }
        assert_eq!(process.histories().await, before, "through rows that were swapped");
        process.quiesce(&world).await;
        assert_eq!(world.listed().await.len(), 2, "one object for each partition");
        world.crash(process);
        let process = world.open().await;
        assert_eq!(process.histories().await, before, "after a restart");
        assert_eq!(world.fatal.lock().len(), 0);
    }
}

/// Objects of more than 16 MiB go in parts and are never in memory as a whole.
#[tokio::test]
async fn large_objects_are_put_in_parts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in [Store::in_memory(), local(folder.path())] {
        let mut world = World::new(store);
        world.partitions = 1;
        world.merge = MergeOptions { bytes_full: 17 << 20, bytes_max: 64 << 20, ..eager() };
        let process = world.open().await;
        process.flushes(3, 6 << 20).await;
        let before = process.histories().await;
        process.storage.merge().await;
        let rows = process.segments(0).await;
        assert_eq!(shape(&rows), [(0, 8, 1)]);
        assert!(rows[0].length > 17 << 20);
        assert_eq!(process.histories().await, before);
        process.quiesce(&world).await;
    }
}

#[tokio::test]
async fn flushes_say_what_is_due_and_levels_rise() {
    let mut world = World::in_memory();
    world.partitions = 1;
    let process = world.open().await;
    for round in 0..4 {
        process.flushes(3, 100).await;
        process.storage.merge().await;
        assert_eq!(process.segments(0).await.len(), round + 3, "three are not worth it");
        process.flushes(1, 100).await;
        process.storage.merge().await;
    }
    let rows = process.segments(0).await;
    assert_eq!(shape(&rows), [(0, 47, 2)], "four of level 1 became one of level 2");
    let stats = process.storage.stats().merge;
    assert_eq!((stats.objects, stats.segments, stats.failures), (5, 20, 0));
    assert_eq!(stats.waiting, 0);
}

/// What was merged is settled: the next run's planner does not read it again.
#[tokio::test]
async fn a_restart_goes_on_where_merging_stood() {
    let mut world = World::in_memory();
    world.partitions = 1;
    world.merge = MergeOptions { bytes_full: 2_000, bytes_max: 4_000, ..eager() };
    let process = world.open().await;
    process.flushes(3, 900).await;
    process.storage.merge().await;
    let settled = end_of(&process.segments(0).await);
    assert_eq!(shape(&process.segments(0).await), [(0, 8, 1)]);
    process.flushes(2, 400).await;
    world.crash(process);
    let process = world.open().await;
    process.flushes(2, 400).await;
    process.storage.merge().await;
    let rows = process.segments(0).await;
    assert_eq!(shape(&rows), [(0, 8, 1), (9, 20, 1)], "flushes of two runs in one segment");
    assert_eq!(settled, Offset(9));
}

/// A read that was planned before a merge ends after it.
#[tokio::test]
async fn objects_outlive_the_reads_that_were_planned_with_them() {
    let world = World::in_memory();
    let process = world.open().await;
    process.flushes(4, 500).await;
    let planned = world.listed().await;
    process.storage.merge().await;
    world.advance(GRACE - Duration::from_secs(1));
    process.storage.delete_due_objects().await;
    assert!(world.listed().await.is_superset(&planned), "within the grace nothing goes");
    world.advance(Duration::from_secs(2));
    process.storage.delete_due_objects().await;
    assert!(world.listed().await.is_disjoint(&planned));
}

#[tokio::test]
async fn retention_takes_merged_segments_as_a_whole() {
    let mut world = World::in_memory();
    (world.partitions, world.config) = (1, keeping(40_000));
    let process = world.open().await;
    process.flushes(40, 2_000).await;
    process.storage.merge().await;
    let rows = process.segments(0).await;
    let (kept, longest) =
        (rows.iter().map(|r| r.length).sum::<u64>(), rows.iter().map(|r| r.length).max());
    assert!(
        kept > 80_000 && longest.is_some_and(|longest| longest <= 10_000),
        "a quarter: {longest:?}"
    );
    process.storage.enforce_retention().await;
    let rows = process.segments(0).await;
    let size: u64 = rows.iter().map(|row| row.length).sum();
    assert!((40_000..50_000).contains(&size), "{size} bytes of 40,000");
    assert_eq!(process.logs[0].positions().log_start, rows[0].base_offset);
    assert_eq!(process.logs[0].size_bytes(), size, "the log counts what the rows say");
    process.history(0).await;
    process.quiesce(&world).await;
}

#[tokio::test]
async fn records_expire_by_time_from_merged_segments() {
    let mut world = World::in_memory();
    world.partitions = 1;
    world.config.retention_time = Some(Duration::from_secs(3_600));
    let process = world.open().await;
    for _ in 0..4 {
        process.flushes(4, 500).await;
        process.storage.merge().await;
        world.advance(Duration::from_secs(1_200));
    }
    assert_eq!(shape(&process.segments(0).await).len(), 4, "a quarter of an hour at most in one");
    process.storage.enforce_retention().await;
    let rows = process.segments(0).await;
    assert_eq!(shape(&rows), [(12, 23, 1), (24, 35, 1), (36, 47, 1)]);
    world.advance(Duration::from_secs(36_000));
    process.storage.merge().await;
    process.storage.enforce_retention().await;
    assert!(process.segments(0).await.is_empty(), "all of it is old");
    process.quiesce(&world).await;
    assert!(world.listed().await.is_empty());
}

#[tokio::test]
async fn records_are_deleted_from_the_middle_of_a_merged_segment() {
    let world = World::in_memory();
    let process = world.open().await;
    process.flushes(4, 500).await;
    process.storage.merge().await;
    let log = &process.logs[0];
    assert_eq!(log.delete_records(Offset(7)).await.expect("deleted"), Offset(7));
    assert_eq!(shape(&process.segments(0).await), [(0, 11, 1)], "its end is still wanted");
    let rest = log.read_cold(Offset(7), 1 << 20, true).await.expect("readable");
    assert!(!rest.is_empty());
    process.flushes(4, 500).await;
    process.storage.merge().await;
    assert_eq!(shape(&process.segments(0).await), [(0, 11, 1), (12, 23, 1)]);
    log.delete_records(Offset::NONE).await.expect("deleted");
    assert!(process.segments(0).await.is_empty());
    process.quiesce(&world).await;
    assert_eq!(world.listed().await.len(), 2, "of the other partition");
}

/// A partition with hardly any traffic keeps big shared objects alive until its segments are old.
#[tokio::test]
async fn what_pins_dead_objects_moves_out() {
    let world = World::in_memory();
    let process = world.open().await;
    for number in 0..2 {
        process.append(0, number, 30_000).await;
        process.append(1, number, 300).await;
        process.storage.flush().await.expect("flush");
    }
    process.logs[0].delete_records(Offset::NONE).await.expect("deleted");
    let quiet = process.history(1).await;
    process.storage.merge().await;
    assert_eq!(process.segments(1).await.len(), 2, "they are young");
    world.advance(Duration::from_secs(2 * 3_600));
    process.storage.merge().await;
    assert_eq!(shape(&process.segments(1).await), [(0, 5, 1)]);
    process.quiesce(&world).await;
    assert_eq!(world.listed().await.len(), 1);
    assert_eq!(process.history(1).await, quiet);
}

#[tokio::test]
async fn a_deleted_topic_leaves_nothing() {
    let world = World::in_memory();
    let process = world.open().await;
    process.flushes(5, 500).await;
    process.storage.merge().await;
    let other = create_topic(&*process.catalog, "other", 1).await;
    process.catalog.delete_topic(process.topic).await.expect("deleted");
    for partition in 0..2 {
        process.storage.remove_partition(process.id(partition));
    }
    process.storage.merge().await;
    process.quiesce(&world).await;
    assert!(world.listed().await.is_empty());
    assert_eq!(other.len(), 1);
}
