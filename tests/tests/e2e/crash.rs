//! kill -9 while producers are at work, twenty times over.
//!
//! Every producer writes values that tell who wrote them and when, and keeps a ledger of what was
//! acked where. An idempotent producer that saw no answer sends the same batch again, with the same
//! sequence, to the next incarnation of the broker; a plain one moves on, as its value may or may not
//! be there.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use antiphon_protocol::ErrorCode;
use antiphon_tests::{
    Batch, Figures, Kafka, Producer, RawClient, Stopwatch, Stored, TestBroker, alone, within,
};

const KILLS: u32 = 20;
const TOPIC: &str = "ledger";
const PARTITIONS: i32 = 4;
const RECORDS_PER_BATCH: u64 = 3;
/// What values are made longer with.
const PADDING: &str = ".";
/// From the start of the process to the first acked produce.
const FIRST_ACK_BAR: Duration = Duration::from_millis(500);

/// One acked record.
#[derive(Clone, Debug)]
struct Acked {
    partition: i32,
    offset: i64,
    value: String,
}

/// What all producers share.
struct Field {
    address: SocketAddr,
    done: AtomicBool,
    /// Acked batches of all producers.
    acked: AtomicU64,
    /// Bytes that make each value longer.
    padding: usize,
}

#[test]
fn twenty_kills_in_mid_produce_lose_nothing_and_repeat_nothing() {
    kill_in_mid_produce("kills", 0);
}

/// Batches so large that each life of the broker leaves a segment or more of its log behind, and that the
/// next one is killed while it still reads them.
#[test]
fn twenty_kills_while_the_log_is_still_being_read_lose_nothing_and_repeat_nothing() {
    kill_in_mid_produce("large-kills", 40 << 10);
}

fn kill_in_mid_produce(name: &str, padding: usize) {
    let _turn = alone();
    let mut broker = TestBroker::start(name);
    broker.client().create_topic(TOPIC, PARTITIONS);
    let field = Field {
        address: broker.address(),
        done: AtomicBool::new(false),
        acked: AtomicU64::new(0),
        padding,
    };
    let ledgers = thread::scope(|scope| {
        let writers: Vec<_> = (0..PARTITIONS)
            .flat_map(|partition| [(partition, true), (partition, false)])
            .map(|(partition, idempotent)| {
                let field = &field;
                scope.spawn(move || Writer::new(field, partition, idempotent).run())
            })
            .collect();
        kill_repeatedly(&mut broker, &field);
        field.done.store(true, Ordering::SeqCst);
        writers.into_iter().map(|writer| writer.join().expect("a writer failed")).collect()
    });
    check(&mut broker, ledgers);
}

fn kill_repeatedly(broker: &mut TestBroker, field: &Field) {
    let mut first_acks = Figures::default();
    let mut watermarks = vec![0; PARTITIONS as usize];
    for kill in 0..KILLS {
        // Each kill comes at another point of the traffic.
        let target = field.acked.load(Ordering::SeqCst) + 20 + u64::from(kill) * 7;
        within(Duration::from_secs(60), "traffic", || {
            (field.acked.load(Ordering::SeqCst) >= target).then_some(())
        });
        note_watermarks(&mut broker.client(), &mut watermarks);
        broker.kill_9();
        first_acks.push(time_to_first_ack(broker));
        note_watermarks(&mut broker.client(), &mut watermarks);
    }
    first_acks.print("start after kill -9 to the first acked produce");
    assert!(first_acks.max() <= FIRST_ACK_BAR, "{:?}", first_acks.max());
}

/// Starts the broker and produces as soon as it can be done.
fn time_to_first_ack(broker: &mut TestBroker) -> Duration {
    let watch = Stopwatch::start();
    broker.spawn();
    let address = broker.address();
    let probe = Batch::of(&["probe"]).bytes();
    within(Duration::from_secs(30), "the first ack", || {
        assert!(broker.is_running(), "the broker ended while starting");
        let mut client = Kafka::new(RawClient::connect(address).ok()?);
        let appended = client.try_produce(TOPIC, 0, probe.clone()).ok()?;
        (appended.error == ErrorCode::NONE).then(|| watch.elapsed())
    })
}

/// High watermarks only ever grow.
fn note_watermarks(client: &mut Kafka, known: &mut [i64]) {
    for (partition, known) in (0..).zip(known) {
        let now = client.end_offset(TOPIC, partition);
        assert!(now >= *known, "partition {partition}: the high watermark fell {known} -> {now}");
        *known = now;
    }
}

