//! A bucket that is slow or fails: second requests, and answers with what is there.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::object::samples::slices;
use crate::store::faults::{Fault, FaultPlan, Operation, Rule};

const MIB: usize = 1 << 20;
const BLOCK_RECORDS: i64 = 1_040;

/// A reader over a bucket with faults, which knows how fast the bucket is: 10 ms for each GET.
async fn taught_reader(hedge: bool) -> (ColdReader, FaultPlan, SegmentRef) {
    let (store, segment) = filled(Store::in_memory(), &slices(0, 60 * 104, 10_000)).await;
    let plan = FaultPlan::seeded(7);
    let wrapping = plan.clone();
    let store = store.wrapped(move |inner| wrapping.wrap(inner));
    let options = ColdOptions { hedge, cache_bytes: 4 * MIB as u64, ..no_read_ahead() };
    let reader = ColdReader::new(store, options);
    plan.add(Rule::new(slow(10)).on([Operation::Get]));
    for block in 0..50 {
        read_block(&reader, &segment, block).await;
    }
    (reader, plan, segment)
}

fn slow(millis: u64) -> Fault {
    let time = Duration::from_millis(millis);
    Fault::Slow(time, time)
}

async fn read_block(reader: &ColdReader, segment: &SegmentRef, block: i64) -> Vec<Bytes> {
    reader.read(segment, Offset(block * BLOCK_RECORDS), 1, true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_slow_get_is_overtaken_by_a_second_one() {
    let (reader, plan, segment) = taught_reader(true).await;
    plan.clear();
    plan.add(Rule::new(slow(60_000)).on([Operation::Get]).times(1));
    let began = Instant::now();
    let runs = read_block(&reader, &segment, 55).await;
    assert_eq!(offset_of(&runs[0]), Offset(55 * BLOCK_RECORDS));
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    let stats = reader.stats();
    assert_eq!((stats.hedges, stats.hedges_won), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_second_requests_a_slow_get_is_waited_for() {
    let (reader, plan, segment) = taught_reader(false).await;
    plan.clear();
    plan.add(Rule::new(slow(5_000)).on([Operation::Get]).times(1));
    let began = Instant::now();
    read_block(&reader, &segment, 55).await;
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(reader.stats().hedges, 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_that_fails_harms_nobody() {
    let (reader, plan, segment) = taught_reader(true).await;
    plan.clear();
    plan.add(Rule::new(slow(200)).on([Operation::Get]).times(1));
    let reading = tokio::spawn({
        let reader = reader.clone();
        async move { read_block(&reader, &segment, 55).await }
    });
    // The first is on its way; whatever is sent from now on is refused.
    tokio::time::sleep(Duration::from_millis(1)).await;
    plan.clear();
    plan.add(Rule::new(Fault::Unavailable).on([Operation::Get]));
    assert!(!reading.await.unwrap().is_empty());
    let stats = reader.stats();
    assert_eq!((stats.hedges, stats.hedges_won), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_slow_altogether_gets_few_second_requests() {
    let (reader, plan, segment) = taught_reader(true).await;
    plan.clear();
    plan.add(Rule::new(slow(1_000)).on([Operation::Get]));
    let before = reader.stats();
    for round in 0..3 {
        for block in 0..50 {
            read_block(&reader, &segment, (block + round) % 60).await;
        }
    }
    let after = reader.stats();
    let (gets, hedges) = (after.gets - before.gets, after.hedges - before.hedges);
    assert!(gets > 100 && hedges > 0 && hedges <= 4 + gets / 20, "{hedges} of {gets}");
}

#[tokio::test]
async fn a_later_block_that_fails_leaves_the_earlier_ones() {
    let (store, segment) = filled(Store::in_memory(), &slices(0, 4 * 104, 10_000)).await;
    let plan = FaultPlan::seeded(7);
    let wrapping = plan.clone();
    let reader = ColdReader::new(store.wrapped(move |inner| wrapping.wrap(inner)), no_read_ahead());
    read_block(&reader, &segment, 0).await;
    plan.add(Rule::new(Fault::Unavailable).on([Operation::Get]));
    let runs = reader.read(&segment, Offset(0), 4 * MIB, true).await.unwrap();
    let last = runs.last().and_then(|run| last_offset_of_run(run));
    assert_eq!(last, Some(Offset(BLOCK_RECORDS - 1)), "the block that is in memory");
    let next = reader.read(&segment, Offset(BLOCK_RECORDS), MIB, true).await;
    assert!(matches!(next, Err(ColdReadError::Store { .. })), "and then the truth: {next:?}");
    plan.clear();
    let runs = reader.read(&segment, Offset(BLOCK_RECORDS), 4 * MIB, true).await.unwrap();
    assert!(runs.len() > 1, "it heals");
}
