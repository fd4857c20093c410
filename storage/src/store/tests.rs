//! Opening, probing and putting, against stores that behave and stores that do not.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::watched::{PutFault, WatchedStore};
use super::*;
use crate::object::samples::{bytes_of, identity, object_of, slices};
use crate::object::{BuiltObject, ObjectBuilder};

fn object() -> BuiltObject {
    object_of(&slices(0, 5, 100))
}

fn watched(faults: &[PutFault]) -> (Store, Arc<WatchedStore>) {
    let plain = Store::in_memory();
    let watched = Arc::new(WatchedStore::new(Arc::clone(&plain.objects)));
    watched.fail_puts(faults.iter().copied());
    (plain.wrapped(|_| Arc::clone(&watched) as _), watched)
}

async fn stored(store: &Store, object: &BuiltObject) -> Vec<u8> {
    let path = object_path(object.identity.object);
    store.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn what_is_put_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::File(folder.path().join("new"));
    let options = StoreOptions { create_folder: true, ..StoreOptions::default() };
    for store in [Store::in_memory(), open_store(&url, &options).unwrap()] {
        store.put_object(&object()).await.unwrap();
        assert_eq!(stored(&store, &object()).await, bytes_of(&object()));
        store.put_object(&object()).await.expect("putting the same object again is fine");
    }
}

#[tokio::test(start_paused = true)]
async fn every_order_of_faults_that_pass_ends_in_one_object() {
    use PutFault::{Conflict, ReplyLost, RequestLost};
    for faults in [
        &[RequestLost][..],
        &[ReplyLost],
        &[Conflict],
        &[Conflict, RequestLost, ReplyLost],
        &[RequestLost, Conflict, Conflict, RequestLost],
    ] {
        let (store, _) = watched(faults);
        store.put_object(&object()).await.unwrap_or_else(|e| panic!("{faults:?}: {e}"));
        assert_eq!(stored(&store, &object()).await, bytes_of(&object()), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded() {
    let (store, watched) = watched(&[PutFault::RequestLost; 9]);
    let error = store.put_object(&object()).await.unwrap_err();
    assert!(matches!(error, PutObjectError::Store { attempts: 5, .. }), "{error}");
    assert_eq!(watched.puts(), 5);
}

#[tokio::test]
async fn what_is_refused_on_principle_is_not_tried_again() {
    let (store, watched) = watched(&[PutFault::Denied; 9]);
    store.put_object(&object()).await.unwrap_err();
    assert_eq!(watched.puts(), 1);
}

#[tokio::test]
async fn another_object_under_our_key_is_never_taken_for_ours() {
    let store = Store::in_memory();
    let mut builder = ObjectBuilder::new(identity(1));
    builder.section(antiphon_common::PartitionId(4), slices(0, 3, 101)).unwrap();
    store.put_object(&builder.finish().unwrap()).await.unwrap();
    let error = store.put_object(&object()).await.unwrap_err();
    assert!(matches!(error, PutObjectError::Taken { .. }), "{error}");
}

#[tokio::test]
async fn a_stranger_under_our_key_is_reported_as_such() {
    let store = Store::in_memory();
    let path = object_path(object().identity.object);
    store.objects.put(&path, PutPayload::from_static(&[7; 100])).await.unwrap();
    let error = store.put_object(&object()).await.unwrap_err();
    assert!(matches!(error, PutObjectError::TakenByStranger { .. }), "{error}");
}

#[test]
fn a_folder_is_created_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::File(folder.path().join("a/b"));
    let error = open_store(&url, &StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenStoreError::NoFolder { .. }), "{error}");
    let options = StoreOptions { create_folder: true, ..StoreOptions::default() };
    assert!(open_store(&url, &options).unwrap().is_local());
}

#[tokio::test]
async fn good_stores_pass_the_probe_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::File(folder.path().to_owned());
    for store in [Store::in_memory(), open_store(&url, &StoreOptions::default()).unwrap()] {
        store.probe().await.unwrap();
        store.probe().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_overwrites_on_create_fails_the_probe() {
    let wrap = |inner| Arc::new(WatchedStore::ignoring_create(inner)) as _;
    let error = Store::in_memory().wrapped(wrap).probe().await.unwrap_err();
    assert!(matches!(error, ProbeError::CreateIgnored { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let store_folder = folder.path().join("store");
    std::fs::create_dir(&store_folder).unwrap();
    let url = StoreUrl::File(store_folder.clone());
    let store = open_store(&url, &StoreOptions::default()).unwrap();
    std::fs::remove_dir(&store_folder).unwrap();
    std::fs::write(&store_folder, "not a folder").unwrap();
    let text = store.probe().await.unwrap_err().to_string();
    assert!(text.contains("Not a directory") && !text.contains('\n'), "{text}");
}

/// An S3 store at `endpoint`, which gives up after its first attempt.
fn s3_at(endpoint: &str) -> Store {
    let url: StoreUrl = "s3://bucket/prefix".parse().unwrap();
    let settings = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_access_key_id("key")
        .with_secret_access_key("secret");
    let options = StoreOptions { retry_timeout: Duration::ZERO, ..StoreOptions::default() };
    s3::open_with(settings, &url, "bucket", &Path::from("prefix"), &options).unwrap()
}

#[test]
fn forgotten_credentials_are_asked_for() {
    let url: StoreUrl = "s3://bucket".parse().unwrap();
    let open = |settings| {
        s3::open_with(settings, &url, "bucket", &Path::default(), &StoreOptions::default())
    };
    let settings = AmazonS3Builder::new().with_endpoint("http://127.0.0.1:9000");
    let error = open(settings.clone()).unwrap_err();
    assert!(matches!(error, OpenStoreError::NoCredentials { .. }), "{error}");
    assert!(open(settings.with_skip_signature(true)).is_ok());
    assert!(open(AmazonS3Builder::new()).is_ok(), "on AWS the machine may have a role");
}

/// A server that answers one request with `answer`, and gives back the request's head.
async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            let read = socket.read_buf(&mut head).await.unwrap();
            assert_ne!(read, 0, "the request ended in its head");
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    (endpoint, server)
}

#[tokio::test]
async fn refused_connections_are_explained() {
    // Bound and dropped: nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = s3_at(&format!("http://127.0.0.1:{port}")).probe().await.unwrap_err();
    assert!(matches!(error, ProbeError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("refused"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_missing_bucket_is_explained() {
    let (endpoint, server) = answering(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 33\r\nconnection: close\r\n\r\n\
         <Error>NoSuchBucket</Error>      ",
    )
    .await;
    let error = s3_at(&endpoint).probe().await.unwrap_err();
    assert!(matches!(error, ProbeError::NoSuchBucket { .. }), "{error:?}");
    let head = server.await.unwrap();
    assert!(head.starts_with("PUT /bucket/prefix/probe HTTP/1.1"), "path style: {head}");
    assert!(!head.contains("UNSIGNED-PAYLOAD"), "payloads are signed over http: {head}");
}

#[tokio::test]
async fn denied_access_is_explained() {
    let (endpoint, _server) =
        answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let error = s3_at(&endpoint).probe().await.unwrap_err();
    assert!(matches!(error, ProbeError::AccessDenied { operation: "writing", .. }), "{error:?}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"));
}
