//! Whatever the store, the sizes and the order: what comes back is what was put.

use antiphon_common::{Offset, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::object::samples::{slice, slices};
use crate::object::{BLOCK_BYTES_TARGET, DecodeObjectError};
use crate::store::object_path;

/// Small and large batches, holes, one batch that is longer than a block: some 4 MiB in all.
fn mixed() -> Vec<BatchSlice> {
    let mut batches = slices(100, 2_000, 700);
    batches.push(slice(30_000, 500, 3 * BLOCK_BYTES_TARGET as usize / 2));
    batches.extend(slices(40_000, 20, 70_000));
    batches
}

#[tokio::test]
async fn a_consumer_gets_every_byte_whatever_it_asks_for_at_a_time() {
    let (local, _folder) = local_store();
    for store in [Store::in_memory(), local] {
        let (store, segment) = filled(store, &mixed()).await;
        let reader = ColdReader::new(store, ColdOptions::default());
        for max_bytes in [5_000, 50_000, 1 << 20, 3 << 20, 64 << 20] {
            let read = read_all(&reader, &segment, max_bytes).await;
            assert!(read == concatenated(&mixed()), "steps of {max_bytes} bytes");
        }
    }
}

#[tokio::test]
async fn a_reader_without_room_for_caches_gets_every_byte_too() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let options = ColdOptions { cache_bytes: 0, index_cache_bytes: 0, ..ColdOptions::default() };
    let reader = ColdReader::new(store, options);
    assert!(read_all(&reader, &segment, 300_000).await == concatenated(&mixed()));
    assert_eq!(reader.stats().cached_bytes, 0);
}

#[tokio::test]
async fn reading_starts_with_the_batch_that_contains_the_offset() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let reader = ColdReader::new(store, ColdOptions::default());
    let wanted = [(0, 100), (100, 100), (109, 100), (110, 110), (20_099, 20_090), (25_000, 30_000)];
    for (from, base) in wanted.into_iter().chain([(30_499, 30_000), (39_999, 40_000)]) {
        let runs = reader.read(&segment, Offset(from), 1, true).await.unwrap();
        assert_eq!(offset_of(&runs[0]), Offset(base), "from {from}");
    }
    let beyond = reader.read(&segment, Offset(40_200), 1 << 20, true).await.unwrap();
    assert!(beyond.is_empty());
}

#[tokio::test]
async fn a_first_batch_without_room_comes_only_when_one_is_demanded() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let reader = ColdReader::new(store, ColdOptions::default());
    assert!(reader.read(&segment, Offset(30_000), 1 << 20, false).await.unwrap().is_empty());
    assert!(reader.read(&segment, Offset(100), 0, false).await.unwrap().is_empty());
    let forced = reader.read(&segment, Offset(30_000), 1 << 20, true).await.unwrap();
    assert_eq!(forced.iter().map(Bytes::len).sum::<usize>(), 3 << 19);
}

#[tokio::test]
async fn nothing_after_the_segments_end_is_served() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let reader = ColdReader::new(store, ColdOptions::default());
    let cut_short = SegmentRef { last_offset: Offset(119), ..segment };
    let runs = reader.read(&cut_short, Offset(100), 1 << 20, true).await.unwrap();
    assert_eq!(runs.iter().map(Bytes::len).sum::<usize>(), 2 * 700);
}

#[tokio::test]
async fn a_read_does_not_copy_what_is_cached() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let reader = ColdReader::new(store, ColdOptions::default());
    let first = reader.read(&segment, Offset(100), 10_000, true).await.unwrap();
    let second = reader.read(&segment, Offset(100), 10_000, true).await.unwrap();
    assert_eq!(first[0].as_ptr(), second[0].as_ptr());
}

