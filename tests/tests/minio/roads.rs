//! A bucket that answers 503, and one that is a second late, under producers that never stop.
//!
//! What is promised: acks go on, as fast as ever, while the tail's memory has room, for they need the
//! local disk alone. When it is full, producers wait: sockets are not read, no error is answered, and a
//! client that does not want to wait any longer repeats itself, which its sequence numbers make
//! harmless. When the bucket is well again, everything is uploaded without anybody's help.
//!
//! `ANTIPHON_OUTAGE_SECONDS` sets how long the bucket is ill under producers that fill nothing; under
//! producers at full speed it is half of that.

use std::thread::sleep;
use std::time::Duration;

use antiphon_tests::{
    Batch, Figures, Kafka, RawClient, Stopwatch, TestBroker, alone, figure, within,
};

use crate::load::{Load, Met, Pace};
use crate::minio::MinIo;
use crate::proxy::{Proxy, Road};
use crate::server::{Server, broker_at};

const OUTAGE_SECONDS: u64 = 6;
/// Clients that do not wait until there is room.
const IMPATIENT: u64 = 40;
const GIVEN_UP: &str = "given-up";
/// Four producers at this pace take three minutes to fill [`TAIL_MEMORY`] with batches of 850 bytes,
/// the tail's own costs included.
const GENTLE: Pace = Pace::Every(Duration::from_millis(40));
/// The least that a broker takes.
const TAIL_MEMORY: u64 = 16 << 20;
/// The tail's limit is soft by what connections had read when it was reached.
const TAIL_SLACK: u64 = 1 << 20;
/// Of a thousand acks, 990 are faster while there is room. An ack is a disk's sync, some milliseconds;
/// a request to the bucket, with its retries, would be many times more than this.
const ACK_P99: Duration = Duration::from_millis(500);
/// The longest pause between two attempts of an upload is 10 s, of the catalog's database less.
const RECOVERY: Duration = Duration::from_secs(30);

fn outage() -> Duration {
    let named = std::env::var("ANTIPHON_OUTAGE_SECONDS").ok();
    let seconds = named.map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(OUTAGE_SECONDS))
}

struct Scene {
    _minio: MinIo,
    proxy: Proxy,
    broker: TestBroker,
    load: Load,
    name: &'static str,
}

impl Scene {
    fn set(name: &'static str) -> Self {
        let minio = MinIo::start();
        let proxy = Proxy::before(&minio.endpoint());
        let broker = broker_at(&proxy.endpoint(), name)
            .flag("--flush-interval", "0.3")
            .flag("--tail-memory", TAIL_MEMORY)
            .with_http()
            .expect_log("flush failed")
            .expect_log("a merge was put off")
            .expect_log("object store")
            .start();
        let load = Load::on(&broker);
        broker.client().create_topic(GIVEN_UP, 1);
        Self { _minio: minio, proxy, broker, load, name }
    }

    /// Clients that give up while there is no room leave no connection behind.
    fn expect_the_impatient_to_be_let_go(&self) {
        let connections = || self.broker.metric("antiphon_connections");
        for _ in 0..IMPATIENT {
            let raw = RawClient::connect(self.broker.address()).expect("a connection");
            raw.patience(Duration::from_millis(10));
            let batch = Batch::of(&["late"]);
            let answer = Kafka::new(raw).try_produce(GIVEN_UP, 0, batch.bytes());
            assert!(answer.is_err(), "an answer without room");
        }
        within(RECOVERY, "their connections to be closed", || {
            (connections() < IMPATIENT / 2).then_some(())
        });
    }

    /// Memory then holds records that are in the bucket, too.
    fn fill_the_cache(&self) {
        self.load.during(Pace::FlatOut, || {
            within(RECOVERY, "as much as the tail", || {
                let held = self.broker.metric("antiphon_produced_bytes_total");
                (held > TAIL_MEMORY).then_some(())
            });
        });
        self.await_uploads();
    }

    /// How long it takes until everything is in the bucket, by itself.
    fn await_uploads(&self) -> Duration {
        let watch = Stopwatch::start();
        within(RECOVERY, "everything to be uploaded", || {
            (self.broker.metric("antiphon_unflushed_bytes") == 0).then_some(())
        });
        watch.elapsed()
    }

