//! What is written is what is read; what was damaged is noticed; what is old stays readable.

use std::sync::Arc;

use antiphon_common::{LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use proptest::prelude::*;

use super::samples::{bytes_of, identity, object_of, slice, slices};
use super::section::SectionKind;
use super::*;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/object-v1.bin");

/// Two partitions; the second has two blocks, because its batches exceed one block together.
fn golden_object() -> BuiltObject {
    let mut builder = ObjectBuilder::new(identity(0x0198_c0de));
    builder.section(PartitionId(1), slices(100, 2, 80)).unwrap();
    let large = [slice(0, 5, 70), slice(5, 1, BLOCK_BYTES_TARGET as usize), slice(9, 2, 90)];
    builder.section(PartitionId(2), large).unwrap();
    builder.finish().unwrap()
}

/// The golden file without the mebibyte of filler: table and footer, and what comes before the
/// block.
fn skeleton(object: &[u8]) -> Vec<u8> {
    let filler = 80 + 80 + 70..80 + 80 + 70 + BLOCK_BYTES_TARGET as usize;
    [&object[..filler.start], &object[filler.end..]].concat()
}

fn decode(object: &[u8]) -> Result<ObjectLayout, DecodeObjectError> {
    let size = object.len() as u64;
    let footer = footer_of_tail(object, size)?;
    let table = footer.table_position as usize..object.len() - FOOTER_BYTES;
    ObjectLayout::decode(footer, &object[table])
}

async fn load(object: &[u8], id: ObjectId) -> Result<ObjectLayout, LoadLayoutError> {
    let (store, path) = (InMemory::new(), Path::from("o"));
    store.put(&path, PutPayload::from(object.to_vec())).await.unwrap();
    ObjectLayout::load(&store, &path, id, object.len() as u64).await
}

#[test]
fn version_1_is_written_as_it_always_was() {
    assert_eq!(skeleton(&bytes_of(&golden_object())), GOLDEN);
}

#[test]
#[ignore = "writes the golden file of a new format version"]
fn write_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/object-v1.bin");
    std::fs::write(path, skeleton(&bytes_of(&golden_object()))).unwrap();
}

#[test]
fn version_1_is_read_as_it_always_was() {
    let filler = &bytes_of(&golden_object())[230..230 + BLOCK_BYTES_TARGET as usize];
    let object = [&GOLDEN[..230], filler, &GOLDEN[230..]].concat();
    let layout = decode(&object).unwrap();
    assert_eq!(layout.footer().writer, identity(0x0198_c0de));
    let section = layout.section_of(PartitionId(2)).unwrap();
    let summary = section.summary();
    assert_eq!((summary.base_offset, summary.last_offset), (Offset(0), Offset(10)));
    assert_eq!((summary.record_count, summary.leader_epoch), (8, LeaderEpoch(3)));
    assert_eq!(summary.max_timestamp, Timestamp(9000));
    let blocks: Vec<_> = section.blocks().iter().map(|b| (b.base_offset.0, b.length)).collect();
    assert_eq!(blocks, [(0, 70), (5, BLOCK_BYTES_TARGET), (9, 90)]);
}

#[tokio::test]
async fn a_layout_is_loaded_as_it_was_built() {
    let built = golden_object();
    let layout = load(&bytes_of(&built), built.identity.object).await.unwrap();
    let summaries: Vec<_> = layout.sections().iter().map(|section| *section.summary()).collect();
    assert_eq!(summaries, built.sections);
    assert_eq!(layout.footer(), &built.footer);
}

#[tokio::test]
async fn a_table_longer_than_the_first_guess_is_loaded_with_a_second_get() {
    let mut builder = ObjectBuilder::new(identity(1));
    for partition in 0..2000 {
        builder.section(PartitionId(partition), slices(0, 1, 61)).unwrap();
    }
    let built = builder.finish().unwrap();
    assert!(built.footer.table_length > 64 << 10);
    let layout = load(&bytes_of(&built), ObjectId(1)).await.unwrap();
    assert_eq!(layout.sections().len(), 2000);
}

