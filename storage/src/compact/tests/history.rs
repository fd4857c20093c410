//! What readers see of a compacted partition, case by case.

use std::time::Duration;

use antiphon_common::{Offset, Timestamp};
use antiphon_records::{BatchMut, Compression};

use super::kit::{Entry, Process, RETENTION, STARTED_AT, World, batch, batch_by, eager, entry};
use crate::CompactionConfig;

fn one(key: &str, value: Option<&str>) -> Vec<u8> {
    batch(&[entry(key, value)], Compression::None)
}

fn keys(records: &[(i64, Entry)]) -> Vec<(i64, &str, Option<&str>)> {
    let text =
        |bytes: &[u8]| -> &'static str { String::from_utf8_lossy(bytes).into_owned().leak() };
    let one = |(offset, entry): &(i64, Entry)| {
        (*offset, entry.key.as_deref().map_or("-", text), entry.value.as_deref().map(text))
    };
    records.iter().map(one).collect()
}

async fn compact(world: &World, process: &Process) {
    world.clock.advance(Duration::from_millis(1));
    process.storage.compact().await;
}

#[tokio::test]
async fn the_newest_record_of_each_key_stays_where_it_was() {
    let world = World::new();
    let process = world.open().await;
    process.flush_of(&[one("a", Some("1")), one("b", Some("1")), one("a", Some("2"))]).await;
    process.flush_of(&[one("c", Some("1")), one("b", Some("2")), one("d", Some("1"))]).await;
    compact(&world, &process).await;
    let expected =
        [(2, "a", Some("2")), (3, "c", Some("1")), (4, "b", Some("2")), (5, "d", Some("1"))];
    assert_eq!(keys(&process.records().await), expected);
    let rows = process.rows().await;
    assert!(rows.iter().all(|row| row.is_cleaned()));
    assert_eq!((rows[0].base_offset, rows.last().unwrap().last_offset), (Offset(0), Offset(5)));
    let figures = process.storage.stats().compaction;
    assert_eq!((figures.rounds, figures.failures, figures.removed_records), (1, 0, 2));
    compact(&world, &process).await;
    assert_eq!(process.storage.stats().compaction.rounds, 1, "nothing is dirty any more");
}

#[tokio::test]
async fn a_fetch_from_a_removed_offset_gets_the_next_batch() {
    let world = World::new();
    let process = world.open().await;
    let batches: Vec<_> = (0..20).map(|n| one("k", Some(&n.to_string()))).collect();
    process.flush_of(&batches).await;
    process.flush_of(&[one("z", Some("1"))]).await;
    compact(&world, &process).await;
    for from in 0..=20 {
        let first = process.batches_from(from).await[0].0;
        assert_eq!(first.base_offset.get(), if from <= 19 { 19 } else { 20 });
    }
}

#[tokio::test]
async fn the_tail_is_not_touched() {
    let world = World::new();
    let process = world.open().await;
    process.flush_of(&[one("a", Some("1"))]).await;
    process.produce(&one("a", Some("2"))).await;
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await), [(0, "a", Some("1"))]);
    process.flush().await;
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await), [(1, "a", Some("2"))]);
}

#[tokio::test]
async fn a_tombstone_outlives_what_it_deletes_by_the_retention() {
    let world = World::new();
    let process = world.open().await;
    process.flush_of(&[one("a", Some("1")), one("b", Some("1")), one("a", None)]).await;
    compact(&world, &process).await;
    let with_tombstone = [(1, "b", Some("1")), (2, "a", None)];
    assert_eq!(keys(&process.records().await), with_tombstone);
    // Cleaned again before its time it stays, and keeps its horizon.
    world.clock.advance(RETENTION - Duration::from_millis(5));
    process.flush_of(&[one("c", Some("1"))]).await;
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await)[..2], with_tombstone);
    world.clock.advance(Duration::from_millis(5));
    process.flush_of(&[one("d", Some("1"))]).await;
    compact(&world, &process).await;
    let left = [(1, "b", Some("1")), (3, "c", Some("1")), (4, "d", Some("1"))];
    assert_eq!(keys(&process.records().await), left);
}

