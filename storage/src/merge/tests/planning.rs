//! Rows in, plan out.

use std::collections::HashSet;
use std::time::Duration;

use antiphon_catalog::SegmentRow;
use antiphon_common::{ByteCount, LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp};

use proptest::prelude::*;

use crate::LogConfig;
use crate::merge::MergeOptions;
use crate::merge::options::Limits;
use crate::merge::plan::{Open, Plan, Planner};

const MIB: u64 = 1 << 20;
const NOW: Timestamp = Timestamp(1_000_000_000);
const MINUTE: i64 = 60_000;

/// Ten offsets each, neighbours, flushed a minute apart, the last one now: (level, MiB).
fn rows(shape: &[(u8, u64)]) -> Vec<SegmentRow> {
    let count = shape.len() as i64;
    let row = |(index, (level, mib)): (usize, &(u8, u64))| {
        let index = index as i64;
        let time = Timestamp(NOW.get() - (count - 1 - index) * MINUTE);
        SegmentRow {
            partition_id: PartitionId(1),
            base_offset: Offset(index * 10),
            last_offset: Offset(index * 10 + 9),
            object_id: ObjectId(index as u128),
            position: 0,
            length: mib * MIB,
            index_position: 0,
            index_length: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: time,
            record_count: 10,
            leader_epoch: LeaderEpoch(0),
            level: *level,
            created_at: time,
            crc: None,
        }
    };
    shape.iter().enumerate().map(row).collect()
}

fn repeated(level: u8, mib: u64, count: usize) -> Vec<(u8, u64)> {
    vec![(level, mib); count]
}

fn unlimited() -> Limits {
    MergeOptions::default().limits(&LogConfig { retention_time: None, ..LogConfig::default() })
}

fn plan_at(rows: &[SegmentRow], limits: Limits, now: i64, sparse: &[u128]) -> Plan {
    let options = MergeOptions::default();
    let sparse: HashSet<_> = sparse.iter().map(|id| ObjectId(*id)).collect();
    Planner { options: &options, limits, now: Timestamp(now) }.plan(rows, &sparse)
}

fn plan(rows: &[SegmentRow]) -> Plan {
    plan_at(rows, unlimited(), NOW.get(), &[])
}

fn settled(rows: &[SegmentRow], limits: Limits) -> i64 {
    let options = MergeOptions::default();
    Planner { options: &options, limits, now: NOW }.settled_end(rows).get()
}

fn waits(plan: &Plan) -> bool {
    matches!(plan, Plan::Wait { .. })
}

#[test]
fn sixteen_flushed_segments_become_one() {
    assert!(waits(&plan(&rows(&repeated(0, 1, 15)))));
    assert_eq!(plan(&rows(&repeated(0, 1, 16))), Plan::Merge { rows: 0..16, level: 1 });
    assert_eq!(plan(&rows(&repeated(0, 1, 20))), Plan::Merge { rows: 0..20, level: 1 });
}

#[test]
fn enough_bytes_need_no_sixteen_segments() {
    assert!(waits(&plan(&rows(&[(0, 60), (0, 60)]))));
    assert_eq!(plan(&rows(&[(0, 60), (0, 60), (0, 60)])), Plan::Merge { rows: 0..3, level: 1 });
    let many = rows(&repeated(0, 60, 10));
    assert_eq!(plan(&many), Plan::Merge { rows: 0..4, level: 1 }, "240 of 256 MiB");
}

#[test]
fn tiny_segments_wait_for_more_of_them() {
    let tiny = |count| {
        let mut rows = rows(&repeated(0, 0, count));
        rows.iter_mut().for_each(|row| row.length = 1_000);
        rows
    };
    assert!(waits(&plan_at(&tiny(255), unlimited(), NOW.get() - 200 * MINUTE, &[])));
    assert_eq!(plan(&tiny(256)), Plan::Merge { rows: 0..256, level: 1 });
}

#[test]
fn levels_merge_among_themselves() {
    let shape = [repeated(1, 4, 15), repeated(0, 1, 3)].concat();
    assert!(waits(&plan(&rows(&shape))));
    let shape = [repeated(2, 70, 1), repeated(1, 4, 16), repeated(0, 1, 3)].concat();
    assert_eq!(plan(&rows(&shape)), Plan::Merge { rows: 1..17, level: 2 });
}

#[test]
fn a_full_segment_is_left_alone() {
    assert!(waits(&plan(&rows(&[(0, 128), (0, 128), (1, 200), (0, 10)]))));
    let rows = rows(&[(1, 128), (0, 300), (1, 4), (0, 1)]);
    assert_eq!(settled(&rows, unlimited()), 20, "what is behind may still grow");
}

#[test]
fn what_is_compacted_is_left_to_compaction() {
    let mut rows = rows(&[repeated(1, 10, 16), repeated(0, 1, 16)].concat());
    rows.iter_mut().take(16).for_each(|row| *row = row.clone().with_cleaned(true));
    assert_eq!(plan(&rows), Plan::Merge { rows: 16..32, level: 1 });
    assert!(waits(&plan(&rows[..31])));
    assert_eq!(settled(&rows, unlimited()), 160, "and never looked at again");
}

#[test]
fn nothing_is_merged_across_a_hole() {
    let mut rows = rows(&repeated(0, 1, 20));
    rows.remove(10);
    assert!(waits(&plan(&rows)));
}

