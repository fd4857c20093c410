//! What is decided before anything is fenced or written.

use antiphon_common::{BrokerId, ErrorKind};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use super::{PREFIX, StoreFixture};
use crate::conformance::{create_topic, new_topic};
use crate::{Catalog, OpenError, OpenOptions, SlateCatalog};

fn cluster_object() -> Path {
    Path::from(format!("{PREFIX}/cluster"))
}

async fn files(fixture: &StoreFixture) -> Vec<(Path, u64)> {
    let listed = fixture.store.list(None).map_ok(|file| (file.location, file.size));
    let mut files: Vec<_> = listed.try_collect().await.expect("list");
    files.sort();
    files
}

/// The old program must neither stop the new one nor touch its files.
#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let fixture = StoreFixture::memory();
    let (running, _) = fixture.open_slate().await.expect("open");
    let mut newer = b"ANTIPHON".to_vec();
    newer.extend_from_slice(&2_u32.to_be_bytes());
    fixture.store.put(&cluster_object(), newer.into()).await.expect("put");
    let before = files(&fixture).await;
    let refused = fixture.open_slate().await.expect_err("newer");
    assert!(matches!(refused, OpenError::NewerFormat { found: 2, supported: 1 }), "{refused:?}");
    assert_eq!(files(&fixture).await, before);
    create_topic(&*running, "still running", 1).await;
}

#[tokio::test]
async fn something_else_is_not_taken_for_a_catalog() {
    let fixture = StoreFixture::memory();
    for content in
        [&b""[..], b"ANTIPHON", b"hello", b"ANTIPHON\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x09x"]
    {
        fixture.store.put(&cluster_object(), content.into()).await.expect("put");
        let refused = fixture.open_slate().await.expect_err("not a catalog");
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused:?}");
    }
}

#[tokio::test]
async fn nothing_is_created_unasked() {
    let fixture = StoreFixture::memory();
    let options = OpenOptions { create_if_missing: false, ..fixture.options() };
    let refused = SlateCatalog::open(options.clone()).await.expect_err("nothing there");
    assert!(matches!(refused, OpenError::NotFound { .. }));
    assert!(files(&fixture).await.is_empty());
    let (catalog, _) = fixture.open_slate().await.expect("create");
    catalog.close().await.expect("close");
    SlateCatalog::open(options).await.expect("it is there now");
}

/// The row of data folders, case by case: (clean stop, same folder, told to give up) -> opens.
#[tokio::test]
async fn acknowledged_records_in_another_folder_are_not_given_up_silently() {
    let cases = [
        (false, true, false, true),
        (false, true, true, true),
        (false, false, false, false),
        (false, false, true, true),
        (true, true, false, true),
        (true, true, true, true),
        (true, false, false, true),
        (true, false, true, true),
    ];
    for (clean, same, give_up, opens) in cases {
        let fixture = StoreFixture::memory();
        let (catalog, _) = fixture.open_slate().await.expect("open");
        if clean {
            catalog.mark_clean_stop(antiphon_common::Lsn(1)).await.expect("mark");
        }
        drop(catalog);
        let mut options = fixture.options();
        options.give_up_other_data_dir = give_up;
        if !same {
            options.data_dir_id = Uuid::from_u128(2);
        }
        let opened = SlateCatalog::open(options).await;
        assert_eq!(opened.is_ok(), opens, "clean {clean}, same {same}, give up {give_up}");
        if let Err(refused) = opened {
            assert!(matches!(refused, OpenError::OtherDataFolder { .. }), "{refused:?}");
            let (_, snapshot) = fixture.open_slate().await.expect("the right folder");
            assert_eq!(snapshot.broker_epoch.get(), 1, "the refusal took no epoch");
        }
    }
}

/// Another broker id is no way around it: it would take the same partitions over.
#[tokio::test]
async fn another_broker_id_does_not_give_up_records_silently() {
    let fixture = StoreFixture::memory();
    drop(fixture.open_slate().await.expect("open"));
    let other = OpenOptions {
        broker_id: BrokerId(fixture.options().broker_id.0 + 1),
        data_dir_id: Uuid::from_u128(2),
        ..fixture.options()
    };
    let refused = SlateCatalog::open(other.clone()).await.expect_err("unflushed records elsewhere");
    assert!(matches!(refused, OpenError::OtherDataFolder { .. }), "{refused:?}");
    let given_up = OpenOptions { give_up_other_data_dir: true, ..other.clone() };
    let (catalog, _) = SlateCatalog::open(given_up).await.expect("as it was told");
    drop(catalog);
    SlateCatalog::open(other).await.expect("being told once is enough");
}

/// A start with a new folder that is refused must not end the broker that serves the store.
#[tokio::test]
async fn a_refusal_after_a_look_fences_nobody() {
    for fixture in [StoreFixture::memory(), StoreFixture::local_files()] {
        let (running, _) = fixture.open_slate().await.expect("open");
        let options =
            OpenOptions { data_dir_id: Uuid::from_u128(2), look_first: true, ..fixture.options() };
        let refused = SlateCatalog::open(options.clone()).await.expect_err("records elsewhere");
        assert!(matches!(refused, OpenError::OtherDataFolder { .. }), "{refused:?}");
        create_topic(&*running, "still running", 1).await;
        running.mark_clean_stop(antiphon_common::Lsn(1)).await.expect("mark");
        SlateCatalog::open(options).await.expect("nothing is elsewhere any more");
    }
}

/// Two processes that create one catalog at the same time agree on its identity.
#[tokio::test]
async fn a_catalog_is_created_once() {
    let fixture = StoreFixture::memory();
    let (first, second) = tokio::join!(fixture.open_slate(), fixture.open_slate());
    let opened = [first, second].into_iter().filter_map(Result::ok);
    let ids: Vec<_> = opened.map(|(_, snapshot)| snapshot.cluster.cluster_id).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

/// Times and identities come from the environment that was given.
#[tokio::test]
async fn one_seed_is_one_history() {
    let topic_of = async |seed| {
        let fixture = StoreFixture::memory();
        fixture.seed.store(seed, std::sync::atomic::Ordering::Relaxed);
        let (catalog, snapshot) = fixture.open_slate().await.expect("open");
        let answers = catalog.create_topics(vec![new_topic("topic", 1)]).await.expect("create");
        (snapshot.cluster, answers)
    };
    assert_eq!(topic_of(5).await, topic_of(5).await);
    assert_ne!(topic_of(5).await, topic_of(6).await);
}
