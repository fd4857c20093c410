//! Produce (key 0), versions 3-13 (advertised from 0, KAFKA-18659): appends record batches.
//!
//! - One batch of format 2 for each partition; it is checked (KIP-98, KIP-467), gets its offsets and
//!   goes to the write-ahead log as it is. The answer waits until every batch is durable.
//! - acks=1 and acks=all mean the same: durable on this broker's disk. acks=0 gets no answer, and a
//!   closed connection if anything failed.
//! - Duplicates of an idempotent producer's last five batches are answered with the original offset.
//! - Transactional batches are refused: transactions are not served yet.

use std::sync::Arc;

use antiphon_common::{PartitionIndex, Timestamp};
use antiphon_protocol::{
    ErrorCode, ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse,
    ProduceTopic, ProduceTopicResponse, RecordError, TopicRef,
};
use antiphon_records::{
    BatchHeader, ContentRules, Contents, InvalidBatch, ProduceRules, TimestampRules, Validated,
    validate_contents, validate_produced,
};
use antiphon_storage::{AckLatch, PartitionLog, TimestampSource};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Semaphore;
use tracing::{debug, error};

use super::{RequestContext, codes, owned};
use crate::net::{Outcome, PendingReply};
use crate::topics::Topic;

/// The first version in which zstd may be used (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;
/// How far a compressed batch may grow when its records must be looked at.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// How many batches are unpacked at a time, off the threads that serve connections. A hundred
/// kilobytes may unfold to the limit above, so this bounds memory and leaves live traffic a
/// processor; at about 1 GB/s each it is no limit that honest producers of compacted topics meet.
static UNPACKING: Semaphore = Semaphore::const_new(2);

pub(super) async fn handle(context: &RequestContext, body: &Bytes) -> Outcome {
    let version = context.version();
    let request = match ProduceRequest::decode(version, body) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(format!("Produce: {error}")),
    };
    let acks = request.acks;
    let latch = AckLatch::new();
    let response = Appender { context, latch: &latch, acks }.append_all(request).await;
    latch.release();
    if acks == 0 {
        return without_answer(&response);
    }
    let correlation_id = context.header.correlation_id;
    Outcome::AfterAck(PendingReply {
        acked: latch.wait(),
        finish: Box::new(move |durable| finish(response, durable, version, correlation_id)),
    })
}

/// acks=0: the only way to tell the client that something failed is to close the connection.
fn without_answer(response: &ProduceResponse) -> Outcome {
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    match partitions.find(|partition| !partition.error_code.is_ok()) {
        Some(failed) => Outcome::Close(format!("Produce with acks=0: {}", failed.error_code)),
        None => Outcome::Nothing,
    }
}

fn finish(
    mut response: ProduceResponse,
    durable: bool,
    version: i16,
    correlation_id: i32,
) -> Option<Bytes> {
    if !durable {
        for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let lost = ErrorCode::KAFKA_STORAGE_ERROR;
            *partition = ProducePartitionResponse::failed(partition.partition, lost);
        }
    }
    match response.encode(version, correlation_id) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            error!(version, %error, "Produce response does not encode");
            None
        }
    }
}

struct Appender<'a> {
    context: &'a RequestContext,
    latch: &'a Arc<AckLatch>,
    acks: i16,
}

