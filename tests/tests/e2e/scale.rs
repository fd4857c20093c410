//! A thousand partitions, and what a broker costs that has nothing to do.

use std::thread;
use std::time::Duration;

use antiphon_protocol::ErrorCode;
use antiphon_tests::{
    Batch, Figures, Stopwatch, TestBroker, alone, eventually, figure, produce_request, text,
};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::{MetadataRequest, TopicName};

const PARTITIONS: i32 = 1_000;
/// From the start of the process to Metadata with all partitions.
const RESTART_BAR: Duration = Duration::from_secs(1);
/// The bars of start-up time and idle memory, which `bench` measures on a quiet machine.
const STARTUP_BAR: Duration = Duration::from_millis(50);
const IDLE_BAR: u64 = 40_000_000;
/// How far a figure may lie above its bar before this suite fails: others use the machine too.
const SLACK: u32 = 3;

#[test]
fn a_thousand_partitions() {
    let _turn = alone();
    let mut broker = TestBroker::start("thousand");
    broker.client().create_topic("wide", PARTITIONS);
    write_to_all(&broker);
    broker.kill_9();
    let after_kill = restart_time(&mut broker);
    check_all(&broker, 1);
    write_to_all(&broker);
    assert!(broker.terminate().success());
    let after_stop = restart_time(&mut broker);
    check_all(&broker, 2);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (killed, stopped) = (ms(after_kill), ms(after_stop));
    figure(&format!(
        "{PARTITIONS} partitions, start to metadata: {killed:.0} ms after kill -9, {stopped:.0} ms \
         after a clean stop"
    ));
    assert!(after_kill < RESTART_BAR && after_stop < RESTART_BAR);
}

/// One record into every partition, in one request.
fn write_to_all(broker: &TestBroker) {
    let mut request = produce_request("wide", 0, Batch::of(&["x"]).bytes(), -1);
    request.topic_data[0].partition_data = (0..PARTITIONS)
        .map(|partition| {
            let value = format!("of {partition}");
            let records = Some(Batch::of(&[&value]).bytes());
            PartitionProduceData::default().with_index(partition).with_records(records)
        })
        .collect();
    let answer = broker.client().call(9, &request);
    let partitions = &answer.responses[0].partition_responses;
    assert_eq!(partitions.len(), PARTITIONS as usize);
    assert!(partitions.iter().all(|partition| partition.error_code == 0));
}

fn check_all(broker: &TestBroker, records: usize) {
    let mut client = broker.client();
    for partition in 0..PARTITIONS {
        let expected = vec![format!("of {partition}"); records];
        assert_eq!(client.values("wide", partition), expected);
    }
}

/// From the start of the process until Metadata lists every partition.
fn restart_time(broker: &mut TestBroker) -> Duration {
    let watch = Stopwatch::start();
    broker.spawn();
    let address = broker.address();
    let asked = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(TopicName(text("wide"))));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    eventually("metadata", || {
        let mut raw = antiphon_tests::RawClient::connect(address).ok()?;
        let answer = raw.call(9, &request).ok()?;
        let topic = answer.topics.first()?;
        let complete = ErrorCode(topic.error_code) == ErrorCode::NONE
            && topic.partitions.len() == PARTITIONS as usize;
        complete.then(|| watch.elapsed())
    })
}

#[test]
fn an_idle_broker_starts_fast_and_stays_small() {
    let _turn = alone();
    let mut first = Figures::default();
    let mut again = Figures::default();
    let mut broker = None;
    for _ in 0..10 {
        let mut fresh = antiphon_tests::BrokerSetup::named("startup").prepare();
        first.push(fresh.start_again());
        assert!(fresh.terminate().success());
        again.push(fresh.start_again());
        broker = Some(fresh);
    }
    first.print("first start to metadata");
    again.print("later start to metadata");
    let broker = broker.expect("ten rounds");
    // Memory settles when start-up's own work is over.
    thread::sleep(Duration::from_secs(2));
    let resident = broker.footprint().resident;
    figure(&format!("idle memory: {:.1} MB", resident as f64 / 1e6));
    assert!(first.median() <= STARTUP_BAR * SLACK, "{:?}", first.median());
    assert!(resident <= IDLE_BAR * u64::from(SLACK), "{resident}");
}