#[tokio::test]
async fn a_file_in_the_wrong_place_is_noticed() {
    let object = bytes_of(&golden_object());
    let error = load(&object, ObjectId(9)).await.unwrap_err();
    assert!(matches!(error, LoadLayoutError::WrongObject { object: ObjectId(9), .. }), "{error}");
}

#[test]
fn record_bytes_are_referenced_and_not_copied() {
    let batches = slices(0, 50, 1000);
    let object = object_of(&batches);
    for batch in &batches {
        let there = object.payload.iter().any(|piece| piece.as_ptr() == batch.bytes.as_ptr());
        assert!(there, "the batch at {} was copied", batch.base_offset);
    }
}

#[test]
fn checksums_cover_blocks_and_sections() {
    let object = object_of(&slices(0, 300, 10_000));
    let bytes = bytes_of(&object);
    let layout = decode(&bytes).unwrap();
    let section = layout.section_of(PartitionId(5)).unwrap();
    assert_eq!(section.blocks().len(), 3);
    for block in section.blocks() {
        let range = block.position as usize..block.end().unwrap() as usize;
        assert_eq!(crc32c(&bytes[range]), block.crc);
        assert!(block.length <= BLOCK_BYTES_TARGET);
    }
    let summary = section.summary();
    let range = summary.position as usize..summary.end().unwrap() as usize;
    assert_eq!(crc32c(&bytes[range]), summary.crc);
}

#[test]
fn an_entry_can_be_read_alone() {
    let object = object_of(&slices(0, 300, 10_000));
    let bytes = bytes_of(&object);
    let layout = decode(&bytes).unwrap();
    for section in layout.sections() {
        let at = section.summary().index_position;
        let entry = &bytes[at as usize..(at + section.summary().index_length) as usize];
        assert_eq!(SectionIndex::decode_alone(entry, at).as_ref(), Ok(&**section));
    }
}

#[test]
fn sections_of_unknown_kinds_are_stepped_over() {
    let object = bytes_of(&object_of(&slices(0, 3, 100)));
    let known = decode(&object).unwrap();
    let first = *known.sections()[0].summary();
    let mut table = Vec::new();
    known.sections()[0].encode_to(&mut table);
    let position = first.end().unwrap();
    let stranger = SectionSummary { kind: SectionKind(77), position, length: 10, ..first };
    stranger.encode_to(b"an index of another make", &mut table);
    let footer =
        Footer { table_length: table.len() as u64, table_crc: crc32c(&table), ..*known.footer() };
    let layout = ObjectLayout::decode(footer, &table).unwrap();
    assert_eq!(layout.sections().len(), 1);
    assert_eq!(layout.section_of(PartitionId(4)).unwrap().summary().kind, SectionKind::RECORDS);
}

#[test]
fn blocks_are_found_by_offset() {
    let object = bytes_of(&object_of(&[slices(100, 200, 10_000), slices(5000, 1, 100)].concat()));
    let layout = decode(&object).unwrap();
    let section = layout.section_of(PartitionId(5)).unwrap();
    // 104 batches of 10,000 bytes fit into a block: it holds offsets 100 to 1139.
    for (offset, block) in [(0, 0), (100, 0), (1139, 0), (1140, 1), (4000, 1), (5009, 1)] {
        assert_eq!(section.block_of_offset(Offset(offset)), Some(block), "offset {offset}");
    }
    assert_eq!(section.block_of_offset(Offset(5010)), None);
}

#[test]
fn blocks_are_found_by_timestamp() {
    let object = bytes_of(&object_of(&slices(0, 200, 10_000)));
    let layout = decode(&object).unwrap();
    let section = layout.section_of(PartitionId(5)).unwrap();
    let latest_of_first = section.blocks()[0].max_timestamp;
    assert_eq!(section.block_of_timestamp(Timestamp(0), 0), Some(0));
    assert_eq!(section.block_of_timestamp(latest_of_first, 0), Some(0));
    assert_eq!(section.block_of_timestamp(Timestamp(latest_of_first.0 + 1), 0), Some(1));
    assert_eq!(section.block_of_timestamp(Timestamp(0), 1), Some(1));
    assert_eq!(section.block_of_timestamp(Timestamp(i64::MAX), 0), None);
}

