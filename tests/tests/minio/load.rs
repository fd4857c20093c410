//! Idempotent producers that go on through anything, and know what they were promised.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, Kafka, Producer, RawClient, Stopwatch, TestBroker};
use parking_lot::Mutex;

/// Producers, and partitions: each has one to itself.
pub(crate) const PRODUCERS: i32 = 4;
pub(crate) const TOPIC: &str = "t";
/// How long a producer waits for an answer before it breaks the connection and sends the same batch
/// again, as clients do after `request.timeout.ms`, which is ten times longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts, as a client's `retry.backoff.ms`.
const BACKOFF: Duration = Duration::from_millis(100);

/// How fast producers go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A small record each so often: nothing ever fills.
    Every(Duration),
    /// 64 KiB after 64 KiB.
    FlatOut,
}

impl Pace {
    fn value_bytes(self) -> usize {
        match self {
            Self::Every(_) => 256,
            // A record is its own key, so that a batch is twice this.
            Self::FlatOut => 32 << 10,
        }
    }
}

/// One producer's past: records `0..acked` of its partition, acknowledged and in order.
#[derive(Debug)]
struct Past {
    producer: Producer,
    acked: u64,
}

/// What producers met in one stretch.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// How long each ack took, repetitions included.
    pub(crate) latencies: Vec<Duration>,
    /// Errors that the broker answered, with how often.
    pub(crate) errors: BTreeMap<i16, u64>,
    /// Answers that were not waited for any longer.
    pub(crate) timeouts: u64,
}

impl Met {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.timeouts += other.timeouts;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

/// Ends a stretch.
#[derive(Debug, Default)]
struct Whistle {
    /// No new records.
    stop: AtomicBool,
    /// No repetitions either: nobody will make the bucket well again.
    test_failed: AtomicBool,
}

struct Blow<'a>(&'a Whistle);

impl Drop for Blow<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.test_failed.store(thread::panicking(), Ordering::Relaxed);
    }
}

/// The producers, across any number of stretches.
#[derive(Debug)]
pub(crate) struct Load {
    address: SocketAddr,
    pasts: Vec<Mutex<Past>>,
    acked: AtomicU64,
}

impl Load {
    /// Creates the topic.
    pub(crate) fn on(broker: &TestBroker) -> Self {
        let mut client = broker.client();
        client.create_topic(TOPIC, PRODUCERS);
        let past = |producer| Mutex::new(Past { producer, acked: 0 });
        let pasts = (0..PRODUCERS).map(|_| past(client.init_producer())).collect();
        Self { address: broker.address(), pasts, acked: 0.into() }
    }

    /// Records acknowledged so far, over all producers.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Lets all producers send while `meanwhile` runs. What is under way at its end is repeated until
    /// it is acknowledged: a producer that gave up would not know what became of it.
    pub(crate) fn during<T>(&self, pace: Pace, meanwhile: impl FnOnce() -> T) -> (T, Met) {
        let (whistle, met) = (Whistle::default(), Mutex::new(Met::default()));
        let result = thread::scope(|scope| {
            for (past, partition) in self.pasts.iter().zip(0..) {
                let (whistle, met) = (&whistle, &met);
                scope.spawn(move || {
                    let mine = self.produce(&mut past.lock(), partition, pace, whistle);
                    met.lock().add(mine);
                });
            }
            let _blown_in_any_case = Blow(&whistle);
            meanwhile()
        });
        (result, met.into_inner())
    }

    fn produce(&self, past: &mut Past, partition: i32, pace: Pace, whistle: &Whistle) -> Met {
        let (mut met, mut client) = (Met::default(), None);
        while !whistle.stop.load(Ordering::Relaxed) {
            let value = value(partition, past.acked, pace.value_bytes());
            let sequence = i32::try_from(past.acked).expect("a short test");
            let batch = Batch::of_bytes(vec![value]).by(past.producer, sequence);
            let watch = Stopwatch::start();
            while !self.attempt(&mut client, partition, &batch, past.acked, &mut met) {
                if whistle.test_failed.load(Ordering::Relaxed) {
                    return met;
                }
                thread::sleep(BACKOFF);
            }
            met.latencies.push(watch.elapsed());
            past.acked += 1;
            self.acked.fetch_add(1, Ordering::Relaxed);
            if let Pace::Every(pause) = pace {
                thread::sleep(pause);
            }
        }
        met
    }

    /// Sends a batch once. Whether it was acknowledged, where it belongs.
    fn attempt(
        &self,
        client: &mut Option<Kafka>,
        partition: i32,
        batch: &Batch,
        offset: u64,
        met: &mut Met,
    ) -> bool {
        let connected = client.take().unwrap_or_else(|| connect(self.address));
        let connected = client.insert(connected);
        match connected.try_produce(TOPIC, partition, batch.bytes()) {
            Ok(appended) if appended.error == ErrorCode::NONE => {
                assert_eq!(appended.base_offset, offset as i64, "partition {partition}");
                true
            }
            Ok(appended) => {
                assert!(appended.error.is_retriable(), "{:?}", appended.error);
                *met.errors.entry(appended.error.0).or_default() += 1;
                false
            }
            Err(_) => {
                *client = None;
                met.timeouts += 1;
                false
            }
        }
    }

    /// Every acknowledged record is there once, where it was promised, and nothing else is.
    pub(crate) fn expect_exactly(&self, broker: &TestBroker) {
        for (past, partition) in self.pasts.iter().zip(0..) {
            let (stored, acked) = (broker.client().read_all(TOPIC, partition), past.lock().acked);
            assert_eq!(stored.len() as u64, acked, "records of partition {partition}");
            for (record, number) in stored.iter().zip(0..) {
                assert_eq!(record.offset, number as i64, "partition {partition}");
                let expected = value(partition, number, record.value.len());
                assert!(record.value == expected, "partition {partition} at {number}");
            }
        }
    }
}

fn connect(address: SocketAddr) -> Kafka {
    let raw = RawClient::connect(address).expect("the broker accepts connections");
    raw.patience(REQUEST_TIMEOUT);
    Kafka::new(raw)
}

/// A value that says where it belongs, over and over.
fn value(partition: i32, number: u64, bytes: usize) -> Vec<u8> {
    let mark = format!("{partition}/{number} ");
    mark.bytes().cycle().take(bytes).collect()
}
