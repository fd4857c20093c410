//! Fetch (key 1), versions 4-18: reads record batches, waiting for them if asked to.
//!
//! - The tail is read on the connection's task; history through the cold path, whose slices are
//!   written to the socket without being copied.
//! - The first partition with data yields at least one whole batch, whatever the limits (KIP-74); an
//!   offset inside a batch yields that batch. Later partitions obey both limits.
//! - A long poll ends when `min_bytes` are there, on any error, or after `max_wait_ms`.
//! - Sessions (KIP-227) are declined: the session id in the answer is 0, and every fetch is full.
//! - read_committed equals read_uncommitted until transactions are served.

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{LeaderEpoch, Offset};
use antiphon_protocol::{
    DivergingEpoch, ErrorCode, FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse,
    FetchTopicResponse, TopicRef,
};
use antiphon_storage::{PartitionLog, TailRead};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{RequestContext, codes, owned};
use crate::net::Outcome;
use crate::topics::Topic;

/// From this version on a client may ask for a topic by an id that we do not know.
const FIRST_WITH_TOPIC_ID: i16 = 13;

pub(super) async fn handle(context: &RequestContext, body: Bytes) -> Outcome {
    let version = context.version();
    let request = match FetchRequest::decode(version, &body) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(format!("Fetch: {error}")),
    };
    drop(body);
    let limit = bytes_limit(context, &request);
    let (response, room) = Fetcher { context, request: &request, limit }.run().await;
    let read: usize = partitions_of(&response).map(FetchPartitionResponse::records_bytes).sum();
    context.broker.metrics().fetched(read);
    match response.encode(version, context.header.correlation_id) {
        Ok(rope) => Outcome::Reply(rope, room),
        Err(error) => Outcome::Close(format!("a Fetch response does not encode: {error}")),
    }
}

fn bytes_limit(context: &RequestContext, request: &FetchRequest) -> usize {
    let asked = usize::try_from(request.max_bytes).unwrap_or(0);
    asked.min(context.broker.options().limits.fetch_bytes_max)
}

fn partitions_of(response: &FetchResponse) -> impl Iterator<Item = &FetchPartitionResponse> {
    response.topics.iter().flat_map(|topic| &topic.partitions)
}

struct Fetcher<'a> {
    context: &'a RequestContext,
    request: &'a FetchRequest,
    limit: usize,
}

/// One partition of a request that can be read.
struct Readable<'a> {
    log: Arc<PartitionLog>,
    wanted: &'a FetchPartition,
}

/// What one look at a partition found.
enum Look {
    Done(FetchPartitionResponse),
    Cold(FetchPartitionResponse),
}

