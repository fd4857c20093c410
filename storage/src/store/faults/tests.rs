//! The kit does what its rules say, and the store's own code survives each direction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Fault, FaultPlan, Operation, Outage, Rule};

fn bucket(seed: u64) -> (Arc<dyn ObjectStore>, FaultPlan, Arc<InMemory>) {
    let (plan, inner) = (FaultPlan::seeded(seed), Arc::new(InMemory::new()));
    (plan.wrap(Arc::clone(&inner) as _), plan, inner)
}

async fn holds(inner: &InMemory, path: &Path) -> bool {
    inner.head(path).await.is_ok()
}

#[tokio::test]
async fn a_lost_request_did_not_happen_and_a_lost_reply_did() {
    let (store, plan, inner) = bucket(1);
    let (first, second) = (Path::from("a/1"), Path::from("a/2"));
    plan.add(Rule::new(Fault::RequestLost).on([Operation::Put]).times(1));
    store.put(&first, "x".into()).await.unwrap_err();
    assert!(!holds(&inner, &first).await);
    plan.clear();
    plan.add(Rule::new(Fault::ReplyLost).on([Operation::Put]).times(1));
    let create = PutOptions::from(PutMode::Create);
    store.put_opts(&second, "x".into(), create.clone()).await.unwrap_err();
    assert!(holds(&inner, &second).await);
    // The caller's next attempt meets its own first one.
    let met = store.put_opts(&second, "x".into(), create).await.unwrap_err();
    assert!(matches!(met, object_store::Error::AlreadyExists { .. }), "{met}");
    assert_eq!(plan.struck()["reply lost"], 1);
}

#[tokio::test]
async fn rules_choose_by_operation_prefix_and_number() {
    let (store, plan, _) = bucket(1);
    plan.add(Rule::new(Fault::Unavailable).on([Operation::Get]).below("a").times(2));
    for name in ["a/1", "ab/1", "b/1"] {
        store.put(&Path::from(name), "x".into()).await.unwrap();
    }
    for name in ["ab/1", "b/1"] {
        store.get(&Path::from(name)).await.unwrap();
    }
    store.head(&Path::from("a/1")).await.unwrap();
    for _ in 0..2 {
        let error = store.get(&Path::from("a/1")).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
    store.get(&Path::from("a/1")).await.unwrap();
    plan.add(Rule::new(Fault::Full));
    store.put(&Path::from("c"), "x".into()).await.unwrap_err();
    store.get(&Path::from("b/1")).await.unwrap();
}

#[tokio::test]
async fn bodies_are_cut_moved_and_flipped() {
    let (store, plan, _) = bucket(7);
    let path = Path::from("object");
    let whole = Bytes::from_static(b"0123456789");
    store.put(&path, whole.clone().into()).await.unwrap();
    let cases: [(Fault, &[u8]); 2] = [(Fault::TruncatedBody, b"23"), (Fault::WrongRange, b"3456")];
    for (fault, expected) in cases {
        plan.add(Rule::new(fault).times(1));
        assert_eq!(store.get_range(&path, 2..6).await.unwrap(), expected, "{fault:?}");
        assert_eq!(store.get_range(&path, 2..6).await.unwrap(), b"2345"[..]);
    }
    plan.add(Rule::new(Fault::WrongRange).times(1));
    assert_eq!(store.get_range(&path, 6..10).await.unwrap(), b"5678"[..], "at the end");
    plan.add(Rule::new(Fault::BrokenBody).times(1));
    store.get_range(&path, 2..6).await.unwrap_err();
    plan.add(Rule::new(Fault::FlippedBit).times(1));
    let flipped = store.get_range(&path, 0..10).await.unwrap();
    let bits = flipped.iter().zip(&whole).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    assert_eq!((flipped.len(), bits), (10, 1));
}

#[tokio::test]
async fn listings_are_stale_or_break_off() {
    let (store, plan, _) = bucket(3);
    for number in 0..12 {
        store.put(&Path::from(format!("a/{number:02}")), "x".into()).await.unwrap();
    }
    let list = || store.list(Some(&Path::from("a"))).try_collect::<Vec<_>>();
    assert_eq!(list().await.unwrap().len(), 12);
    plan.add(Rule::new(Fault::Stale).on([Operation::List]).times(1));
    assert_eq!(list().await.unwrap().len(), 9);
    plan.add(Rule::new(Fault::ReplyLost).on([Operation::List]).times(1));
    list().await.unwrap_err();
    plan.add(Rule::new(Fault::Stale).on([Operation::Head]).times(1));
    let unseen = store.head(&Path::from("a/00")).await.unwrap_err();
    assert!(matches!(unseen, object_store::Error::NotFound { .. }), "{unseen}");
}

#[tokio::test]
async fn a_lost_delete_and_one_without_a_reply_differ() {
    let (store, plan, inner) = bucket(3);
    let path = Path::from("a/1");
    store.put(&path, "x".into()).await.unwrap();
    plan.add(Rule::new(Fault::RequestLost).on([Operation::Delete]).times(1));
    store.delete(&path).await.unwrap_err();
    assert!(holds(&inner, &path).await);
    plan.add(Rule::new(Fault::ReplyLost).on([Operation::Delete]).times(1));
    let paths = futures::stream::iter([Ok(path.clone())]).boxed();
    store.delete_stream(paths).next().await.unwrap().unwrap_err();
    assert!(!holds(&inner, &path).await);
}

#[tokio::test(start_paused = true)]
async fn outages_refuse_or_hang_until_they_are_over() {
    let (store, plan, _) = bucket(1);
    let path = Path::from("a");
    plan.set_outage(Outage::Refuses);
    store.put(&path, "x".into()).await.unwrap_err();
    plan.set_outage(Outage::Hangs(Duration::from_secs(20)));
    let started = tokio::time::Instant::now();
    store.put(&path, "x".into()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(20));
    let waiting = tokio::spawn({
        let (store, path) = (Arc::clone(&store), path.clone());
        async move { store.put(&path, "x".into()).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    plan.set_outage(Outage::None);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_sequence_of_faults() {
    async fn fates(seed: u64) -> Vec<(bool, Duration)> {
        let (store, plan, _) = bucket(seed);
        plan.add(Rule::new(Fault::Throttled).chance(300));
        plan.add(Rule::new(Fault::Slow(Duration::ZERO, Duration::from_secs(2))).chance(500));
        let mut fates = Vec::new();
        for number in 0..64 {
            let started = tokio::time::Instant::now();
            let put = store.put(&Path::from(format!("{number}")), "x".into()).await;
            fates.push((put.is_ok(), started.elapsed()));
        }
        fates
    }
    let first = fates(5).await;
    assert_eq!(first, fates(5).await);
    assert_ne!(first, fates(6).await);
    let failed = first.iter().filter(|(ok, _)| !ok).count();
    assert!((8..32).contains(&failed), "{failed} of 64");
}

/// The moment between a request's effect and its reply, where a crash hurts most.
#[tokio::test]
async fn a_hook_sees_what_was_applied_before_the_caller_does() {
    let (store, plan, inner) = bucket(1);
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    plan.on_applied(Some(Arc::new(move |operation, path: &Path| {
        noted.lock().push((operation, path.to_string()));
    })));
    plan.add(Rule::new(Fault::ReplyLost).times(1));
    store.put(&Path::from("a"), "x".into()).await.unwrap_err();
    assert_eq!(*seen.lock(), [(Operation::Put, "a".to_owned())]);
    assert!(holds(&inner, &Path::from("a")).await);
}
