//! A crash at every step of a merge, and replies that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::kit::{Process, World, shape};
use crate::MergeOptions;
use crate::merge::tests::kit::eager;
use crate::store::faults::{Fault, FaultPlan, Operation, Outage, Rule};

/// Longer than a catalog call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cuts the bucket off after `steps` more requests were carried out.
fn cut_after(plan: &FaultPlan, steps: u64) -> Arc<AtomicU64> {
    let done = Arc::new(AtomicU64::new(0));
    let (counted, cut) = (Arc::clone(&done), plan.clone());
    plan.on_applied(Some(Arc::new(move |_, _| {
        if counted.fetch_add(1, Ordering::SeqCst) + 1 == steps {
            cut.set_outage(Outage::Refuses);
        }
    })));
    done
}

async fn process_with_segments(world: &World, plan: &FaultPlan) -> Process {
    let process = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
    process.flushes(5, 700).await;
    process
}

/// Everything that was there is there, and nothing else is once the dust has settled; and the merge
/// that the crash prevented happens now.
async fn recovers(world: &World, expected: &[Vec<u8>], label: &str) {
    let process = world.open().await;
    assert_eq!(process.histories().await, expected, "{label}: after the restart");
    process.quiesce(world).await;
    assert_eq!(process.histories().await, expected, "{label}: after the sweep");
    process.storage.merge().await;
    for partition in 0..2 {
        assert_eq!(shape(&process.segments(partition).await), [(0, 14, 1)], "{label}");
    }
    process.quiesce(world).await;
    assert_eq!(process.histories().await, expected, "{label}: after the merge");
    world.crash(process);
}

/// Nothing is cut off in between: each number of requests is tried until a merge needs no more.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_request_loses_nothing_and_leaks_nothing() {
    for (steps, options) in (1..).map(|steps| (steps, eager())) {
        let mut world = World::in_memory();
        world.merge = options;
        let plan = FaultPlan::seeded(steps);
        let process = process_with_segments(&world, &plan).await;
        let expected = process.histories().await;
        let done = cut_after(&plan, steps);
        let merged = tokio::time::timeout(PATIENCE, process.storage.merge()).await;
        let finished = merged.is_ok() && done.load(Ordering::SeqCst) < steps;
        plan.on_applied(None);
        world.crash(process);
        recovers(&world, &expected, &format!("cut after {steps} requests")).await;
        if finished {
            assert!(steps > 10, "two merges: reads, a put and a commit each");
            return;
        }
    }
}

/// The same for an object that goes in parts.
#[tokio::test(start_paused = true)]
async fn a_crash_while_parts_are_put_leaves_history_as_it_was() {
    for steps in [1, 3, 5, 7, 9] {
        let mut world = World::in_memory();
        world.partitions = 1;
        world.merge = MergeOptions { bytes_full: 17 << 20, bytes_max: 64 << 20, ..eager() };
        let plan = FaultPlan::seeded(steps);
        let process = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
        process.flushes(3, 6 << 20).await;
        let expected = process.histories().await;
        cut_after(&plan, steps);
        let merged = tokio::time::timeout(PATIENCE, process.storage.merge()).await;
        plan.on_applied(None);
        world.crash(process);
        let process = world.open().await;
        assert!(process.histories().await == expected, "cut after {steps} requests: {merged:?}");
        process.quiesce(&world).await;
        assert!(process.histories().await == expected, "cut after {steps}, swept");
    }
}

/// The put's reply is lost: the object is known again by its footer.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_the_put_is_no_failure() {
    let world = World::in_memory();
    let plan = FaultPlan::seeded(1);
    let process = process_with_segments(&world, &plan).await;
    let expected = process.histories().await;
    plan.add(Rule::new(Fault::ReplyLost).on([Operation::Put]).below("objects").times(2));
    process.storage.merge().await;
    assert_eq!(plan.struck().len(), 1, "the fault did strike");
    let stats = process.storage.stats().merge;
    assert_eq!((stats.objects, stats.failures), (2, 0));
    assert_eq!(process.histories().await, expected);
    process.quiesce(&world).await;
}

