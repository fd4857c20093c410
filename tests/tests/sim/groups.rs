//! Committed positions: the real coordinator over a partition of the real storage, as the broker
//! drives it, and what consumers may expect of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Environment, LeaderEpoch, Offset, PartitionIndex};
use antiphon_coordinator::{
    Append, AppendError, AppendId, Effects, Generation, GroupError, GroupId, GroupOptions,
    GroupShard, Heartbeat, JoinGroup, LeaveGroup, MemberId, Now, OffsetCommit, OffsetToCommit,
    Reply, ReplyToken, SyncGroup, TopicName, TopicPartition,
};
use antiphon_records::{BatchBuilder, BatchHeader, NewRecord, OpenBatch, batches_in};
use antiphon_storage::{AckLatch, PartitionLog, ReadColdError, TailRead};
use bytes::Bytes;
use futures::FutureExt;

use super::model::{Checked, ensure};

/// What replay reads at a time, and what one of our batches unfolds to at most.
const REPLAY_BYTES: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// What waits for the tail to be in memory may wait for a flush, and here those are steps, too.
const REPLAY_LIMIT: Duration = Duration::from_secs(30);

/// What the key of a group's own record begins with, for it is of version 2.
const GROUP_METADATA: [u8; 2] = [0, 2];

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

    /// The consumer asks for this.
    pub(crate) fn send(&mut self, offset: i64) {
        self.sent.insert(offset);
    }

    /// Rule C10: what was committed never goes back, and nothing counts that was never sent.
    pub(crate) fn check(&self, consumer: usize, found: Option<i64>) -> Checked {
        let sent = found.is_none_or(|offset| self.sent.contains(&offset));
        ensure(sent && found >= self.confirmed, "commit", || {
            format!("consumer {consumer} finds {found:?}, confirmed was {:?}", self.confirmed)
        })
    }
}

/// What a member of a group asks for.
pub(crate) enum Asked {
    Join(JoinGroup),
    Sync(SyncGroup),
    Leave(LeaveGroup),
    Commit(OffsetCommit),
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
    /// Of lone consumers whose commits were confirmed.
    confirmed: Vec<(usize, i64)>,
    /// To members.
    answers: Vec<(ReplyToken, Reply)>,
    /// A deliberate defect: who is in a group is not read back.
    forgets_members: bool,
}

impl Groups {
    pub(crate) fn new(
        log: Arc<PartitionLog>,
        environment: Environment,
        forgets_members: bool,
    ) -> Self {
        Self {
            shard: GroupShard::new(options()),
            log,
            environment,
            loaded: false,
            in_flight: Vec::new(),
            tokens: 0,
            waiting: HashMap::new(),
            confirmed: Vec::new(),
            answers: Vec::new(),
            forgets_members,
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
        let replayed = tokio::time::timeout(REPLAY_LIMIT, self.replay()).await;
        if !matches!(replayed, Ok(Ok(()))) {
            // What was replayed is replayed again, over a new state.
            self.shard = GroupShard::new(options());
            return Ok(false);
        }
        let effects = self.shard.load_finished(self.now());
        self.loaded = true;
        self.carry_out(effects);
        for (consumer, committed) in known.iter().enumerate() {
            committed.check(consumer, self.position_of(&group(consumer), consumer))?;
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
                if !(self.forgets_members && key.starts_with(&GROUP_METADATA)) {
                    self.shard.replay(&key, value.as_ref());
                }
            }
        }
        next
    }

    /// Where a group is in one of the partitions.
    pub(crate) fn position_of(&self, group: &GroupId, partition: usize) -> Option<i64> {
        let asked = [place(partition)];
        let found = self.shard.fetch_offsets(group, &asked).expect("a loaded shard");
        found.into_iter().next().flatten().map(|committed| committed.offset.get())
    }

    /// A consumer commits where it is.
    pub(crate) fn commit(&mut self, consumer: usize, offset: i64, known: &mut [Committed]) {
        known[consumer].send(offset);
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
        self.carry_out(effects);
    }

    /// Whether members can be heard.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// A member asks; the answer comes by the token that is returned.
    pub(crate) fn ask(&mut self, asked: Asked) -> ReplyToken {
        self.tokens += 1;
        let (token, now) = (ReplyToken(self.tokens), self.now());
        let effects = match asked {
            Asked::Join(request) => self.shard.join(token, &request, now),
            Asked::Sync(request) => self.shard.sync(token, request, now),
            Asked::Leave(request) => self.shard.leave(token, &request, now),
            Asked::Commit(request) => self.shard.commit_offsets(token, request, now),
        };
        self.carry_out(effects);
        token
    }

    pub(crate) fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), GroupError> {
        self.shard.heartbeat(heartbeat, self.now())
    }

    /// Ends what has waited too long.
    pub(crate) fn tick(&mut self) {
        let effects = self.shard.tick(self.now());
        self.carry_out(effects);
    }

    /// The answers to members that have come.
    pub(crate) fn take_answers(&mut self) -> Vec<(ReplyToken, Reply)> {
        std::mem::take(&mut self.answers)
    }

    /// Takes in what became durable. Says which commits were confirmed.
    pub(crate) fn collect(&mut self, known: &mut [Committed]) -> Vec<String> {
        while let Some((id, latch)) = self.in_flight.first() {
            let (id, Some(durable)) = (*id, latch.wait().now_or_never()) else { break };
            self.in_flight.remove(0);
            let effects = if durable {
                self.shard.append_succeeded(id, self.now())
            } else {
                self.shard.append_failed(id, AppendError::Unavailable, self.now())
            };
            self.carry_out(effects);
        }
        let confirmed =
            std::mem::take(&mut self.confirmed).into_iter().map(|(consumer, offset)| {
                known[consumer].confirm(offset);
                format!("committed g{consumer} {offset}")
            });
        confirmed.collect()
    }

    fn carry_out(&mut self, effects: Effects) {
        for (token, reply) in effects.replies {
            let Some(commit) = self.waiting.remove(&token) else {
                self.answers.push((token, reply));
                continue;
            };
            if let Reply::OffsetCommit(results) = reply
                && results.iter().all(Result::is_ok)
            {
                self.confirmed.push(commit);
            }
        }
        for append in effects.appends {
            match self.append(&append) {
                Some(latch) => self.in_flight.push((append.id, latch)),
                None => {
                    let error = AppendError::Unavailable;
                    let effects = self.shard.append_failed(append.id, error, self.now());
                    self.carry_out(effects);
                }
            }
        }
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

/// Rebalances that end within a run.
fn options() -> GroupOptions {
    GroupOptions { initial_rebalance_delay: Duration::from_millis(500), ..GroupOptions::default() }
}

fn group(consumer: usize) -> GroupId {
    GroupId::from(format!("g{consumer}"))
}

pub(crate) fn place(consumer: usize) -> TopicPartition {
    let partition = PartitionIndex(consumer as u32 as _);
    TopicPartition { topic: TopicName::from("simulated"), partition }
}
