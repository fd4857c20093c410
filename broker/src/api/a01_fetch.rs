//! Fetch (key 1), versions 4-18: reads record batches, waiting for them if asked to.
//!
//! - The tail is read on the connection's task; history through the cold path, whose slices are
//!   written to the socket without being copied. A fetch that needs history is handled on the
//!   history side (see `net/moving.rs`), its partitions beside each other.
//! - What is there is answered: a partition whose history cannot be read gets KAFKA_STORAGE_ERROR,
//!   which clients retry, and one that is late stays empty; the others get their records.
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
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tracing::warn;

use super::{RequestContext, codes, owned};
use crate::net::{Held, Outcome, Side};
use crate::topics::Topic;

/// From this version on a client may ask for a topic by an id that we do not know.
const FIRST_WITH_TOPIC_ID: i16 = 13;

/// Answers with fewer bytes of the tail than this are not charged: they are gone when the socket's
/// own buffer has them.
const SMALL_ANSWER_BYTES: usize = 64 << 10;
/// The most history that one answer holds of a partition, whatever its client would take: clients that
/// ask for 50 MiB (`fetch.max.bytes`) and are slow to read it must not keep the room from others.
const HISTORY_BYTES_MAX: usize = 8 << 20;
/// How long a fetch waits for room before it answers without history; the client asks again.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer that has something waits for history of further partitions. What is late is
/// still loaded, and is there for the next fetch.
const STRAGGLER_PATIENCE: Duration = Duration::from_millis(250);

pub(super) async fn handle(context: &RequestContext, body: Bytes) -> Outcome {
    let version = context.version();
    let request = match FetchRequest::decode(version, &body) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(format!("Fetch: {error}")),
    };
    drop(body);
    let limit = bytes_limit(context, &request);
    let fetched = Fetcher { context, request: &request, limit }.run().await;
    let Ok((response, room)) = fetched else { return Outcome::Cold };
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

/// A fetch on the live side turned out to need history.
struct NeedsHistory;

/// A response and the room that it takes.
type Answer = (FetchResponse, Option<Held>);

