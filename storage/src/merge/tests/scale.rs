//! A hundred thousand rows cost neither the start nor the planner anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_catalog::{FlushCommit, ObjectRow, SegmentRow};
use antiphon_common::{BrokerId, LeaderEpoch, Lsn, ObjectId, Offset, PartitionId, Timestamp};

use tokio::time::Instant;

use super::kit::{Process, World};
use crate::MergeOptions;
use crate::store::faults::{FaultPlan, Operation};

/// Writes rows of segments that nobody will read, as full as merging makes them.
async fn fill(process: &Process, partition: usize, rows: i64, per_commit: i64) {
    let id = process.id(partition);
    for first in (0..rows).step_by(per_commit as usize) {
        let object = ObjectId((partition as u128) << 64 | u128::from(first as u64 + 1));
        let last = (first + per_commit).min(rows);
        let commit = FlushCommit {
            flushed_lsn: Lsn::ZERO,
            objects: vec![object_row(process, object)],
            segments: (first..last).map(|number| segment_row(id, object, number)).collect(),
            ..FlushCommit::default()
        };
        process.catalog.commit_flush(commit).await.expect("the rows are taken");
    }
}

fn object_row(process: &Process, object: ObjectId) -> ObjectRow {
    ObjectRow {
        object_id: object,
        size: 1,
        created_at: Timestamp(0),
        broker_id: BrokerId(1),
        broker_epoch: process.catalog.broker_epoch(),
        live_sections: 0,
        level: 0,
        live_bytes: 0,
    }
}

fn segment_row(partition_id: PartitionId, object_id: ObjectId, number: i64) -> SegmentRow {
    SegmentRow {
        partition_id,
        base_offset: Offset(number * 3),
        last_offset: Offset(number * 3 + 2),
        object_id,
        position: 0,
        length: 128 << 20,
        index_position: 0,
        index_length: 0,
        base_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp(i64::MAX / 2),
        record_count: 3,
        leader_epoch: LeaderEpoch(0),
        level: 0,
        created_at: Timestamp(i64::MAX / 2),
        crc: None,
    }
}

/// What a start and the first look at everything cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    opening_gets: u64,
    opening: Duration,
    looking_gets: u64,
    looking: Duration,
}

/// Commits that make the rows: so many that closing folds them into a table.
const COMMITS: i64 = 40;

async fn cost_of_a_start(rows: i64) -> Cost {
    let mut world = World::in_memory();
    world.partitions = 1;
    world.merge = MergeOptions { first_look_after: Duration::ZERO, ..MergeOptions::default() };
    let process = world.open().await;
    fill(&process, 0, rows, rows / COMMITS).await;
    process.catalog.close().await.expect("the catalog closes");
    world.crash(process);

    let (plan, gets) = (FaultPlan::seeded(1), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&gets);
    plan.on_applied(Some(Arc::new(move |operation, _| {
        counted.fetch_add(u64::from(operation == Operation::Get), Ordering::SeqCst);
    })));
    let started = Instant::now();
    let process = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
    let (opening, opening_gets) = (started.elapsed(), gets.swap(0, Ordering::SeqCst));
    let started = Instant::now();
    process.storage.merge().await;
    process.storage.enforce_retention().await;
    let (looking, looking_gets) = (started.elapsed(), gets.load(Ordering::SeqCst));
    assert_eq!(process.logs[0].positions().flushed_end, Offset(rows * 3));
    Cost { opening_gets, opening, looking_gets, looking }
}

#[tokio::test]
async fn a_start_and_a_look_read_no_more_rows_than_they_need() {
    let (few, many) = (cost_of_a_start(400).await, cost_of_a_start(20_000).await);
    assert!(many.opening_gets <= few.opening_gets + 2, "{few:?} and {many:?}");
    assert!(many.looking_gets <= few.looking_gets + 2, "{few:?} and {many:?}");
}

/// `cargo test -p antiphon-storage --lib -- --ignored --nocapture hundred_thousand`
#[tokio::test]
#[ignore = "measures, and prints"]
#[allow(clippy::print_stdout, reason = "what is measured is for a person")]
async fn a_hundred_thousand_rows_measured() {
    for rows in [COMMITS, 100_000] {
        let Cost { opening_gets, opening, looking_gets, looking } = cost_of_a_start(rows).await;
        println!("{rows} rows: opened in {opening:?} with {opening_gets} gets,");
        println!("  looked at in {looking:?} with {looking_gets} gets");
    }
}