#[tokio::test]
async fn the_last_batch_of_a_producer_stays_without_its_records() {
    let mut world = World::new();
    let process = world.open().await;
    let mine = batch_by(9, 0, &[entry("a", Some("1")), entry("b", Some("1"))]);
    process.flush_of(&[mine.clone(), one("a", Some("2")), one("b", Some("2"))]).await;
    compact(&world, &process).await;
    let batches = process.batches_from(0).await;
    let (header, _) = &batches[0];
    assert_eq!((header.base_offset, header.last_offset()), (Offset(0), Offset(1)));
    assert_eq!((header.record_count, header.producer_id.0), (0, 9));
    assert_eq!(keys(&process.records().await), [(2, "a", Some("2")), (3, "b", Some("2"))]);
    // Sent again after a restart, it is still known.
    let process = world.crash(process).await;
    assert_eq!(process.produce(&mine).await, 0);
    assert_eq!(process.log.positions().high_watermark, Offset(4));
}

#[tokio::test]
async fn records_without_a_key_from_before_the_topic_was_compacted_go() {
    let world = World::new();
    let process = world.open().await;
    let keyless = Entry { key: None, ..entry("", Some("x")) };
    let mixed = batch(&[keyless, entry("a", Some("1"))], Compression::Zstd);
    process.flush_of(&[mixed, one("b", Some("1"))]).await;
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await), [(1, "a", Some("1")), (2, "b", Some("1"))]);
}

#[tokio::test]
async fn a_batch_that_loses_nothing_is_kept_byte_for_byte() {
    let world = World::new();
    let process = world.open().await;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let name = format!("{codec:?}");
        process.produce(&batch(&[entry(&name, Some("1"))], codec)).await;
    }
    process.flush_of(&[one("a", Some("1")), one("a", Some("2"))]).await;
    let before = process.batches_from(0).await;
    compact(&world, &process).await;
    let after = process.batches_from(0).await;
    assert_eq!((before.len(), after.len()), (6, 5));
    assert_eq!(before[..4], after[..4]);
}

#[tokio::test]
async fn little_memory_takes_several_rounds() {
    let mut world = World::new();
    (world.map_bytes, world.object_bytes) = (24 * 5, 300);
    let process = world.open().await;
    let batches: Vec<_> = (0..60).map(|n| one(&format!("k{}", n % 20), Some("v"))).collect();
    process.flush_of(&batches).await;
    compact(&world, &process).await;
    let figures = process.storage.stats().compaction;
    assert!(figures.rounds > 3, "{figures:?}");
    let records = process.records().await;
    assert_eq!(
        records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
        (40..60).collect::<Vec<_>>()
    );
    let rows = process.rows().await;
    assert!(rows.len() > 2, "objects are short: {}", rows.len());
    assert!(rows.iter().all(|row| row.is_cleaned()));
}

#[tokio::test]
async fn young_records_wait() {
    let mut world = World::new();
    let lag_min = Duration::from_secs(10);
    world.config.compaction = Some(CompactionConfig { lag_min, ..eager() });
    let process = world.open().await;
    process.flush_of(&[one("a", Some("1"))]).await;
    world.clock.advance(Duration::from_secs(8));
    let late = Entry { timestamp: STARTED_AT.get() + 8_000, ..entry("a", Some("2")) };
    process.flush_of(&[batch(&[late], Compression::None)]).await;
    world.clock.advance(Duration::from_secs(4));
    process.storage.compact().await;
    assert_eq!(process.records().await.len(), 2, "the second is too young to make the first go");
    world.clock.advance(Duration::from_secs(6));
    process.storage.compact().await;
    assert_eq!(keys(&process.records().await), [(1, "a", Some("2"))]);
}

