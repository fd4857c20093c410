//! The cold path against stores in memory, in a folder, and under watch.

mod faults;
mod remote;
mod same_bytes;
mod together;

use std::sync::Arc;

use antiphon_common::{Offset, PartitionId};
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::object::samples::object_of;
use crate::object::{BatchSlice, BuiltObject};
use crate::store::watched::WatchedStore;
use crate::store::{Store, StoreOptions, StoreUrl, open_store};

/// The segment that a catalog would have for the section of partition 5.
fn segment_of(object: &BuiltObject) -> SegmentRef {
    let summary = object.sections.iter().find(|s| s.partition == PartitionId(5)).unwrap();
    SegmentRef {
        object: object.identity.object,
        partition: summary.partition,
        base_offset: summary.base_offset,
        last_offset: summary.last_offset,
        max_timestamp: summary.max_timestamp,
        position: summary.position,
        length: summary.length,
        index_position: summary.index_position,
        index_length: summary.index_length,
        crc: Some(summary.crc),
    }
}

/// A store that holds `batches` as partition 5 of object 1.
async fn filled(store: Store, batches: &[BatchSlice]) -> (Store, SegmentRef) {
    let object = object_of(batches);
    store.put_object(&object).await.unwrap();
    (store, segment_of(&object))
}

fn local_store() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::File(folder.path().to_owned());
    (open_store(&url, &StoreOptions::default()).unwrap(), folder)
}

/// A reader of a watched store in memory that holds `batches`.
async fn watched_reader(
    batches: &[BatchSlice],
    options: ColdOptions,
) -> (ColdReader, Arc<WatchedStore>, SegmentRef) {
    let (store, segment) = filled(Store::in_memory(), batches).await;
    let watched = Arc::new(WatchedStore::new(Arc::clone(&store.history)));
    let store = store.wrapped(|_| Arc::clone(&watched) as _);
    (ColdReader::new(store, options), watched, segment)
}

/// Reads a whole segment in steps of `max_bytes`, as a consumer would.
async fn read_all(reader: &ColdReader, segment: &SegmentRef, max_bytes: usize) -> Vec<u8> {
    let (mut all, mut from) = (Vec::new(), segment.base_offset);
    while from <= segment.last_offset {
        let runs = reader.read(segment, from, max_bytes, true).await.unwrap();
        let bytes: usize = runs.iter().map(Bytes::len).sum();
        let first = first_batch_bytes(&runs);
        assert!(bytes <= max_bytes.max(first), "{bytes} bytes where {max_bytes} were allowed");
        from = runs.last().and_then(|run| last_offset_of_run(run)).unwrap().next();
        runs.iter().for_each(|run| all.extend_from_slice(run));
    }
    all
}

fn first_batch_bytes(runs: &[Bytes]) -> usize {
    12 + i32::from_be_bytes(runs[0][8..12].try_into().unwrap()) as usize
}

fn concatenated(batches: &[BatchSlice]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.bytes.iter().copied()).collect()
}

/// The options of a reader that never reads ahead: no window fits.
fn no_read_ahead() -> ColdOptions {
    ColdOptions { readahead_concurrency: 1, readahead_bytes_max: 0, ..ColdOptions::default() }
}

fn offset_of(run: &[u8]) -> Offset {
    Offset(i64::from_be_bytes(run[..8].try_into().unwrap()))
}