/// The commit takes longer than a call may: it is repeated with the same object until it is known
/// that the first attempt did it.
#[tokio::test(start_paused = true)]
async fn a_commit_of_unknown_outcome_is_repeated_until_it_is_known() {
    let world = World::in_memory();
    let plan = FaultPlan::seeded(1);
    let process = process_with_segments(&world, &plan).await;
    let expected = process.histories().await;
    let late = Fault::Slow(Duration::from_secs(12), Duration::from_secs(13));
    plan.add(Rule::new(late).on([Operation::Put]).below("catalog").times(1));
    let started = tokio::time::Instant::now();
    process.storage.merge().await;
    assert!(started.elapsed() > Duration::from_secs(8), "the first attempt ran out of time");
    assert_eq!(plan.struck().values().sum::<u64>(), 1);
    let stats = process.storage.stats().merge;
    assert_eq!((stats.objects, stats.failures, stats.overtaken), (2, 0, 0));
    assert_eq!(process.histories().await, expected);
    process.quiesce(&world).await;
    assert_eq!(world.listed().await.len(), 2);
}

/// Damage is not copied: the merge is put off, and what can be read stays readable.
#[tokio::test(start_paused = true)]
async fn a_damaged_segment_is_not_merged() {
    let world = World::in_memory();
    let plan = FaultPlan::seeded(1);
    let process = process_with_segments(&world, &plan).await;
    let expected = process.histories().await;
    for fault in [Fault::FlippedBit, Fault::WrongRange, Fault::TruncatedBody] {
        plan.add(Rule::new(fault).on([Operation::Get]).below("objects"));
        process.storage.merge().await;
        assert_eq!(process.segments(0).await.len(), 5, "{fault:?}");
        plan.clear();
        world.advance(Duration::from_secs(3_601));
    }
    assert_eq!(process.storage.stats().merge.failures, 6);
    process.storage.merge().await;
    assert_eq!(process.segments(0).await.len(), 1, "the damage was on the way");
    assert_eq!(process.histories().await, expected);
}

/// Retention takes an input while the merge is under way: the merge comes to nothing, and its object
/// goes.
#[tokio::test(start_paused = true)]
async fn a_merge_that_is_overtaken_leaves_nothing() {
    let mut world = World::in_memory();
    world.partitions = 1;
    let plan = FaultPlan::seeded(1);
    let process = process_with_segments(&world, &plan).await;
    let catalog = Arc::clone(&process.catalog);
    let id = process.id(0);
    let slow = Fault::Slow(Duration::from_secs(2), Duration::from_secs(2));
    plan.add(Rule::new(slow).on([Operation::Put]).below("objects"));
    let trim = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        catalog.remove_segments_below(id, antiphon_common::Offset(3)).await.expect("trimmed");
    };
    tokio::join!(process.storage.merge(), trim);
    let stats = process.storage.stats().merge;
    assert_eq!(stats.overtaken, 1);
    assert_eq!(shape(&process.segments(0).await), [(3, 14, 1)], "then what was left was merged");
    process.quiesce(&world).await;
    assert_eq!(world.listed().await.len(), 1);
}

/// Flushes that cannot keep up make a merge wait, not for ever.
#[tokio::test(start_paused = true)]
async fn merges_stand_still_while_flushes_cannot_keep_up() {
    let mut world = World::in_memory();
    world.partitions = 1;
    world.tail_bytes_max = 64 << 10;
    let process = world.open().await;
    process.flushes(4, 500).await;
    process.append(0, 9, 40_000).await;
    let merging = process.storage.merge();
    tokio::pin!(merging);
    let early = tokio::time::timeout(Duration::from_secs(30), &mut merging).await;
    assert!(early.is_err(), "a third of the tail waits to be flushed");
    process.storage.flush().await.expect("flush");
    merging.await;
    assert_eq!(process.segments(0).await[0].level, 1);
    assert!(process.storage.stats().merge.paused_ms >= 29_000);

    process.append(0, 10, 40_000).await;
    process.flushes(3, 500).await;
    process.append(0, 11, 40_000).await;
    process.storage.merge().await;
    assert!(process.segments(0).await.len() <= 2, "a minute for each piece, then it goes on");
}
