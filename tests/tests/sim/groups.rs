//! Committed positions: the real coordinator over a partition of the real storage, as the broker
//! drives it, and what consumers may expect of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use antiphon_common::{Environment, LeaderEpoch, Offset, PartitionIndex};
use antiphon_coordinator::{
    Append, AppendError, AppendId, Effects, Generation, GroupOptions, GroupShard, MemberId, Now,
    OffsetCommit, OffsetToCommit, Reply, ReplyToken, TopicName, TopicPartition,
};
use antiphon_records::{BatchBuilder, BatchHeader, NewRecord, OpenBatch, batches_in};
use antiphon_storage::{AckLatch, PartitionLog, ReadColdError, TailRead};
use bytes::Bytes;
use futures::FutureExt;

use super::model::{Checked, ensure};

/// What replay reads at a time, and what one of our batches unfolds to at most.
const REPLAY_BYTES: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What one consumer knows of its commits, across all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    /// The latest that was confirmed.
    confirmed: Option<i64>,
    /// All that were sent: an unconfirmed one may count, too.
    sent: BTreeSet<i64>,
}

impl Committed {
    /// The consumer was told that this position is committed.
    pub(crate) fn confirm(&mut self, offset: i64) {
        self.confirmed = self.confirmed.max(Some(offset));
    }

    /// Rule C10: what was committed never goes back, and nothing counts that was never sent.
    fn check(&self, consumer: usize, found: Option<i64>) -> Checked {
        let sent = found.is_none_or(|offset| self.sent.contains(&offset));
        ensure(sent && found >= self.confirmed, "commit", || {
            format!("consumer {consumer} finds {found:?}, confirmed was {:?}", self.confirmed)
        })
    }
}

/// The coordinator of one process.
pub(crate) struct Groups {
    shard: GroupShard,
    log: Arc<PartitionLog>,
    environment: Environment,
    loaded: bool,
    in_flight: Vec<(AppendId, Arc<AckLatch>)>,
    tokens: u64,
    waiting: HashMap<ReplyToken, (usize, i64)>,
}

impl Groups {
    pub(crate) fn new(log: Arc<PartitionLog>, environment: Environment) -> Self {
        Self {
            shard: GroupShard::new(GroupOptions::default()),
            log,
            environment,
            loaded: false,
            in_flight: Vec::new(),
            tokens: 0,
            waiting: HashMap::new(),
        }
    }

