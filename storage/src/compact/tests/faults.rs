//! Compaction while the bucket fails, and in the middle of a crash.

use std::time::Duration;

use antiphon_records::Compression;

use super::kit::{Process, RETENTION, World, batch, entry};
use crate::store::OBJECTS_PREFIX;
use crate::store::faults::{Fault, Operation, Rule};

async fn two_versions_of(process: &Process, keys: std::ops::Range<i32>) {
    for version in ["1", "2"] {
        for key in keys.clone() {
            let entries = [entry(&format!("k{key}"), Some(version))];
            process.produce(&batch(&entries, Compression::None)).await;
        }
        process.flush().await;
    }
}

async fn assert_compacted(process: &Process, keys: usize) {
    let records = process.records().await;
    assert_eq!(records.len(), keys);
    assert!(records.iter().all(|(_, entry)| entry.value.as_deref() == Some(b"2")));
    let rows = process.rows().await;
    let listed: u64 = rows.iter().map(|row| row.length).sum();
    assert_eq!(process.log.size_bytes(), listed, "what memory says is what the rows say");
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_has_happened_once() {
    let world = World::new();
    let process = world.open().await;
    two_versions_of(&process, 0..5).await;
    world.clock.advance(Duration::from_millis(1));
    let lost = Rule::new(Fault::ReplyLost).on([Operation::Put]).below("catalog").times(2);
    process.faults.add(lost);
    process.storage.compact().await;
    assert!(!process.faults.struck().is_empty(), "a reply was lost");
    assert_compacted(&process, 5).await;
}

#[tokio::test]
async fn an_upload_that_fails_changes_nothing_and_is_made_up_for() {
    let world = World::new();
    let process = world.open().await;
    two_versions_of(&process, 0..5).await;
    world.clock.advance(Duration::from_millis(1));
    process.faults.add(Rule::new(Fault::Full).on([Operation::Put]).below(OBJECTS_PREFIX));
    process.storage.compact().await;
    let figures = process.storage.stats().compaction;
    assert_eq!((figures.rounds, figures.failures), (0, 1));
    assert_eq!(process.records().await.len(), 10);
    process.faults.clear();
    process.storage.compact().await;
    assert_compacted(&process, 5).await;
}

#[tokio::test]
async fn a_damaged_block_stops_the_round_and_nothing_is_lost() {
    let world = World::new();
    let process = world.open().await;
    two_versions_of(&process, 0..5).await;
    world.clock.advance(Duration::from_millis(1));
    let flipped = Rule::new(Fault::FlippedBit).on([Operation::Get]).below(OBJECTS_PREFIX).times(1);
    process.faults.add(flipped);
    process.storage.compact().await;
    assert_eq!(process.storage.stats().compaction.failures, 1);
    assert_eq!(process.rows().await.len(), 2, "nothing was replaced");
    process.storage.compact().await;
    assert_compacted(&process, 5).await;
}

#[tokio::test]
async fn a_crash_between_put_and_commit_leaves_the_old_segments() {
    let mut world = World::new();
    world.object_bytes = 200;
    let process = world.open().await;
    two_versions_of(&process, 0..20).await;
    world.clock.advance(Duration::from_millis(1));
    let before = process.rows().await;
    process.faults.add(Rule::new(Fault::RequestLost).on([Operation::Put]).below("catalog"));
    let compacting = tokio::time::timeout(Duration::from_millis(500), process.storage.compact());
    assert!(compacting.await.is_err(), "the commit cannot succeed");
    assert!(process.storage.stats().compaction.written_bytes > 0, "objects were put");
    let process = world.crash(process).await;
    assert_eq!(process.rows().await, before);
    assert_eq!(process.records().await.len(), 40);
    process.storage.compact().await;
    assert_compacted(&process, 20).await;
}

#[tokio::test]
async fn a_partition_that_is_being_rewritten_is_left_alone() {
    let world = World::new();
    let process = world.open().await;
    two_versions_of(&process, 0..5).await;
    world.clock.advance(Duration::from_millis(1));
    let merging = process.log.try_rewrite().expect("nobody else");
    process.storage.compact().await;
    assert_eq!(process.records().await.len(), 10);
    drop(merging);
    process.storage.compact().await;
    assert_compacted(&process, 5).await;
}

#[tokio::test]
async fn segments_that_retention_took_meanwhile_are_not_an_error() {
    let mut world = World::new();
    world.object_bytes = 100;
    let process = world.open().await;
    two_versions_of(&process, 0..5).await;
    world.clock.advance(Duration::from_millis(1));
    let log = std::sync::Arc::clone(&process.log);
    let slow = Duration::from_millis(50);
    let objects = [Operation::Get];
    process.faults.add(Rule::new(Fault::Slow(slow, slow)).on(objects).below(OBJECTS_PREFIX));
    let (_, deleted) = tokio::join!(process.storage.compact(), async {
        // The compaction has begun to read what is taken away now.
        while process.faults.struck().is_empty() {
            tokio::task::yield_now().await;
        }
        log.delete_records(antiphon_common::Offset(5)).await
    });
    deleted.expect("records are deleted");
    assert_eq!(process.storage.stats().compaction.failures, 0);
    process.faults.clear();
    process.storage.compact().await;
    assert_compacted(&process, 5).await;
}

#[tokio::test]
async fn a_batch_with_more_keys_than_fit_is_not_stepped_over() {
    let mut world = World::new();
    world.map_bytes = 24 * 5;
    let process = world.open().await;
    process.flush_of(&[batch(&[entry("f", Some("1"))], Compression::None)]).await;
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|key| entry(key, None)).to_vec();
    process.flush_of(&[batch(&many, Compression::None)]).await;
    world.clock.advance(Duration::from_millis(1));
    process.storage.compact().await;
    let figures = process.storage.stats().compaction;
    assert_eq!((figures.rounds, figures.failures), (1, 1), "up to the batch, and no further");
    // If the tombstones went one day, what is in front of them would come back.
    world.clock.advance(RETENTION * 2);
    process.storage.compact().await;
    assert_eq!(process.records().await.len(), 7);
}
