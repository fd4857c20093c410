//! Looking without touching.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;

use super::{PREFIX, StoreFixture};
use crate::conformance::{BROKER, ObservedStore, create_topic, flush, producer};
use crate::{Catalog, ConfigScope, Entry, FlushCommit, Inspector, OpenError, RowKind};

/// Every kind of row is shown, also what only the database's log holds, and the writer goes on.
#[tokio::test]
async fn everything_is_shown_and_nothing_touched() {
    let store = ObservedStore::new(Arc::new(InMemory::new()));
    let fixture = StoreFixture::over(Arc::clone(&store) as _);
    let (catalog, snapshot) = fixture.open_slate().await.expect("open");
    let id = create_topic(&*catalog, "shown", 2).await.partitions[0].partition_id;
    let one = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    catalog.set_broker_configs(ConfigScope::Broker(BROKER), one).await.expect("configs");
    let commit = FlushCommit {
        producer_upserts: vec![producer(id, 1, b"state")],
        ..flush(&*catalog, 1, &[(id, 0, 9)])
    };
    catalog.commit_flush(commit).await.expect("flush");
    catalog.commit_flush(flush(&*catalog, 2, &[(id, 10, 19)])).await.expect("flush");
    catalog.remove_segments_below(id, antiphon_common::Offset(10)).await.expect("trim");

    let puts = store.requests()["put"];
    let inspector = Inspector::open(Arc::clone(&store) as _, &Path::from(PREFIX)).await;
    let inspector = inspector.expect("inspect");
    assert_eq!(inspector.cluster(), &snapshot.cluster);
    let mut rows = Vec::new();
    inspector.visit(|row| rows.push(row)).await.expect("visit");
    inspector.close().await.expect("close");
    assert_eq!(store.requests()["put"], puts, "inspection writes nothing");

    let kinds: Vec<_> = rows.iter().map(Entry::kind).collect();
    assert!(kinds.is_sorted());
    for kind in RowKind::ALL.into_iter().filter(|kind| *kind != RowKind::TopicDeletion) {
        assert!(kinds.contains(&kind), "no {kind} row among {rows:?}");
    }
    create_topic(&*catalog, "not fenced", 1).await;
}

#[tokio::test]
async fn there_must_be_something_to_inspect() {
    let store = ObservedStore::new(Arc::new(InMemory::new()));
    let refused = Inspector::open(Arc::clone(&store) as _, &Path::from(PREFIX)).await;
    assert!(matches!(refused, Err(OpenError::NotFound { .. })));
    assert_eq!(store.requests().get("put"), None);
}