#[tokio::test]
async fn a_flipped_bit_is_never_served_and_names_its_block() {
    let (local, _folder) = local_store();
    for store in [Store::in_memory(), local] {
        let batches = slices(0, 400, 10_000);
        let object = object_of(&batches);
        let segment = segment_of(&object);
        let mut bytes = crate::object::samples::bytes_of(&object);
        // Some way into the second of four blocks.
        let second = segment.position + 104 * 10_000;
        bytes[second as usize + 12_345] ^= 0x10;
        let path = object_path(object.identity.object);
        object_store::ObjectStoreExt::put(&*store.objects, &path, bytes.into()).await.unwrap();

        let reader = ColdReader::new(store, ColdOptions::default());
        for _ in 0..2 {
            let error = reader.read(&segment, Offset(1_100), 1 << 20, true).await.unwrap_err();
            let ColdReadError::Corrupt { object, position, fault } = error else {
                panic!("{error}");
            };
            assert_eq!((object, position), (segment.object, second));
            assert!(matches!(fault, BlockFault::Checksum { .. }), "{fault}");
        }
        for intact in [0, 2_080, 3_990] {
            reader.read(&segment, Offset(intact), 1, true).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_row_that_points_elsewhere_is_noticed() {
    let (store, segment) = filled(Store::in_memory(), &mixed()).await;
    let reader = ColdReader::new(store, ColdOptions::default());
    let shifted = SegmentRef { index_position: segment.index_position + 1, ..segment };
    let error = reader.read(&shifted, Offset(100), 1, true).await.unwrap_err();
    let ColdReadError::Index { fault, .. } = error else { panic!("{error}") };
    assert!(!matches!(fault, DecodeObjectError::Magic { .. }));
    let renamed = SegmentRef { partition: PartitionId(6), ..segment };
    let error = reader.read(&renamed, Offset(100), 1, true).await.unwrap_err();
    assert!(matches!(error, ColdReadError::NoSection { .. }), "{error}");
}

#[tokio::test]
async fn an_object_that_is_gone_may_be_asked_for_again() {
    let (local, _folder) = local_store();
    for store in [Store::in_memory(), local] {
        let segment = segment_of(&object_of(&mixed()));
        let reader = ColdReader::new(store, ColdOptions::default());
        let error = reader.read(&segment, Offset(100), 1, true).await.unwrap_err();
        assert_eq!(error.kind(), antiphon_common::ErrorKind::Retry, "{error}");
    }
}

#[tokio::test]
async fn a_timestamp_leads_to_the_first_block_that_can_hold_it() {
    let (local, _folder) = local_store();
    for store in [Store::in_memory(), local] {
        let (store, segment) = filled(store, &slices(0, 400, 10_000)).await;
        let reader = ColdReader::new(store, ColdOptions::default());
        let block = |timestamp, from| {
            let reader = reader.clone();
            async move {
                let found = reader.timestamp_lookup(&segment, Timestamp(timestamp), Offset(from));
                found.await.unwrap().map(|block| offset_of(&block).0)
            }
        };
        assert_eq!(block(0, 0).await, Some(0));
        assert_eq!(block(1_030_000, 0).await, Some(0), "the last batch of the first block");
        assert_eq!(block(1_030_001, 0).await, Some(1_040));
        assert_eq!(block(0, 1_040).await, Some(1_040), "not before the offset asked from");
        assert_eq!(block(3_990_001, 0).await, None);
        assert_eq!(block(0, 4_000).await, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any batches, any options: reading on from where the last read ended yields every byte once.
    #[test]
    fn reading_on_yields_every_byte_once(
        shapes in prop::collection::vec((1..9i32, 61..200_000usize, 0..5i64), 1..40),
        max_bytes in 1..3_000_000usize,
        cache_bytes in 0..4_000_000u64,
        remote: bool,
    ) {
        let mut base = 0;
        let batches: Vec<_> = shapes.into_iter().map(|(records, size, hole)| {
            let batch = slice(base + hole, records, size);
            base += hole + i64::from(records);
            batch
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (local, _folder) = local_store();
            let store = if remote { Store::in_memory() } else { local };
            let (store, segment) = filled(store, &batches).await;
            let options = ColdOptions { cache_bytes, ..ColdOptions::default() };
            let reader = ColdReader::new(store, options);
            assert!(read_all(&reader, &segment, max_bytes).await == concatenated(&batches));
        });
    }
}
