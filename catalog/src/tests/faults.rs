//! Outages, callers who go away, and work that is shared.

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::ErrorKind;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::StoreFixture;
use crate::conformance::{Fixture, ObservedStore, create_topic, flush, new_topic};
use crate::{Catalog, Created, OpenError, OpenOptions, SlateCatalog};

/// Long enough for what succeeds, short enough to wait for what cannot.
const SHORT: Duration = Duration::from_millis(500);

fn observed() -> (StoreFixture, Arc<ObservedStore>) {
    let store = ObservedStore::new(Arc::new(InMemory::new()));
    (StoreFixture::over(Arc::clone(&store) as _), store)
}

/// Guarantee 4: whoever repeats after an outage is told the truth, and it is durable.
#[tokio::test]
async fn a_flush_during_an_outage_may_be_repeated_after_it() {
    let (fixture, store) = observed();
    let options = OpenOptions { operation_limit: SHORT, ..fixture.options() };
    let (catalog, _) = SlateCatalog::open(options).await.expect("open");
    let id = create_topic(&*catalog, "topic", 1).await.partitions[0].partition_id;
    let commit = flush(&*catalog, 1, &[(id, 0, 9)]);

    store.set_outage(true);
    let failed = catalog.commit_flush(commit.clone()).await.expect_err("no store");
    assert_eq!(failed.kind(), ErrorKind::Retry);
    let failed = catalog.commit_flush(commit.clone()).await.expect_err("still no store");
    assert_eq!(failed.kind(), ErrorKind::Retry, "written is not durable");

    store.set_outage(false);
    let outcome = loop {
        match catalog.commit_flush(commit.clone()).await {
            Ok(outcome) => break outcome,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
        }
    };
    assert!(outcome.already_committed);
    let (catalog, snapshot) = fixture.open_slate().await.expect("open again");
    assert_eq!(snapshot.partitions[0].flushed_end.get(), 10);
    assert_eq!(catalog.segments(id).await.expect("segments").len(), 1);
}

#[tokio::test]
async fn opening_during_an_outage_says_so() {
    let (fixture, store) = observed();
    store.set_outage(true);
    let refused = fixture.open_slate().await.expect_err("no store");
    assert!(matches!(refused, OpenError::Unavailable { .. }), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Retry);
}

/// Guarantee 5: wherever the caller stops listening, memory and database agree afterwards.
#[tokio::test]
async fn a_dropped_call_leaves_no_contradiction() {
    let (fixture, _) = observed();
    let (catalog, _) = fixture.open_slate().await.expect("open");
    for polls in 1..40 {
        let name = format!("topic-{polls}");
        let mut call = catalog.create_topics(vec![new_topic(&name, 2)]);
        for _ in 0..polls {
            let once = futures::future::poll_immediate(&mut call).await;
            if once.is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        create_or_find(&*catalog, &name).await;
    }
    let (_, snapshot) = fixture.open_slate().await.expect("open checks that rows agree");
    assert_eq!(snapshot.topics.len(), 39);
    assert_eq!(snapshot.partitions.len(), 78);
}

async fn create_or_find(catalog: &dyn Catalog, name: &str) {
    let answers = catalog.create_topics(vec![new_topic(name, 2)]).await.expect("create");
    assert!(matches!(answers[..], [Created::Created(_) | Created::Exists(_)]));
}

/// Changes that arrive during one upload share the next.
#[tokio::test]
async fn concurrent_changes_share_uploads() {
    const CHANGES: usize = 50;
    let slow = ThrottleConfig { wait_put_per_call: SHORT / 50, ..ThrottleConfig::default() };
    let store = ObservedStore::new(Arc::new(ThrottledStore::new(InMemory::new(), slow)));
    let fixture = StoreFixture::over(Arc::clone(&store) as _);
    let (catalog, _) = fixture.open_slate().await.expect("open");
    let puts = || store.requests().get("put").copied().unwrap_or(0);
    let before = puts();
    let changes = (0..CHANGES).map(|_| catalog.allocate_producer_ids(1));
    let ids = futures::future::join_all(changes).await;
    assert_eq!(ids.into_iter().filter(Result::is_ok).count(), CHANGES);
    let uploads = puts() - before;
    assert!(uploads <= 5, "{uploads} uploads for {CHANGES} changes");
}

/// Fencing is noticed by readers of the result, not only by those who write first.
#[tokio::test]
async fn a_change_in_flight_while_fenced_is_refused() {
    let fixture = StoreFixture::memory();
    let (first, _) = fixture.open_slate().await.expect("open");
    let id = create_topic(&*first, "topic", 1).await.partitions[0].partition_id;
    let (second, _) = fixture.open().await.expect("second open");
    let commits = (0..5).map(|number| {
        let base = number * 10;
        first.commit_flush(flush(&*first, 1 + number as u128, &[(id, base, base + 9)]))
    });
    for outcome in futures::future::join_all(commits).await {
        assert_eq!(outcome.expect_err("fenced").kind(), ErrorKind::Fenced);
    }
    assert!(second.known_objects(None, 10).await.expect("objects").is_empty());
}
