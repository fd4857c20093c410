//! Opening, crashing, being fenced, stopping.

use std::collections::BTreeSet;

use antiphon_common::{BrokerEpoch, ErrorKind, Lsn};

use super::{Fixture, create_topic, flush, new_topic, producer, segment};
use crate::{Created, FlushCommit};

/// The first run ever has epoch zero and finds nothing.
pub async fn first_start_is_epoch_zero(fixture: &impl Fixture) {
    let (catalog, snapshot) = fixture.open().await.expect("first open");
    assert_eq!(catalog.broker_epoch(), BrokerEpoch(0));
    assert_eq!(snapshot.broker_epoch, BrokerEpoch(0));
    assert_eq!(snapshot.cluster.cluster_id.0.len(), 22);
    assert!(snapshot.previous.is_none() && snapshot.previous_stop_clean);
    assert!(snapshot.topics.is_empty() && snapshot.partitions.is_empty());
    assert_eq!(snapshot.flushed_lsn, Lsn::ZERO);
}

/// Epochs grow by one with each open; the cluster stays the same one.
pub async fn every_open_raises_the_epoch(fixture: &impl Fixture) {
    let (_first, was) = fixture.open().await.expect("first open");
    for epoch in 1..4 {
        let (catalog, snapshot) = fixture.open().await.expect("open again");
        assert_eq!(catalog.broker_epoch(), BrokerEpoch(epoch));
        assert_eq!(snapshot.previous.map(|row| row.epoch), Some(BrokerEpoch(epoch - 1)));
        assert_eq!(snapshot.cluster, was.cluster);
        if epoch == 2 {
            catalog.close().await.expect("close");
        }
    }
}

/// Guarantee 1: what returned is there after a crash, in every kind of row.
pub async fn a_crash_loses_nothing_that_returned(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "kept", 2).await;
    let id = created.partitions[1].partition_id;
    let commit = FlushCommit {
        producer_upserts: vec![producer(id, 7, b"seven")],
        ..flush(&*catalog, 5, &[(id, 0, 9)])
    };
    catalog.commit_flush(commit).await.expect("flush");
    drop(catalog);

    let (catalog, snapshot) = fixture.open().await.expect("open after the crash");
    assert_eq!(snapshot.topics, [created.topic]);
    assert_eq!(snapshot.flushed_lsn, Lsn(5));
    assert!(!snapshot.previous_stop_clean);
    assert_eq!(snapshot.partitions.len(), 2);
    assert_eq!(snapshot.partitions[1].flushed_end.get(), 10);
    assert_eq!(catalog.segments(id).await.expect("segments"), [segment(id, 0, 9, 5)]);
    assert_eq!(catalog.producers(id).await.expect("producers"), [producer(id, 7, b"seven")]);
    assert_eq!(catalog.all_producers().await.expect("producers").len(), 1);
    let objects = catalog.known_objects(None, 10).await.expect("objects");
    assert_eq!(objects.iter().map(|row| row.live_sections).collect::<Vec<_>>(), [1]);
}

/// Guarantee 3: nothing that the fenced process asks for happens.
pub async fn a_second_open_fences_the_first(fixture: &impl Fixture) {
    let (first, _) = fixture.open().await.expect("first open");
    let id = create_topic(&*first, "contested", 1).await.partitions[0].partition_id;
    first.confirm_ownership().await.expect("nobody else opened it");
    let (second, _) = fixture.open().await.expect("second open");

    let late = first.confirm_ownership().await;
    assert_eq!(late.expect_err("the first is told when it asks").kind(), ErrorKind::Fenced);
    let late = first.commit_flush(flush(&*first, 1, &[(id, 0, 9)])).await;
    assert_eq!(late.expect_err("the first is fenced").kind(), ErrorKind::Fenced);
    let late = first.create_topics(vec![new_topic("late", 1)]).await;
    assert_eq!(late.expect_err("the first stays fenced").kind(), ErrorKind::Fenced);

    assert!(second.segments(id).await.expect("segments").is_empty());
    second.commit_flush(flush(&*second, 2, &[(id, 0, 4)])).await.expect("the second goes on");
    let (_, snapshot) = fixture.open().await.expect("third open");
    assert_eq!(snapshot.topics.len(), 1);
    assert_eq!(snapshot.partitions[0].flushed_end.get(), 5);
}

/// A clean stop is one only until the next run begins.
pub async fn a_clean_stop_is_remembered_until_the_next_open(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    catalog.mark_clean_stop(Lsn(42)).await.expect("mark");
    catalog.close().await.expect("close");
    let (catalog, snapshot) = fixture.open().await.expect("open after a clean stop");
    assert!(snapshot.previous_stop_clean);
    assert_eq!(snapshot.flushed_lsn, Lsn(42));
    drop(catalog);
    let (_, snapshot) = fixture.open().await.expect("open after a crash");
    assert!(!snapshot.previous_stop_clean);
    assert_eq!(snapshot.flushed_lsn, Lsn(42));
}

/// Guarantee 7: also across a crash and for a topic that was deleted.
pub async fn identities_are_never_reused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let mut topics = BTreeSet::new();
    let mut partitions = BTreeSet::new();
    for round in 0..3 {
        let created = create_topic(&*catalog, "again", 2).await;
        assert!(topics.insert(created.topic.topic_id), "round {round}");
        for row in &created.partitions {
            assert!(partitions.insert(row.partition_id), "round {round}");
        }
        catalog.delete_topic(created.topic.topic_id).await.expect("delete");
    }
    let (catalog, _) = fixture.open().await.expect("open again");
    for row in create_topic(&*catalog, "again", 2).await.partitions {
        assert!(partitions.insert(row.partition_id), "after the restart");
    }
}

/// Guarantee 7 for producers.
pub async fn producer_id_blocks_do_not_overlap(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let first = catalog.allocate_producer_ids(1_000).await.expect("first block");
    let second = catalog.allocate_producer_ids(10).await.expect("second block");
    assert_eq!((first.0, second.0), (0, 1_000));
    let (catalog, _) = fixture.open().await.expect("open again");
    assert_eq!(catalog.allocate_producer_ids(1).await.expect("third block").0, 1_010);
}

/// Guarantees 1 and 6 under concurrency: shared waits lose nobody.
pub async fn concurrent_changes_all_happen(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let names: Vec<_> = (0..20).map(|number| format!("topic-{number}")).collect();
    let creates = names.iter().map(|name| catalog.create_topics(vec![new_topic(name, 1)]));
    for answers in futures::future::join_all(creates).await {
        assert!(matches!(answers.expect("create").as_slice(), [Created::Created(_)]));
    }
    drop(catalog);
    let (_, snapshot) = fixture.open().await.expect("open again");
    let found: BTreeSet<_> = snapshot.topics.into_iter().map(|topic| topic.name).collect();
    assert_eq!(found, names.into_iter().collect());
}