impl<'a> Fetcher<'a> {
    async fn run(&self) -> Result<Answer, NeedsHistory> {
        if !matches!(self.request.session_epoch, -1 | 0) && self.request.session_id != 0 {
            // We never gave out a session, so this one is somebody else's.
            let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
            return Ok((FetchResponse { error_code, ..FetchResponse::default() }, None));
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
            let answer = self.read_all(&resolved).await?;
            if self.is_enough(&answer.0) {
                return Ok(answer);
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

    async fn read_all(&self, resolved: &[Option<Arc<Topic>>]) -> Result<Answer, NeedsHistory> {
        let pass = self.look_at_all(resolved, self.limit);
        if pass.cold.is_empty() {
            self.note(false);
            return Ok(self.charge(resolved, pass).await);
        }
        if self.context.side == Side::Live {
            return Err(NeedsHistory);
        }
        self.note(true);
        let Pass { mut answers, cold, room: _ } = pass;
        let held = self.read_history(cold, &mut answers).await;
        Ok((self.assemble(resolved, answers), held))
    }

    fn note(&self, cold: bool) {
        if self.context.side == Side::History {
            self.context.connection.warmth.fetched(cold);
        }
    }

    /// Looks at every partition in order: takes what the tail has, and sets room aside for what
    /// only history has.
    fn look_at_all(&self, resolved: &[Option<Arc<Topic>>], limit: usize) -> Pass<'a> {
        let mut budget = Budget { room: limit, first: true };
        let mut pass = Pass { answers: Vec::new(), cold: Vec::new(), room: 0 };
        for (asked, topic) in self.request.topics.iter().zip(resolved) {
            for wanted in &asked.partitions {
                let place = pass.answers.len();
                let (answer, cold) = self.look_at(topic.as_deref(), wanted, &mut budget);
                pass.answers.push(answer);
                pass.cold.extend(cold.map(|cold| ColdPart { place, ..cold }));
            }
        }
        pass.room = limit.saturating_sub(budget.room);
        pass
    }

    fn look_at(
        &self,
        topic: Option<&Topic>,
        wanted: &'a FetchPartition,
        budget: &mut Budget,
    ) -> (FetchPartitionResponse, Option<ColdPart<'a>>) {
        let failed = |code| (FetchPartitionResponse::failed(wanted.partition, code), None);
        let Some(topic) = topic else {
            let by_id = self.context.version() >= FIRST_WITH_TOPIC_ID;
            return failed(match by_id {
                true => ErrorCode::UNKNOWN_TOPIC_ID,
                false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            });
        };
        let log = topic.partition(wanted.partition).filter(|log| !log.is_deleted());
        let Some(log) = log else { return failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) };
        let readable = Readable { log: Arc::clone(log), wanted };
        match readable.look(budget) {
            Look::Done(response) => (response, None),
            Look::Cold(response) => {
                let at_least_one = budget.first;
                let limit = budget.for_partition(wanted).min(HISTORY_BYTES_MAX);
                budget.set_aside(limit);
                (response, Some(ColdPart { readable, limit, at_least_one, place: 0 }))
            }
        }
    }

    /// Charges an answer from the tail that is large enough to matter: a client that does not read
    /// it keeps it in memory after the tail has let go of it. Without room it is let go, and read
    /// again when there is some.
    async fn charge(&self, resolved: &[Option<Arc<Topic>>], pass: Pass<'a>) -> Answer {
        let bytes = pass.room;
        if bytes <= SMALL_ANSWER_BYTES {
            return (self.assemble(resolved, pass.answers), None);
        }
        let budget = self.context.broker.response_budget();
        if let Some(held) = budget.try_take_small(bytes) {
            return (self.assemble(resolved, pass.answers), Some(held));
        }
        drop(pass);
        let held = budget.take(bytes).await;
        let again = self.look_at_all(resolved, bytes);
        (self.assemble(resolved, again.answers), Some(held))
    }

    /// Reads history for all of `cold` beside each other and puts it into its places.
    async fn read_history(
        &self,
        cold: Vec<ColdPart<'a>>,
        answers: &mut [FetchPartitionResponse],
    ) -> Option<Held> {
        let (mut reads, mut held) = (FuturesUnordered::new(), None);
        for part in cold {
            if self.admit(&part, &mut held).await {
                reads.push(self.read_cold(part));
            }
        }
        let mut anything = answers.iter().any(|answer| answer.records_bytes() > 0);
        loop {
            let next = match anything {
                false => reads.next().await,
                true => tokio::time::timeout(STRAGGLER_PATIENCE, reads.next()).await.ok().flatten(),
            };
            let Some((place, read)) = next else { return held };
            anything = true;
            if let Some(answer) = answers.get_mut(place) {
                match read {
                    Ok(batches) => answer.records = batches,
                    Err(code) => answer.error_code = code,
                }
            }
        }
    }

    /// Takes room for history. Only the first partition waits for it, and not for long: one that
    /// waited while it held room for others could wait for ever, and one that others keep waiting
    /// would lose its client. Without room a partition stays empty this time.
    async fn admit(&self, part: &ColdPart<'_>, held: &mut Option<Held>) -> bool {
        let budget = self.context.broker.response_budget();
        let bytes = part.limit.max(1);
        let more = match held {
            None => tokio::time::timeout(ROOM_PATIENCE, budget.take(bytes)).await.ok(),
            Some(_) => budget.try_take(bytes),
        };
        let admitted = more.is_some();
        match (held, more) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
        admitted
    }

    /// Reads one partition's history within its time; an error is the code that the client gets.
    async fn read_cold(&self, part: ColdPart<'a>) -> (usize, Result<Vec<Bytes>, ErrorCode>) {
        let ColdPart { readable: Readable { log, wanted }, limit, at_least_one, place } = part;
        let reader = self.context.connection.reader;
        let read = log.read_cold_for(reader, wanted.fetch_offset, limit, at_least_one);
        let patience = self.context.broker.options().limits.history_wait_max;
        let partition = log.id().0;
        let read = match tokio::time::timeout(patience, read).await {
            Ok(Ok(batches)) => Ok(batches),
            Ok(Err(error)) => {
                warn!(partition, error = %crate::Chain(&error), "history could not be read");
                Err(codes::of_cold_read(&error))
            }
            Err(_late) => {
                warn!(partition, waited = ?patience, "history could not be read in time");
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        };
        (place, read)
    }

    fn assemble(
        &self,
        resolved: &[Option<Arc<Topic>>],
        answers: Vec<FetchPartitionResponse>,
    ) -> FetchResponse {
        let mut answers = answers.into_iter();
        let topics = self.request.topics.iter().zip(resolved).map(|(asked, topic)| {
            let partitions = answers.by_ref().take(asked.partitions.len()).collect();
            let topic = match (&asked.topic, topic) {
                (TopicRef::Name(_), Some(topic)) => TopicRef::Name(topic.name.clone()),
                (TopicRef::Name(name), None) => TopicRef::Name(owned(name)),
                (TopicRef::Id(id), _) => TopicRef::Id(*id),
            };
            FetchTopicResponse { topic, partitions }
        });
        FetchResponse { topics: topics.collect(), ..FetchResponse::default() }
    }
}

/// What one look at all partitions found.
struct Pass<'a> {
    /// In the order of the request; those of `cold` are without records.
    answers: Vec<FetchPartitionResponse>,
    cold: Vec<ColdPart<'a>>,
    /// The bytes that the tail gave and that were set aside for history.
    room: usize,
}

/// A partition whose records only history has.
struct ColdPart<'a> {
    readable: Readable<'a>,
    limit: usize,
    at_least_one: bool,
    /// Which of the answers it is.
    place: usize,
}

/// How much the rest of the answer may hold.
struct Budget {
    room: usize,
    /// Nothing has been read yet: the next batch goes out even if it exceeds the limits.
    first: bool,
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

    /// Keeps room for what is read later; it is taken to give something.
    fn set_aside(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub(bytes);
        self.first = false;
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
