//! rskafka: pure Rust, explicit partitions, no groups and no topic settings. In place of a committed
//! offset it keeps the position itself, as its users do.

use antiphon_compat::{
    BEFORE_RESTART, COMMITTED_OFFSET, FIRST_UNCOMMITTED, Ledger, Outcome, PARTITIONS, Record,
    SOUGHT, TOTAL, by_codec, expect_eq, step,
};
use chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use std::ops::Range;

const PATIENCE_MS: i32 = 30_000;
const FETCH_BYTES: Range<i32> = 1..1_000_000;

#[tokio::main]
async fn main() -> Outcome {
    let ledger = Ledger::from_args("rskafka")?;
    let client = ClientBuilder::new(vec![ledger.bootstrap.clone()]).build().await?;
    if ledger.phase == "phase1" {
        step("creates a topic", create_topic(&client, &ledger)).await;
        let partitions = partitions_of(&client, &ledger).await?;
        let all = 0..BEFORE_RESTART;
        step("produces with every codec", produce(&partitions, &ledger, all.clone())).await;
        step("reads everything back", read_and_expect(&partitions, &ledger, 0, all)).await;
        step("seeks by time", seek_by_time(&partitions, &ledger)).await;
    } else {
        let partitions = partitions_of(&client, &ledger).await?;
        let added = BEFORE_RESTART..TOTAL;
        step("produces after the restart", produce(&partitions, &ledger, added)).await;
        let rest = FIRST_UNCOMMITTED..TOTAL;
        let read_on = read_and_expect(&partitions, &ledger, COMMITTED_OFFSET, rest);
        step("reads on from where it was", read_on).await;
    }
    Ok(())
}

async fn create_topic(client: &Client, ledger: &Ledger) -> Outcome {
    let controller = client.controller_client()?;
    controller.create_topic(&ledger.topic, PARTITIONS, 1, PATIENCE_MS).await?;
    Ok(())
}

async fn partitions_of(client: &Client, ledger: &Ledger) -> Outcome<Vec<PartitionClient>> {
    let mut partitions = Vec::new();
    for p in 0..PARTITIONS {
        let handling = UnknownTopicHandling::Retry;
        partitions.push(client.partition_client(&ledger.topic, p, handling).await?);
    }
    Ok(partitions)
}

fn codec_of(name: &str) -> Compression {
    match name {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    }
}

fn time_of(ledger: &Ledger, i: i64) -> Outcome<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ledger.timestamp_ms(i)).ok_or_else(|| "timestamp".into())
}

fn to_wire(ledger: &Ledger, i: i64) -> Outcome<rskafka::record::Record> {
    let record = ledger.record(i);
    Ok(rskafka::record::Record {
        key: Some(record.key.into_bytes()),
        value: Some(record.value.into_bytes()),
        headers: [("n".to_owned(), record.header_n.into_bytes())].into(),
        timestamp: time_of(ledger, i)?,
    })
}

async fn produce(partitions: &[PartitionClient], ledger: &Ledger, range: Range<i64>) -> Outcome {
    for (codec, run) in by_codec(range) {
        for partition in partitions {
            let ours = run.clone().filter(|i| ledger.record(*i).partition == partition.partition());
            let records = ours.clone().map(|i| to_wire(ledger, i)).collect::<Outcome<Vec<_>>>()?;
            let acked = partition.produce(records, codec_of(codec)).await?;
            let wanted: Vec<i64> = ours.map(|i| ledger.record(i).offset).collect();
            expect_eq("acked offsets", &acked, &wanted)?;
        }
    }
    Ok(())
}

/// Reads each partition from `offset` to its end, which must bring exactly `range`.
async fn read_and_expect(
    partitions: &[PartitionClient],
    ledger: &Ledger,
    offset: i64,
    range: Range<i64>,
) -> Outcome {
    let mut got = Vec::new();
    for partition in partitions {
        let end = partition.get_offset(OffsetAt::Latest).await?;
        let mut next = offset;
        while next < end {
            let (records, _) = partition.fetch_records(next, FETCH_BYTES, 1000).await?;
            // A fetch may start with the batch that holds the offset, so with earlier records.
            got.extend(
                records.iter().filter(|r| r.offset >= next).map(|r| from_wire(partition, r)),
            );
            next = records.last().map_or(next, |last| last.offset + 1);
        }
    }
    ledger.expect(&got, range)
}

fn from_wire(partition: &PartitionClient, have: &rskafka::record::RecordAndOffset) -> Record {
    let text = |bytes: Option<&Vec<u8>>| {
        bytes.map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
    };
    Record {
        partition: partition.partition(),
        offset: have.offset,
        timestamp_ms: have.record.timestamp.timestamp_millis(),
        key: text(have.record.key.as_ref()),
        value: text(have.record.value.as_ref()),
        header_n: text(have.record.headers.get("n")),
    }
}

async fn seek_by_time(partitions: &[PartitionClient], ledger: &Ledger) -> Outcome {
    let wanted = SOUGHT / i64::from(PARTITIONS);
    for partition in partitions {
        let found = partition.get_offset(OffsetAt::Timestamp(time_of(ledger, SOUGHT)?)).await?;
        expect_eq("offset at that time", &found, &wanted)?;
    }
    read_and_expect(partitions, ledger, wanted, SOUGHT..BEFORE_RESTART).await
}