impl Fetcher<'_> {
    async fn run(&self) -> Answer {
        if !matches!(self.request.session_epoch, -1 | 0) && self.request.session_id != 0 {
            // We never gave out a session, so this one is somebody else's.
            let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
            return (FetchResponse { error_code, ..FetchResponse::default() }, None);
        }
        let resolved = self.resolve();
        let wait = u64::try_from(self.request.max_wait_ms).unwrap_or(0);
        let wait =
            Duration::from_millis(wait).min(self.context.broker.options().limits.fetch_wait_max);
        let timeout = tokio::time::sleep(wait);
        tokio::pin!(timeout);
        loop {
            if wait.is_zero() {
                return self.read_all(&resolved).await;
            }
            // First register, then read: progress in between rings and is seen.
            self.register(&resolved);
            let answer = self.read_all(&resolved).await;
            if self.is_enough(&answer.0) {
                return answer;
            }
            // What was read is read again when there is more of it; its room is for others now.
            drop(answer);
            tokio::select! {
                () = self.context.connection.progress.notified() => {}
                () = &mut timeout => return self.read_all(&resolved).await,
                () = self.context.broker.stopped() => return self.read_all(&resolved).await,
            }
        }
    }

    /// Looks the topics up once; a topic that is deleted while we wait shows as such in its logs.
    fn resolve(&self) -> Vec<Option<Arc<Topic>>> {
        let topics = self.context.broker.topics();
        let resolve = |topic: &TopicRef| match topic {
            TopicRef::Name(name) => topics.by_name(name),
            TopicRef::Id(id) => topics.by_id(*id),
        };
        self.request.topics.iter().map(|topic| resolve(&topic.topic)).collect()
    }

    fn register(&self, resolved: &[Option<Arc<Topic>>]) {
        for (asked, topic) in self.request.topics.iter().zip(resolved) {
            let Some(topic) = topic else { continue };
            for log in asked.partitions.iter().filter_map(|p| topic.partition(p.partition)) {
                log.wake_on_progress(&self.context.connection.progress);
            }
        }
    }

    /// Whether the answer need not wait any longer.
    fn is_enough(&self, response: &FetchResponse) -> bool {
        let least = usize::try_from(self.request.min_bytes).unwrap_or(0).min(self.limit);
        let mut bytes = 0;
        let mut any = false;
        for partition in partitions_of(response) {
            any = true;
            if !partition.error_code.is_ok() || partition.diverging_epoch.is_some() {
                return true;
            }
            bytes += partition.records_bytes();
        }
        bytes >= least || !any
    }

    async fn read_all(&self, resolved: &[Option<Arc<Topic>>]) -> Answer {
        let mut budget = Budget { room: self.limit, first: true, history: None };
        let mut topics = Vec::with_capacity(resolved.len());
        for (asked, topic) in self.request.topics.iter().zip(resolved) {
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for wanted in &asked.partitions {
                partitions.push(self.read_one(topic.as_deref(), wanted, &mut budget).await);
            }
            let topic = match (&asked.topic, topic) {
                (TopicRef::Name(_), Some(topic)) => TopicRef::Name(topic.name.clone()),
                (TopicRef::Name(name), None) => TopicRef::Name(owned(name)),
                (TopicRef::Id(id), _) => TopicRef::Id(*id),
            };
            topics.push(FetchTopicResponse { topic, partitions });
        }
        (FetchResponse { topics, ..FetchResponse::default() }, budget.history)
    }

    /// Takes room for history. Only the first partition waits for it: one that waited while it
    /// held room for others could wait for ever. Without room a partition stays empty this time.
    async fn admit(&self, readable: &Readable<'_>, budget: &mut Budget) -> bool {
        let bytes = budget.for_partition(readable.wanted).max(1);
        let broker = &self.context.broker;
        match &mut budget.history {
            None => {
                budget.history = broker.admit_history(bytes).await;
                budget.history.is_some()
            }
            Some(held) => match broker.try_admit_history(bytes) {
                Some(more) => {
                    held.merge(more);
                    true
                }
                None => false,
            },
        }
    }

    async fn read_one(
        &self,
        topic: Option<&Topic>,
        wanted: &FetchPartition,
        budget: &mut Budget,
    ) -> FetchPartitionResponse {
        let Some(topic) = topic else {
            let by_id = self.context.version() >= FIRST_WITH_TOPIC_ID;
            let missing = if by_id {
                ErrorCode::UNKNOWN_TOPIC_ID
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            return FetchPartitionResponse::failed(wanted.partition, missing);
        };
        let log = topic.partition(wanted.partition).filter(|log| !log.is_deleted());
        let Some(log) = log else {
            let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return FetchPartitionResponse::failed(wanted.partition, missing);
        };
        let readable = Readable { log: Arc::clone(log), wanted };
        match readable.look(budget) {
            Look::Done(response) => response,
            Look::Cold(response) => {
                let admitted = self.admit(&readable, budget).await;
                if admitted { readable.read_cold(response, budget).await } else { response }
            }
        }
    }
}

/// A response and the room that its history takes.
type Answer = (FetchResponse, Option<OwnedSemaphorePermit>);

/// How much the rest of the answer may hold.
struct Budget {
    room: usize,
    /// Nothing has been read yet: the next batch goes out even if it exceeds the limits.
    first: bool,
    /// Room for what is read from history.
    history: Option<OwnedSemaphorePermit>,
}