#[test]
fn retention_stays_precise() {
    let config = LogConfig {
        retention_time: Some(Duration::from_secs(40 * 60)),
        retention_size: Some(ByteCount(40 * MIB)),
        ..LogConfig::default()
    };
    let limits = MergeOptions::default().limits(&config);
    assert_eq!(limits, Limits { bytes_max: 10 * MIB, span_max: Some(10 * MINUTE) });
    let by_time = Limits { bytes_max: u64::MAX, ..limits };
    assert!(waits(&plan_at(&rows(&repeated(0, 1, 60)), by_time, NOW.get(), &[])), "11 of 16");
    let by_size = Limits { span_max: None, ..limits };
    assert!(waits(&plan_at(&rows(&repeated(0, 1, 60)), by_size, NOW.get(), &[])), "10 of 16");
    let forever = LogConfig { deletes: false, ..config };
    assert_eq!(MergeOptions::default().limits(&forever), unlimited());
}

#[test]
fn a_record_from_the_future_keeps_nobody_elses_alive() {
    let mut rows = rows(&repeated(0, 1, 33));
    rows[16].max_timestamp = Timestamp(NOW.get() + 1_000 * MINUTE);
    let limits = Limits { bytes_max: u64::MAX, span_max: Some(100 * MINUTE) };
    assert_eq!(plan_at(&rows, limits, NOW.get(), &[]), Plan::Merge { rows: 0..16, level: 1 });
}

#[test]
fn old_segments_leave_objects_that_are_mostly_dead() {
    let rows = rows(&[(0, 0), (0, 0), (0, 0)]);
    let later = NOW.get() + 121 * MINUTE;
    assert!(waits(&plan_at(&rows, unlimited(), NOW.get(), &[1])), "too young");
    assert!(waits(&plan_at(&rows, unlimited(), later, &[])), "nothing is pinned");
    let merge = Plan::Merge { rows: 0..3, level: 1 };
    assert_eq!(plan_at(&rows, unlimited(), later, &[1]), merge);
    let alone = &rows[..1];
    assert_eq!(plan_at(alone, unlimited(), later, &[0]), Plan::Merge { rows: 0..1, level: 1 });
}

#[test]
fn looks_at_what_is_at_rest_become_rare() {
    let rows = rows(&[(0, 0), (0, 0)]);
    let mut now = NOW.get();
    let mut looks = 0;
    while now < NOW.get() + 30 * 24 * 60 * MINUTE {
        let plan = plan_at(&rows, unlimited(), now, &[]);
        let Plan::Wait { until: Some(until), open } = plan else { panic!("{plan:?}") };
        assert_eq!(open, Open { segments: 2, bytes: 0 });
        assert!(until.get() > now, "a look never asks for itself");
        (now, looks) = (until.get(), looks + 1);
    }
    assert!(looks < 15, "{looks} looks in a month");
}

#[test]
fn what_is_merged_is_settled_or_worth_another_look() {
    assert!(matches!(plan(&rows(&[(1, 4), (1, 4)])), Plan::Wait { until: None, .. }));
    assert!(matches!(plan(&[]), Plan::Wait { until: None, .. }));
    assert_eq!(settled(&[], unlimited()), 0);
    assert_eq!(settled(&rows(&[(1, 4), (1, 4)]), unlimited()), 0);
    let span = Limits { bytes_max: u64::MAX, span_max: Some(0) };
    assert_eq!(settled(&rows(&[(1, 4), (1, 4)]), span), 10, "nothing can join the first");
}

/// Merges until the planner waits, as the executor does.
fn merge_all(rows: &mut Vec<SegmentRow>, limits: Limits) {
    while let Plan::Merge { rows: range, level } = plan_at(rows, limits, NOW.get(), &[]) {
        let inputs = &rows[range.clone()];
        assert!(inputs.len() >= 2, "nothing is rewritten for nothing");
        let neighbours = inputs.iter().zip(&inputs[1..]);
        assert!(neighbours.clone().all(|(a, b)| b.base_offset == a.last_offset.next()));
        let length = inputs.iter().map(|row| row.length).sum();
        assert!(length <= limits.bytes_max);
        let (first, last) = (&inputs[0], &inputs[inputs.len() - 1]);
        let base_offset = first.base_offset;
        let merged = SegmentRow { base_offset, length, level, ..last.clone() };
        rows.splice(range, [merged]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is flushed: a byte is rewritten a few times at most, what is left open is a few
    /// hundred rows at most, and what is settled is never planned again.
    #[test]
    fn merging_costs_little_and_leaves_little(
        sizes in prop_oneof![
            prop::collection::vec(100..4_000_u64, 1_500),
            prop::collection::vec(10_000..3_000_000_u64, 800),
            prop::collection::vec(1_000..70_000_000_u64, 400),
        ],
    ) {
        let (mut rows, mut settled) = (Vec::new(), Offset::ZERO);
        let options = MergeOptions::default();
        let limits = unlimited();
        for (index, size) in sizes.iter().enumerate() {
            let base = index as i64 * 10;
            let flushed = super::planning::rows(&[(0, 0)]).remove(0);
            let (base_offset, last_offset) = (Offset(base), Offset(base + 9));
            rows.push(SegmentRow { base_offset, last_offset, length: *size, ..flushed });
            let before = rows.partition_point(|row| row.last_offset < settled);
            let mut open = rows.split_off(before);
            merge_all(&mut open, limits);
            let planner = Planner { options: &options, limits, now: NOW };
            settled = settled.max(planner.settled_end(&open));
            rows.extend(open);
        }
        let bytes: u64 = sizes.iter().sum();
        prop_assert_eq!(rows.iter().map(|row| row.length).sum::<u64>(), bytes);
        prop_assert!(rows.iter().all(|row| row.level <= 4));
        let open = rows.iter().filter(|row| row.last_offset >= settled).count();
        prop_assert!(open < 256 + 5 * 16, "{open} rows open");
        prop_assert!(rows.len() as u64 <= open as u64 + bytes / (60 * MIB) + 1);
    }
}