    /// Producers that fill nothing, for so long.
    fn gently(&self, time: Duration) -> Met {
        let before = self.broker.metric("antiphon_tail_waits_total");
        let ((), met) = self.load.during(GENTLE, || sleep(time));
        let waits = self.broker.metric("antiphon_tail_waits_total") - before;
        assert_eq!((waits, met.timeouts, met.errors.len()), (0, 0, 0), "nothing was full");
        met
    }

    fn print(&self, what: &str, met: &Met) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let acks: Figures = met.latencies.iter().copied().collect();
        figure(&format!(
            "{} {what}: {} acks, p50 {:.1} p99 {:.1} max {:.0} ms; {} timeouts, errors {:?}",
            self.name,
            acks.count(),
            ms(acks.median()),
            ms(acks.permille(990)),
            ms(acks.max()),
            met.timeouts,
            met.errors,
        ));
    }

    fn expect_fast(&self, what: &str, met: &Met) {
        self.print(what, met);
        let acks: Figures = met.latencies.iter().copied().collect();
        assert!(acks.permille(990) < ACK_P99, "{what}: p99 {:?}", acks.permille(990));
    }

    fn expect_bounded_tail(&self) {
        let held = self.broker.metric("antiphon_tail_bytes");
        assert!(held < TAIL_MEMORY + TAIL_SLACK, "{held} bytes of tail");
    }

    /// Everything goes up by itself, and is there: here, and for a broker that has the bucket alone.
    fn expect_recovery(mut self) {
        let took = self.await_uploads().as_secs_f64();
        figure(&format!("{} everything is in the bucket after {took:.1} s", self.name));
        self.load.expect_exactly(&self.broker);
        assert!(self.broker.terminate().success());
        assert_eq!(self.broker.journal().count("the store is complete"), 1);
        self.broker.delete_data_dir();
        self.broker.start_again();
        self.load.expect_exactly(&self.broker);
    }
}

#[test]
fn a_bucket_that_answers_503() {
    let _turn = alone();
    let scene = Scene::set("503");
    scene.fill_the_cache();
    scene.expect_fast("before", &scene.gently(outage() / 3));

    scene.proxy.set(Road::Unavailable);
    scene.expect_fast("meanwhile", &scene.gently(outage()));
    assert!(scene.proxy.refused() > 0, "the bucket was not asked");
    assert!(scene.broker.metric("antiphon_unflushed_bytes") > 0, "something was uploaded");

    let (acked, met) = scene.load.during(Pace::FlatOut, || {
        within(outage() + RECOVERY, "a full tail", || {
            (scene.broker.metric("antiphon_tail_waits_total") > 0).then_some(())
        });
        sleep(outage() / 2);
        scene.expect_bounded_tail();
        // What is in the bucket, too, does not stand in the way of what is nowhere else.
        let unflushed = scene.broker.metric("antiphon_unflushed_bytes");
        assert!(unflushed > TAIL_MEMORY / 4 * 3, "{unflushed} bytes when producers wait");
        scene.expect_the_impatient_to_be_let_go();
        let acked = scene.load.acked();
        sleep(Duration::from_secs(1));
        assert_eq!(scene.load.acked(), acked, "an ack without room");
        scene.proxy.set(Road::Open);
        within(RECOVERY, "acks again", || (scene.load.acked() > acked + 100).then_some(()));
        acked
    });
    scene.print(&format!("full after {acked} acks"), &met);
    assert!(met.errors.is_empty(), "who has to wait is told nothing: {:?}", met.errors);
    scene.expect_fast("afterwards", &scene.gently(outage() / 3));
    scene.expect_recovery();
}

#[test]
fn a_bucket_that_is_a_second_late() {
    let _turn = alone();
    let scene = Scene::set("slow");
    scene.proxy.set(Road::Slow(Duration::from_secs(1)));
    scene.expect_fast("meanwhile", &scene.gently(outage()));

    let before = scene.load.acked();
    let ((), met) = scene.load.during(Pace::FlatOut, || {
        sleep(outage() / 2);
        scene.expect_bounded_tail();
    });
    scene.print("flat out", &met);
    let acked = scene.load.acked() - before;
    assert!(acked > 256, "{acked} batches of 64 KiB: no more than fits the tail");
    assert!(met.errors.is_empty(), "who has to wait is told nothing: {:?}", met.errors);
    assert!(scene.broker.metric("antiphon_tail_waits_total") > 0, "the tail was never full");
    scene.proxy.set(Road::Open);
    scene.expect_recovery();
}
