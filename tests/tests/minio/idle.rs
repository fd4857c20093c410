//! What a broker at rest asks of its bucket, counted on the road. (What it asks in a whole day is a
//! matter of virtual time: `storage/src/sweep/tests/idle.rs`.)

use std::time::Duration;

use antiphon_tests::{Batch, eventually, figure, shared};

use crate::minio::MinIo;
use crate::proxy::Proxy;
use crate::server::{Server, broker_at};

/// The bar, an hour's worth.
const REQUESTS_PER_HOUR: u64 = 120;
/// Shorter than the time to the broker's first look at the catalog's manifest.
const WATCH: Duration = Duration::from_secs(20);
const TOPICS: usize = 5;

#[test]
fn a_broker_at_rest_leaves_its_bucket_alone() {
    let _turn = shared();
    let minio = MinIo::start();
    let proxy = Proxy::before(&minio.endpoint());
    let setup = broker_at(&proxy.endpoint(), "idle").flag("--flush-interval", "0.3").with_http();
    let broker = setup.start();
    let mut client = broker.client();
    for topic in 0..TOPICS {
        let name = format!("t{topic}");
        client.create_topic(&name, 4);
        for partition in 0..4 {
            client.produce(&name, partition, &Batch::of_size(100_000));
        }
    }
    client.commit("group", "t0", 0, 1);
    eventually("rest", || (broker.metric("antiphon_unflushed_bytes") == 0).then_some(()));
    let before = proxy.requests();
    assert!(before > 0, "the broker's requests do not pass here");
    std::thread::sleep(WATCH);
    let asked = proxy.requests() - before;
    figure(&format!("{asked} requests of an idle broker in {} s", WATCH.as_secs()));
    assert!(asked * 3_600 / WATCH.as_secs() <= REQUESTS_PER_HOUR, "{asked} requests");
    assert_eq!(client.values("t1", 3).len(), 1);
}