#[test]
fn what_makes_no_object_is_refused_and_changes_nothing() {
    let partition = PartitionId(1);
    let mut builder = ObjectBuilder::new(identity(1));
    builder.section(partition, slices(0, 1, 100)).unwrap();
    let duplicate = builder.section(partition, slices(10, 1, 100));
    assert_eq!(duplicate, Err(BuildObjectError::DuplicateSection { partition }));
    let partition = PartitionId(2);
    assert_eq!(builder.section(partition, []), Err(BuildObjectError::EmptySection { partition }));
    let out_of_order = [slice(10, 10, 100), slice(19, 10, 100)];
    let offset = Offset(19);
    let refused = builder.section(partition, out_of_order);
    assert_eq!(refused, Err(BuildObjectError::OutOfOrder { partition, offset }));
    assert_eq!(builder.len(), 100);
    assert_eq!(builder.finish().unwrap().sections.len(), 1);
    let empty = ObjectBuilder::new(identity(1)).finish();
    assert_eq!(empty.unwrap_err(), BuildObjectError::EmptyObject);
}

fn batches() -> impl Strategy<Value = Vec<BatchSlice>> {
    let shape = (1..20i32, 61..40_000usize, 0..3i64);
    prop::collection::vec(shape, 1..120).prop_map(|shapes| {
        let mut base = 0;
        let mut batches = Vec::new();
        for (records, size, hole) in shapes {
            batches.push(slice(base + hole, records, size));
            base += hole + i64::from(records);
        }
        batches
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_batch_lies_in_the_block_that_its_offset_leads_to(batches in batches()) {
        let object = object_of(&batches);
        let bytes = bytes_of(&object);
        prop_assert_eq!(bytes.len() as u64, object.size);
        let layout = decode(&bytes).unwrap();
        let section = Arc::clone(layout.section_of(PartitionId(5)).unwrap());
        let mut position = section.summary().position;
        for batch in &batches {
            let block = section.blocks()[section.block_of_offset(batch.last_offset).unwrap()];
            let end = position + batch.bytes.len() as u64;
            prop_assert!(block.position <= position && end <= block.end().unwrap());
            prop_assert_eq!(&bytes[position as usize..end as usize], &batch.bytes[..]);
            position = end;
        }
    }

    #[test]
    fn a_damaged_table_or_footer_is_noticed(at in 0..1000usize, flip in 1..=255u8) {
        let object = object_of(&slices(0, 3, 100));
        let mut bytes = bytes_of(&object);
        let start = object.footer.table_position as usize;
        let at = start + at % (bytes.len() - start);
        bytes[at] ^= flip;
        // Reserved bytes are covered by the checksums like all others.
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(tail: Vec<u8>, entry: Vec<u8>, size: u64) {
        let _ = footer_of_tail(&tail, size);
        let _ = SectionIndex::decode_alone(&entry, size);
    }

    /// Tables whose checksums are right and whose fields are not: what a defective writer would
    /// leave.
    #[test]
    fn lying_tables_never_panic(
        position: u64,
        length: u64,
        base: i64,
        last: i64,
        blocks in prop::collection::vec(any::<(i64, u64, u64)>(), 0..4),
    ) {
        let object = object_of(&slices(0, 1, 100));
        let summary = SectionSummary {
            position, length, base_offset: Offset(base), last_offset: Offset(last),
            ..object.sections[0]
        };
        let mut index = Vec::new();
        for (base_offset, position, length) in blocks {
            let base_offset = Offset(base_offset);
            let max_timestamp = Timestamp(0);
            let entry = BlockEntry { base_offset, position, length, max_timestamp, crc: 0 };
            entry.encode_to(&mut index);
        }
        let mut table = Vec::new();
        summary.encode_to(&index, &mut table);
        let footer = Footer {
            table_length: table.len() as u64, table_crc: crc32c(&table), ..object.footer
        };
        if let Ok(layout) = ObjectLayout::decode(footer, &table) {
            prop_assert!(layout.sections()[0].summary().end().unwrap() <= footer.table_position);
        }
    }
}
