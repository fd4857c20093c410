//! rust-rdkafka (librdkafka, built from source): idempotent producer, group consumer, admin.

use antiphon_compat::{
    BEFORE_RESTART, COMMITTED_OFFSET, FIRST_UNCOMMITTED, Ledger, Outcome, PARTITIONS, Record,
    SOUGHT, TOPIC_CONFIG, TOTAL, by_codec, expect_eq, step,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::ops::Range;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Outcome {
    let ledger = Ledger::from_args("rdkafka")?;
    if ledger.phase == "phase1" { phase1(&ledger).await } else { phase2(&ledger).await }
}

async fn phase1(ledger: &Ledger) -> Outcome {
    let all = 0..BEFORE_RESTART;
    step("creates a topic with its own settings", create_topic(ledger)).await;
    step("produces with every codec, idempotently", produce(ledger, all.clone())).await;
    let consumer = consumer_of(ledger)?;
    consumer.subscribe(&[&ledger.topic])?;
    step("a group reads everything back", read_and_expect(&consumer, ledger, all)).await;
    step("commits half of each partition", commit_half(&consumer, ledger)).await;
    step("seeks by time", seek_by_time(&consumer, ledger)).await;
    Ok(())
}

async fn phase2(ledger: &Ledger) -> Outcome {
    let consumer = consumer_of(ledger)?;
    step("finds its committed offsets after the restart", committed_is_half(&consumer, ledger))
        .await;
    step("produces after the restart", produce(ledger, BEFORE_RESTART..TOTAL)).await;
    consumer.subscribe(&[&ledger.topic])?;
    let rest = FIRST_UNCOMMITTED..TOTAL;
    step("reads on from the committed offsets", read_and_expect(&consumer, ledger, rest)).await;
    Ok(())
}

fn config_of(ledger: &Ledger) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &ledger.bootstrap);
    config
}

async fn create_topic(ledger: &Ledger) -> Outcome {
    let admin: AdminClient<_> = config_of(ledger).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let mut topic = NewTopic::new(&ledger.topic, PARTITIONS, TopicReplication::Fixed(1));
    for (name, value) in TOPIC_CONFIG {
        topic = topic.set(name, value);
    }
    for result in admin.create_topics(&[topic], &options).await? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    let resource = ResourceSpecifier::Topic(&ledger.topic);
    for described in admin.describe_configs([&resource], &options).await? {
        let described = described?;
        for (name, value) in TOPIC_CONFIG {
            let got = described.get(name).and_then(|entry| entry.value.clone());
            expect_eq(name, &got.as_deref(), &Some(value))?;
        }
    }
    Ok(())
}

async fn produce(ledger: &Ledger, range: Range<i64>) -> Outcome {
    for (codec, run) in by_codec(range) {
        let producer: FutureProducer = config_of(ledger)
            .set("enable.idempotence", "true")
            .set("compression.type", codec)
            .set("linger.ms", "20")
            .create()?;
        let acks: Vec<_> = run.clone().map(|i| send(&producer, ledger, i)).collect();
        for (i, ack) in run.zip(acks) {
            let acked = timeout(PATIENCE, ack?).await??.map_err(|(error, _)| error)?;
            let wanted = ledger.record(i);
            expect_eq(
                "acked at",
                &(acked.partition, acked.offset),
                &(wanted.partition, wanted.offset),
            )?;
        }
    }
    Ok(())
}

fn send(
    producer: &FutureProducer,
    ledger: &Ledger,
    i: i64,
) -> Outcome<rdkafka::producer::DeliveryFuture> {
    let record = ledger.record(i);
    let header = Header { key: "n", value: Some(record.header_n.as_bytes()) };
    let outgoing = FutureRecord::to(&ledger.topic)
        .partition(record.partition)
        .key(&record.key)
        .payload(&record.value)
        .timestamp(record.timestamp_ms)
        .headers(OwnedHeaders::new().insert(header));
    producer.send_result(outgoing).map_err(|(error, _)| error.into())
}

fn consumer_of(ledger: &Ledger) -> Outcome<StreamConsumer> {
    let consumer = config_of(ledger)
        .set("group.id", ledger.group())
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    Ok(consumer)
}

async fn read_and_expect(consumer: &StreamConsumer, ledger: &Ledger, range: Range<i64>) -> Outcome {
    let mut got = Vec::new();
    while (got.len() as i64) < range.end - range.start {
        let message = timeout(PATIENCE, consumer.recv()).await??;
        got.push(from_message(&message));
    }
    ledger.expect(&got, range)
}

fn from_message(message: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: Option<&[u8]>| {
        bytes.map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
    };
    let header_n = message.headers().and_then(|h| h.iter().find(|h| h.key == "n"));
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: text(message.key()),
        value: text(message.payload()),
        header_n: text(header_n.and_then(|h| h.value)),
    }
}

fn all_partitions(ledger: &Ledger, offset: Offset) -> Outcome<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for p in 0..PARTITIONS {
        list.add_partition_offset(&ledger.topic, p, offset)?;
    }
    Ok(list)
}

fn expect_offsets(list: &TopicPartitionList, wanted: i64) -> Outcome {
    for element in list.elements() {
        expect_eq("offset", &element.offset(), &Offset::Offset(wanted))?;
    }
    expect_eq("partitions", &list.count(), &(PARTITIONS as usize))
}

async fn commit_half(consumer: &StreamConsumer, ledger: &Ledger) -> Outcome {
    let half = all_partitions(ledger, Offset::Offset(COMMITTED_OFFSET))?;
    consumer.commit(&half, CommitMode::Sync)?;
    Ok(())
}

async fn committed_is_half(consumer: &StreamConsumer, ledger: &Ledger) -> Outcome {
    let asked = all_partitions(ledger, Offset::Invalid)?;
    expect_offsets(&consumer.committed_offsets(asked, PATIENCE)?, COMMITTED_OFFSET)
}

async fn seek_by_time(consumer: &StreamConsumer, ledger: &Ledger) -> Outcome {
    let times = all_partitions(ledger, Offset::Offset(ledger.timestamp_ms(SOUGHT)))?;
    let found = consumer.offsets_for_times(times, PATIENCE)?;
    expect_offsets(&found, SOUGHT / i64::from(PARTITIONS))?;
    consumer.seek_partitions(found, PATIENCE)?;
    read_and_expect(consumer, ledger, SOUGHT..BEFORE_RESTART).await
}