struct Writer<'a> {
    field: &'a Field,
    partition: i32,
    producer: Option<Producer>,
    ledger: Vec<Acked>,
}

impl<'a> Writer<'a> {
    fn new(field: &'a Field, partition: i32, idempotent: bool) -> Self {
        let connect = || Kafka::new(RawClient::connect(field.address).expect("a first connection"));
        let producer = idempotent.then(|| connect().init_producer());
        Self { field, partition, producer, ledger: Vec::new() }
    }

    fn run(mut self) -> Vec<Acked> {
        let mut client = None;
        for number in 0.. {
            if self.field.done.load(Ordering::SeqCst) {
                break;
            }
            self.write(&mut client, number);
        }
        self.ledger
    }

    /// Writes one batch: once, or, if the broker will recognise it, until there is an answer.
    fn write(&mut self, client: &mut Option<Kafka>, number: u64) {
        let values: Vec<String> =
            (0..RECORDS_PER_BATCH).map(|index| self.value(number, index)).collect();
        let padding = PADDING.repeat(self.field.padding);
        let padded: Vec<String> = values.iter().map(|value| format!("{value}{padding}")).collect();
        let names: Vec<&str> = padded.iter().map(String::as_str).collect();
        let batch = Batch::of(&names);
        let batch = match self.producer {
            Some(producer) => batch.by(producer, (number * RECORDS_PER_BATCH) as i32),
            None => batch,
        };
        loop {
            if let Some(base_offset) = self.attempt(client, &batch) {
                self.note(base_offset, &values);
                return;
            }
            *client = None;
            if self.producer.is_none() {
                return;
            }
        }
    }

    fn attempt(&self, client: &mut Option<Kafka>, batch: &Batch) -> Option<i64> {
        let connected = match client {
            Some(connected) => connected,
            None => client.insert(connect(self.field.address)),
        };
        let appended = connected.try_produce(TOPIC, self.partition, batch.bytes()).ok()?;
        // A broker that shuts down may say so; nothing else is an acceptable answer.
        let code = appended.error;
        assert!(code == ErrorCode::NONE || code.is_retriable(), "{code:?}");
        (code == ErrorCode::NONE).then_some(appended.base_offset)
    }

    fn note(&mut self, base_offset: i64, values: &[String]) {
        self.field.acked.fetch_add(1, Ordering::SeqCst);
        let partition = self.partition;
        self.ledger.extend(values.iter().zip(base_offset..).map(|(value, offset)| Acked {
            partition,
            offset,
            value: value.clone(),
        }));
    }

    fn value(&self, number: u64, index: u64) -> String {
        let kind = if self.producer.is_some() { "idempotent" } else { "plain" };
        format!("{kind} {} batch {number} record {index}", self.partition)
    }
}

/// Connects to the broker as soon as there is one again.
fn connect(address: SocketAddr) -> Kafka {
    within(Duration::from_secs(60), "a broker", || {
        let client = RawClient::connect(address).ok()?;
        client.patience(Duration::from_secs(10));
        Some(Kafka::new(client))
    })
}

fn check(broker: &mut TestBroker, ledgers: Vec<Vec<Acked>>) {
    // Once more from the disk alone, so that nothing is checked that only memory holds.
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    let acked: Vec<Acked> = ledgers.into_iter().flatten().collect();
    for partition in 0..PARTITIONS {
        let records = client.read_all(TOPIC, partition);
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        let expected: Vec<i64> = (0..records.len() as i64).collect();
        assert_eq!(offsets, expected, "partition {partition} has gaps");
        let text = |record: &Stored| record.text().trim_end_matches(PADDING).to_owned();
        let at: HashMap<i64, String> =
            records.iter().map(|record| (record.offset, text(record))).collect();
        for record in acked.iter().filter(|record| record.partition == partition) {
            assert_eq!(at.get(&record.offset), Some(&record.value), "acked and lost: {record:?}");
        }
        let mut seen = HashSet::new();
        for record in records.iter().map(text).filter(|v| v != "probe") {
            let once = seen.insert(record.clone()) || record.starts_with("plain");
            assert!(once, "stored twice: {record}");
        }
    }
    let checked = acked.len();
    assert!(checked > 500, "only {checked} records were acked: there was no traffic to kill");
    antiphon_tests::figure(&format!("{KILLS} kills, {checked} acked records, all in place"));
}