    fn now(&self) -> Now {
        let clock = &self.environment.clock;
        Now { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// Replays the partition, if that has not been done, and compares every consumer's position with
    /// what it was told before. `false`: it cannot be read now.
    pub(crate) async fn load(&mut self, known: &[Committed]) -> Checked<bool> {
        if self.loaded {
            return Ok(true);
        }
        if self.replay().await.is_err() {
            // What was replayed is replayed again, over a new state.
            self.shard = GroupShard::new(GroupOptions::default());
            return Ok(false);
        }
        let effects = self.shard.load_finished(self.now());
        assert!(effects.appends.is_empty(), "loading writes nothing");
        self.loaded = true;
        for (consumer, committed) in known.iter().enumerate() {
            committed.check(consumer, self.position_of(consumer))?;
        }
        Ok(true)
    }

    async fn replay(&mut self) -> Result<(), ReadColdError> {
        let positions = self.log.positions();
        let mut next = positions.log_start;
        while next < positions.high_watermark {
            let runs = match self.log.read_tail(next, REPLAY_BYTES, true) {
                TailRead::Batches(runs) => runs,
                TailRead::Cold => self.log.read_cold(next, REPLAY_BYTES, true).await?,
                TailRead::OutOfRange => return Ok(()),
            };
            runs.iter().for_each(|run| next = self.replay_run(run));
        }
        Ok(())
    }

    fn replay_run(&mut self, run: &Bytes) -> Offset {
        let mut next = Offset::ZERO;
        for batch in batches_in(run) {
            let (header, bytes) = batch.expect("storage checks what it serves");
            next = header.next_offset();
            let open = OpenBatch::open(&bytes, BATCH_BYTES_MAX).expect("our own batch");
            for record in open.records() {
                let record = record.expect("our own record");
                let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
                let value = record.value.map(Bytes::copy_from_slice);
                self.shard.replay(&key, value.as_ref());
            }
        }
        next
    }

    fn position_of(&self, consumer: usize) -> Option<i64> {
        let asked = [place(consumer)];
        let found = self.shard.fetch_offsets(&group(consumer), &asked).expect("a loaded shard");
        found.into_iter().next().flatten().map(|committed| committed.offset.get())
    }

    /// A consumer commits where it is.
    pub(crate) fn commit(&mut self, consumer: usize, offset: i64, known: &mut [Committed]) {
        known[consumer].sent.insert(offset);
        self.tokens += 1;
        let token = ReplyToken(self.tokens);
        self.waiting.insert(token, (consumer, offset));
        let to_commit = OffsetToCommit {
            partition: place(consumer),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: format!("at {offset}"),
        };
        let request = OffsetCommit {
            group_id: group(consumer),
            member_id: MemberId::default(),
            group_instance_id: None,
            generation: Generation::NONE,
            retention_ms: None,
            offsets: vec![to_commit],
        };
        let effects = self.shard.commit_offsets(token, request, self.now());
        self.carry_out(effects, known);
    }

    /// Takes in what became durable. Says which commits were confirmed.
    pub(crate) fn collect(&mut self, known: &mut [Committed]) -> Vec<String> {
        let mut confirmed = Vec::new();
        while let Some((id, latch)) = self.in_flight.first() {
            let (id, Some(durable)) = (*id, latch.wait().now_or_never()) else { break };
            self.in_flight.remove(0);
            let effects = if durable {
                self.shard.append_succeeded(id, self.now())
            } else {
                self.shard.append_failed(id, AppendError::Unavailable, self.now())
            };
            confirmed.extend(self.carry_out(effects, known));
        }
        confirmed
    }

    fn carry_out(&mut self, effects: Effects, known: &mut [Committed]) -> Vec<String> {
        let mut confirmed = Vec::new();
        for (token, reply) in effects.replies {
            let Some((consumer, offset)) = self.waiting.remove(&token) else { continue };
            if let Reply::OffsetCommit(results) = reply
                && results.iter().all(Result::is_ok)
            {
                known[consumer].confirm(offset);
                confirmed.push(format!("committed g{consumer} {offset}"));
            }
        }
        for append in effects.appends {
            match self.append(&append) {
                Some(latch) => self.in_flight.push((append.id, latch)),
                None => {
                    let error = AppendError::Unavailable;
                    let effects = self.shard.append_failed(append.id, error, self.now());
                    confirmed.extend(self.carry_out(effects, known));
                }
            }
        }
        confirmed
    }

    fn append(&self, append: &Append) -> Option<Arc<AckLatch>> {
        let mut builder = BatchBuilder::new();
        for record in &append.records {
            let encoded = record.encode();
            let (key, value) = (Some(&encoded.key[..]), encoded.value.as_deref());
            builder.push(NewRecord::new(append.timestamp, key, value)).expect("a small record");
        }
        let batch = builder.build().expect("a small batch").freeze();
        let header = BatchHeader::parse(&batch).expect("our own batch");
        let latch = AckLatch::new();
        let appended = self.log.append(&batch, &header, Some(&latch));
        latch.release();
        appended.ok().map(|_| latch)
    }
}

fn group(consumer: usize) -> antiphon_coordinator::GroupId {
    antiphon_coordinator::GroupId::from(format!("g{consumer}"))
}

fn place(consumer: usize) -> TopicPartition {
    let partition = PartitionIndex(consumer as u32 as _);
    TopicPartition { topic: TopicName::from("simulated"), partition }
}