impl Appender<'_> {
    async fn append_all(&self, request: ProduceRequest) -> ProduceResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            topics.push(self.append_topic(topic).await);
        }
        ProduceResponse { topics, ..ProduceResponse::default() }
    }

    async fn append_topic(&self, request: ProduceTopic) -> ProduceTopicResponse {
        let topics = self.context.broker.topics();
        let (topic, missing) = match &request.topic {
            TopicRef::Name(name) => (topics.by_name(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicRef::Id(id) => (topics.by_id(*id), ErrorCode::UNKNOWN_TOPIC_ID),
        };
        let mut partitions = Vec::with_capacity(request.partitions.len());
        for partition in &request.partitions {
            partitions.push(match &topic {
                Some(topic) => self.append_partition(topic, partition).await,
                None => ProducePartitionResponse::failed(partition.partition, missing),
            });
        }
        // The name in the request is a slice of the frame; the answer must not keep the frame.
        let topic = match (request.topic, topic) {
            (TopicRef::Name(_), Some(topic)) => TopicRef::Name(topic.name.clone()),
            (TopicRef::Name(name), None) => TopicRef::Name(owned(&name)),
            (by_id, _) => by_id,
        };
        ProduceTopicResponse { topic, partitions }
    }

    async fn append_partition(
        &self,
        topic: &Topic,
        request: &ProducePartition,
    ) -> ProducePartitionResponse {
        let index = request.partition;
        if !matches!(self.acks, -1..=1) {
            return ProducePartitionResponse::failed(index, ErrorCode::INVALID_REQUIRED_ACKS);
        }
        if topic.internal {
            return ProducePartitionResponse::failed(index, ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        let Some(log) = topic.partition(index) else {
            let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return ProducePartitionResponse::failed(index, missing);
        };
        let records = request.records.clone().unwrap_or_default();
        match self.validate(&records, topic).await {
            Ok(batch) if batch.header.is_transactional() => {
                ProducePartitionResponse::failed(index, ErrorCode::INVALID_TXN_STATE)
            }
            Ok(batch) => self.append_batch(index, log, &batch, &records),
            Err(invalid) => refused(index, &invalid),
        }
    }

    /// Checks a batch. Its records are decompressed only where the header cannot tell: on topics
    /// that need keys, and for clients that leave the newest timestamp unset.
    async fn validate(&self, records: &Bytes, topic: &Topic) -> Result<Validated, InvalidBatch> {
        let rules = self.rules(topic);
        let batch = validate_produced(records, &rules)?;
        if !matches!(batch.contents, Contents::MustBeRead) {
            return Ok(batch);
        }
        let (records, contents) = (records.clone(), rules.contents);
        let summary = unpacking(move || validate_contents(&records, &contents)).await?;
        Ok(Validated { contents: Contents::Read(summary), ..batch })
    }

    fn append_batch(
        &self,
        index: PartitionIndex,
        log: &Arc<PartitionLog>,
        batch: &Validated,
        records: &[u8],
    ) -> ProducePartitionResponse {
        let latch = (self.acks != 0).then_some(self.latch);
        let appended = match batch.corrected_max_timestamp() {
            Some(max_timestamp) => corrected(records, max_timestamp, |records, header| {
                log.append(records, header, latch)
            }),
            None => log.append(records, &batch.header, latch),
        };
        match appended {
            Ok(done) => {
                let metrics = self.context.broker.metrics();
                metrics.produced(records.len(), batch.header.record_count);
                ProducePartitionResponse::appended(
                    index,
                    done.base_offset,
                    done.log_append_time,
                    done.log_start,
                )
            }
            Err(error) => {
                debug!(partition = log.id().0, %error, "append refused");
                ProducePartitionResponse::failed(index, codes::of_append(&error))
            }
        }
    }

    fn rules(&self, topic: &Topic) -> ProduceRules {
        let settings = &topic.settings;
        let timestamps = match settings.log.timestamps {
            TimestampSource::LogAppend => TimestampRules::LogAppendTime,
            TimestampSource::Create => TimestampRules::CreateTime {
                now: self.context.broker.environment().clock.now(),
                before_max_ms: settings.timestamp_before_max,
                after_max_ms: settings.timestamp_after_max,
            },
        };
        ProduceRules {
            batch_bytes_max: settings.batch_bytes_max,
            zstd_allowed: self.context.version() >= FIRST_WITH_ZSTD,
            contents: ContentRules {
                timestamps,
                key_required: settings.compacted,
                decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            },
        }
    }
}

/// Some clients leave the batch's newest timestamp unset; Kafka finds it in the records, and so the
/// header is put right before anything is stored. Rare, so a copy is fine.
fn corrected<T>(
    records: &[u8],
    max_timestamp: Timestamp,
    append: impl FnOnce(&[u8], &BatchHeader) -> T,
) -> T {
    let mut records = records.to_vec();
    let header = match antiphon_records::BatchMut::first_in(&mut records) {
        Ok(mut batch) => {
            batch.set_max_timestamp(max_timestamp);
            batch.header()
        }
        Err(defect) => unreachable!("the batch was validated: {defect}"),
    };
    append(&records, &header)
}

/// Runs `judge` where it may take its time, when it is its turn.
async fn unpacking<T: Send + 'static>(judge: impl FnOnce() -> T + Send + 'static) -> T {
    let turn = UNPACKING.acquire().await;
    let judging = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        judge()
    });
    match judging.await {
        Ok(judged) => judged,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// A batch that the rules refuse, with the record at fault if one is (KIP-467).
fn refused(index: PartitionIndex, invalid: &InvalidBatch) -> ProducePartitionResponse {
    let message = Some(StrBytes::from_string(invalid.to_string()));
    let record_errors = invalid.record_index().map(|record| RecordError {
        batch_index: i32::try_from(record).unwrap_or(i32::MAX),
        message: message.clone(),
    });
    ProducePartitionResponse {
        record_errors: record_errors.into_iter().collect(),
        error_message: message,
        ..ProducePartitionResponse::failed(index, codes::of_batch_fault(invalid.fault()))
    }
}
