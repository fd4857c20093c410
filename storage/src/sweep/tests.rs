//! What goes, what stays, and who may decide.

mod idle;

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{BrokerEpoch, BrokerId, ErrorKind, ObjectId, PartitionId};
use object_store::{ObjectStoreExt, PutPayload};

use crate::merge::tests::kit::{World, create_topic};
use crate::object::samples::slices;
use crate::object::{ObjectBuilder, WriterIdentity};
use crate::store::faults::{Fault, FaultPlan, Operation, Outage, Rule};
use crate::store::{Store, StoreOptions, StoreUrl, object_path, open_store};
use crate::sweep::SweepError;

const HOUR: Duration = Duration::from_secs(3_600);

/// Puts an object that no catalog names, made now by the world's clock.
async fn put_orphan(world: &World, number: u64) -> ObjectId {
    let millis = world.now().get().unsigned_abs();
    let object = ObjectId(ulid::Ulid::from_parts(millis, u128::from(number)).0);
    let (broker, broker_epoch) = (BrokerId(1), BrokerEpoch(0));
    let mut builder = ObjectBuilder::new(WriterIdentity { broker, broker_epoch, object });
    builder.section(PartitionId(9), slices(0, 2, 80)).expect("a section");
    world.store.put_object(&builder.finish().expect("an object")).await.expect("put");
    object
}

fn local(folder: &std::path::Path) -> Store {
    let options = StoreOptions { create_folder: true, ..StoreOptions::default() };
    open_store(&StoreUrl::File(folder.join("store")), &options).expect("the store opens")
}

#[tokio::test]
async fn old_objects_that_nobody_names_go() {
    let world = World::in_memory();
    let process = world.open().await;
    process.flushes(3, 400).await;
    let expected = process.histories().await;
    for number in 0..5 {
        put_orphan(&world, number).await;
    }
    world.advance(HOUR + Duration::from_millis(1));
    let young = put_orphan(&world, 6).await;
    let report = process.storage.sweep().await.expect("swept");
    assert_eq!((report.listed, report.orphans, report.strangers, report.failures), (9, 5, 0, 0));
    assert!(report.orphan_bytes > 0);
    let known = process.known().await;
    let listed = world.listed().await;
    assert_eq!(listed.difference(&known).collect::<Vec<_>>(), [&young], "too young to judge");
    assert!(known.is_subset(&listed));
    assert_eq!(process.histories().await, expected);
    let stats = process.storage.stats().sweep;
    assert_eq!((stats.sweeps, stats.orphans, stats.failures), (1, 5, 0));
}

/// By the bucket's clock the object is young, whatever its name says.
#[tokio::test]
async fn both_clocks_must_agree_that_an_object_is_old() {
    let mut world = World::in_memory();
    let early = antiphon_common::Timestamp(1_000_000_000_000);
    world.clock = Arc::new(antiphon_common::ManualClock::starting_at(early));
    let process = world.open().await;
    put_orphan(&world, 1).await;
    world.advance(2 * HOUR);
    assert_eq!(process.storage.sweep().await.expect("swept").orphans, 0, "written in another year");
    assert_eq!(world.listed().await.len(), 1);
}

#[tokio::test]
async fn strangers_are_left_alone() {
    let world = World::in_memory();
    let process = world.open().await;
    for name in ["objects/readme.txt", "objects/00/zz", "other/99/01980000000000000000000000000001"]
    {
        let bytes = PutPayload::from_static(b"not ours");
        world.store.objects.put(&name.into(), bytes).await.expect("put");
    }
    world.advance(2 * HOUR);
    let report = process.storage.sweep().await.expect("swept");
    assert_eq!((report.listed, report.strangers, report.orphans), (2, 2, 0));
}

/// A flush of two objects, the second of which cannot be put for hours: the first is in the bucket, old,
/// and in no catalog. It must be there when the commit succeeds at last.
#[tokio::test(start_paused = true)]
async fn objects_of_a_flush_in_progress_stay_however_old_they_are() {
    let mut world = World::in_memory();
    world.own_object_bytes_min = 1;
    let plan = FaultPlan::seeded(1);
    let process = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
    process.append(0, 1, 500).await;
    process.append(1, 1, 500).await;
    let cut = plan.clone();
    plan.on_applied(Some(Arc::new(move |operation, path| {
        if operation == Operation::Put && path.as_ref().starts_with("objects") {
            cut.set_outage(Outage::Refuses);
        }
    })));
    let failed = process.storage.flush().await.expect_err("one object is put, the other is not");
    assert_eq!(failed.kind(), ErrorKind::Retry);
    plan.on_applied(None);
    plan.clear();
    let put = world.listed().await;
    assert_eq!(put.len(), 1);
    world.advance(2 * HOUR);
    let swept = process.storage.sweep().await.expect("swept");
    assert_eq!((swept.listed, swept.orphans), (1, 0));
    process.storage.flush().await.expect("the store answers again");
    assert!(put.is_subset(&process.known().await));
    assert!(!process.history(0).await.is_empty() && !process.history(1).await.is_empty());
    process.quiesce(&world).await;
}