impl Budget {
    fn for_partition(&self, wanted: &FetchPartition) -> usize {
        self.room.min(usize::try_from(wanted.max_bytes).unwrap_or(0))
    }

    fn take(&mut self, batches: &[Bytes]) {
        let taken: usize = batches.iter().map(Bytes::len).sum();
        self.room = self.room.saturating_sub(taken);
        self.first &= taken == 0;
    }
}

impl Readable<'_> {
    fn look(&self, budget: &mut Budget) -> Look {
        let positions = self.log.positions();
        let mut response = self.empty();
        if let Some(code) = check_epoch(self.wanted.current_leader_epoch, positions.leader_epoch) {
            response.error_code = code;
            return Look::Done(response);
        }
        if let Some(diverging) = self.diverging() {
            response.diverging_epoch = Some(diverging);
            return Look::Done(response);
        }
        let limit = budget.for_partition(self.wanted);
        match self.log.read_tail(self.wanted.fetch_offset, limit, budget.first) {
            TailRead::Batches(batches) => {
                budget.take(&batches);
                response.records = batches;
                Look::Done(response)
            }
            TailRead::Cold if limit == 0 && !budget.first => Look::Done(response),
            TailRead::Cold => Look::Cold(response),
            TailRead::OutOfRange => {
                response.error_code = ErrorCode::OFFSET_OUT_OF_RANGE;
                Look::Done(response)
            }
        }
    }

    async fn read_cold(
        &self,
        mut response: FetchPartitionResponse,
        budget: &mut Budget,
    ) -> FetchPartitionResponse {
        let limit = budget.for_partition(self.wanted);
        match self.log.read_cold(self.wanted.fetch_offset, limit, budget.first).await {
            Ok(batches) => {
                budget.take(&batches);
                response.records = batches;
            }
            Err(error) => {
                warn!(partition = self.log.id().0, error = %crate::Chain(&error), "history could not be read");
                response.error_code = codes::of_cold_read(&error);
            }
        }
        response
    }

    /// An answer without records; positions stand in every answer, errors included.
    fn empty(&self) -> FetchPartitionResponse {
        let positions = self.log.positions();
        FetchPartitionResponse {
            high_watermark: positions.high_watermark,
            last_stable_offset: positions.high_watermark,
            log_start_offset: positions.log_start,
            ..FetchPartitionResponse::failed(self.wanted.partition, ErrorCode::NONE)
        }
    }

    /// KIP-595: the client says which epoch wrote the last record it has; if our log disagrees, it
    /// must truncate.
    fn diverging(&self) -> Option<DivergingEpoch> {
        let last = self.wanted.last_fetched_epoch;
        if last == LeaderEpoch::NONE {
            return None;
        }
        match self.log.end_of_epoch(last) {
            Some(end) if end.epoch < last || end.end_offset < self.wanted.fetch_offset => {
                Some(DivergingEpoch { epoch: end.epoch, end_offset: end.end_offset })
            }
            Some(_) => None,
            None => Some(DivergingEpoch { epoch: LeaderEpoch::NONE, end_offset: Offset::NONE }),
        }
    }
}

/// KIP-320: compares the epoch that a client believes in with ours.
pub(super) fn check_epoch(theirs: LeaderEpoch, ours: LeaderEpoch) -> Option<ErrorCode> {
    match theirs {
        LeaderEpoch::NONE => None,
        theirs if theirs < ours => Some(ErrorCode::FENCED_LEADER_EPOCH),
        theirs if theirs > ours => Some(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_compared_as_kip_320_says() {
        let check = |theirs| check_epoch(LeaderEpoch(theirs), LeaderEpoch(5));
        assert_eq!(check(-1), None);
        assert_eq!(check(5), None);
        assert_eq!(check(4), Some(ErrorCode::FENCED_LEADER_EPOCH));
        assert_eq!(check(6), Some(ErrorCode::UNKNOWN_LEADER_EPOCH));
    }
}