#[tokio::test]
async fn retention_applies_to_what_compaction_left() {
    let mut world = World::new();
    world.config.deletes = true;
    world.config.retention_time = Some(Duration::from_secs(100));
    let process = world.open().await;
    process.flush_of(&[one("a", Some("1")), one("a", Some("2"))]).await;
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await), [(1, "a", Some("2"))]);
    world.clock.advance(Duration::from_secs(101));
    let young = Entry { timestamp: STARTED_AT.get() + 101_000, ..entry("b", Some("1")) };
    process.flush_of(&[batch(&[young], Compression::None)]).await;
    process.storage.enforce_retention().await;
    assert_eq!(process.log.positions().log_start, Offset(2));
    compact(&world, &process).await;
    assert_eq!(keys(&process.records().await), [(2, "b", Some("1"))]);
}

#[tokio::test]
async fn times_are_found_across_holes() {
    let mut world = World::new();
    world.object_bytes = 200;
    let process = world.open().await;
    let at = |key: &str, time: i64| {
        let entry = Entry { timestamp: time, ..entry(key, Some("v")) };
        batch(&[entry], Compression::None)
    };
    // The newest time of all belongs to a record that goes, and its producer's batch stays.
    let gone = Entry { timestamp: 9_000, ..entry("a", Some("v")) };
    let batches = [batch_by(5, 0, &[gone]), at("b", 1_000), at("a", 2_000), at("c", 3_000)];
    process.flush_of(&batches).await;
    compact(&world, &process).await;
    let found = async |time| {
        let found = process.log.find_by_timestamp(Timestamp(time)).await.expect("it looks");
        found.map(|found| found.offset.get())
    };
    assert_eq!(found(0).await, Some(1));
    assert_eq!(found(1_001).await, Some(2));
    assert_eq!(found(3_000).await, Some(3));
    assert_eq!(found(3_001).await, None);
    let newest = process.log.find_newest().await.expect("it looks").expect("there is one");
    assert_eq!(newest.offset, Offset(3));
}

#[tokio::test]
async fn a_time_that_a_header_promises_and_no_record_has_is_looked_for_once() {
    let world = World::new();
    let process = world.open().await;
    let large = |key: &str, size: usize| {
        let value = Some(vec![b'v'; size]);
        let entry = Entry { value, timestamp: 1_000, ..entry(key, None) };
        batch(&[entry], Compression::None)
    };
    let mut lying = large("a", 700_000);
    let mut header = BatchMut::first_in(&mut lying).expect("a batch");
    header.set_max_timestamp(Timestamp(9_000));
    // Of what lies between the first block and the second, nothing stays.
    let batches = [lying, large("b", 500_000), large("c", 700_000), large("b", 10)];
    process.flush_of(&batches).await;
    compact(&world, &process).await;
    assert_eq!(process.records().await.len(), 3);
    let looking = process.log.find_by_timestamp(Timestamp(5_000));
    let found = tokio::time::timeout(Duration::from_secs(20), looking).await;
    assert_eq!(found.expect("the search ends").expect("it looks"), None);
}

#[tokio::test]
async fn a_segment_of_many_blocks_is_gone_over_piece_by_piece() {
    let mut world = World::new();
    world.object_bytes = 3 << 20;
    let process = world.open().await;
    let large = |number: usize| {
        let value = Some(vec![number as u8; 400_000]);
        batch(&[Entry { value, ..entry(&format!("k{}", number % 30), None) }], Compression::None)
    };
    let batches: Vec<_> = (0..40).map(large).collect();
    process.flush_of(&batches).await;
    assert_eq!(process.rows().await.len(), 1, "one segment of 16 MB");
    compact(&world, &process).await;
    let offsets: Vec<_> = process.records().await.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (10..40).collect::<Vec<_>>());
    let rows = process.rows().await;
    assert!((4..=6).contains(&rows.len()), "12 MB in objects of 3 MiB: {}", rows.len());
    assert!(rows.windows(2).all(|pair| pair[0].last_offset.next() == pair[1].base_offset));
    let figures = process.storage.stats().compaction;
    assert!(figures.written_bytes < 12_200_000 && figures.read_bytes > 16_000_000, "{figures:?}");
}