/// A process that was overtaken unawares knows only the past. It must not take its successor's
/// objects for orphans.
#[tokio::test]
async fn a_process_that_was_overtaken_deletes_nothing() {
    let world = World::in_memory();
    let asleep = world.open().await;
    asleep.flushes(2, 300).await;
    let awake = world.open().await;
    awake.flushes(3, 300).await;
    let (expected, listed) = (awake.histories().await, world.listed().await);
    world.advance(2 * HOUR);
    let refused = asleep.storage.sweep().await.expect_err("it is not the owner any more");
    assert!(matches!(refused, SweepError::Catalog(_)), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert_eq!(world.listed().await, listed);
    assert_eq!(awake.histories().await, expected);
    assert_eq!(awake.storage.sweep().await.expect("the owner may").orphans, 0);
}

/// Deletions that only this process knows of, because it was overtaken before they were durable.
#[tokio::test(start_paused = true)]
async fn deletions_that_never_became_durable_are_not_carried_out() {
    let mut world = World::in_memory();
    world.partitions = 1;
    let plan = FaultPlan::seeded(1);
    let cut_off = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
    cut_off.flushes(4, 300).await;
    plan.add(Rule::new(Fault::RequestLost).on([Operation::Put]).below("catalog"));
    let merging = tokio::time::timeout(Duration::from_secs(60), cut_off.storage.merge()).await;
    assert!(merging.is_err(), "the commit is repeated for as long as nothing answers");
    let queued = cut_off.catalog.due_deletions(antiphon_common::Timestamp(i64::MAX), 10).await;
    assert_eq!(queued.expect("the queue").len(), 4, "seen here, and nowhere else");

    let successor = world.open().await;
    let (history, segments) = (world.listed().await, successor.segments(0).await);
    assert_eq!(segments.len(), 4, "the merge never happened");
    plan.clear();
    world.advance(HOUR);
    cut_off.storage.delete_due_objects().await;
    assert_eq!(world.listed().await, history, "for the successor they are history");
    assert!(!successor.history(0).await.is_empty());
    assert!(!world.fatal.lock().is_empty(), "and the loser has noticed");
}

/// Whatever the order and the faults of listings, an object that is named never goes.
#[tokio::test(start_paused = true)]
async fn faults_delay_a_sweep_and_never_make_it_wrong() {
    for seed in 0..20 {
        let world = World::in_memory();
        let plan = FaultPlan::seeded(seed);
        let process = world.open_over(world.store.wrapped(|inner| plan.wrap(inner))).await;
        process.flushes(3, 300).await;
        let expected = process.histories().await;
        for number in 0..10 {
            put_orphan(&world, number).await;
        }
        world.advance(2 * HOUR);
        for fault in [Fault::ReplyLost, Fault::RequestLost, Fault::Stale] {
            let operations = [Operation::List, Operation::Delete];
            plan.add(Rule::new(fault).on(operations).below("objects").chance(300).times(8));
        }
        for _ in 0..20 {
            drop(process.storage.sweep().await);
        }
        plan.clear();
        process.quiesce(&world).await;
        assert_eq!(process.histories().await, expected, "seed {seed}");
        assert_eq!(world.listed().await.len(), 3, "seed {seed}");
    }
}

#[tokio::test]
async fn files_of_interrupted_writes_go_unless_they_are_being_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::new(local(folder.path()));
    let process = world.open().await;
    process.flushes(2, 300).await;
    let files = world.store.local_files().expect("files").clone();
    let place = |id| files.path_to_filesystem(&object_path(id)).expect("a path");
    let dead = ObjectId(77);
    let alive = process.storage.object_ids().begin().object;
    for id in [dead, alive] {
        std::fs::create_dir_all(place(id).parent().expect("a folder")).expect("created");
        std::fs::write(format!("{}#1", place(id).display()), b"half").expect("written");
    }
    let in_catalog = folder.path().join("store/catalog/db/wal/00000000000000000099.sst#3");
    std::fs::write(&in_catalog, b"half").expect("written");
    world.advance(2 * HOUR);
    let report = process.storage.sweep().await.expect("swept");
    assert_eq!((report.leftovers, report.failures), (2, 0));
    assert!(!std::path::Path::new(&format!("{}#1", place(dead).display())).exists());
    assert!(std::path::Path::new(&format!("{}#1", place(alive).display())).exists());
    assert!(!in_catalog.exists());
}

/// Everything that happens to objects in a life, and in the end bucket and catalog are one set.
#[tokio::test]
async fn after_quiesce_the_bucket_is_what_the_catalog_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for store in [Store::in_memory(), local(folder.path())] {
        let mut world = World::new(store);
        world.config = crate::merge::tests::kit::keeping(20_000);
        let process = world.open().await;
        let other = create_topic(&*process.catalog, "other", 3).await;
        process.flushes(20, 1_000).await;
        process.storage.merge().await;
        process.storage.enforce_retention().await;
        process.flushes(5, 1_000).await;
        for number in 0..3 {
            put_orphan(&world, number).await;
        }
        world.crash(process);
        let process = world.open().await;
        process.flushes(6, 1_000).await;
        process.storage.merge().await;
        process.storage.enforce_retention().await;
        process.catalog.delete_topic(other[0].topic_id).await.expect("deleted");
        process.logs[0].delete_records(antiphon_common::Offset(90)).await.expect("deleted");
        process.quiesce(&world).await;
        assert!(world.listed().await.len() > 2, "something is left to compare");
        process.histories().await;
    }
}
