//! One partition of `__consumer_offsets` as a coordinator.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_common::{Environment, Offset};
use antiphon_coordinator::{
    Append, AppendError, AppendId, Effects, GroupShard, Now, ReplayStats, Reply, ReplyToken,
};
use antiphon_records::{BatchBuilder, BatchHeader, BuildError, NewRecord, OpenBatch, batches_in};
use antiphon_storage::{AckLatch, PartitionLog, ReadColdError, TailRead};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tracing::error;

/// Bytes that replay reads at a time.
const REPLAY_BYTES: usize = 1 << 20;
/// How far a batch of our own records may grow when it is opened.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why a shard could not replay its partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    #[error(transparent)]
    Read(#[from] ReadColdError),
    #[error("a batch at or after offset {offset} is damaged")]
    Batch { offset: Offset, source: Box<dyn std::error::Error + Send + Sync> },
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Shard {
    state: Mutex<GroupShard>,
    log: Arc<PartitionLog>,
    waiting: Mutex<HashMap<ReplyToken, oneshot::Sender<Reply>>>,
    tokens: AtomicU64,
    deadlines: Arc<Notify>,
}

impl Shard {
    pub(super) fn new(
        state: GroupShard,
        log: Arc<PartitionLog>,
        deadlines: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            log,
            waiting: Mutex::default(),
            tokens: AtomicU64::new(0),
            deadlines,
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.log.id().0
    }

    /// Looks at the state, or changes it in a way that has no effects.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut GroupShard) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// Asks something whose answer comes later.
    pub(super) fn ask(
        self: &Arc<Self>,
        now: Now,
        ask: impl FnOnce(&mut GroupShard, ReplyToken, Now) -> Effects,
        environment: &Environment,
    ) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let token = ReplyToken(self.tokens.fetch_add(1, Ordering::Relaxed));
        self.waiting.lock().insert(token, sender);
        self.change(|state| ask(state, token, now), environment);
        receiver
    }

    /// Changes the state and carries out what follows.
    pub(super) fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&mut GroupShard) -> Effects,
        environment: &Environment,
    ) {
        let mut state = self.state.lock();
        let before = state.next_deadline();
        let effects = change(&mut state);
        let mut failed = self.carry_out(effects, environment);
        // An append that fails at once has effects of its own, perhaps appends.
        while let Some((id, error)) = failed.pop_front() {
            let clock = &environment.clock;
            let now = Now { wall: clock.now(), monotonic: clock.monotonic() };
            let effects = state.append_failed(id, error, now);
            failed.extend(self.carry_out(effects, environment));
        }
        let earlier = match (before, state.next_deadline()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(after)) => after < before,
        };
        drop(state);
        if earlier {
            self.deadlines.notify_one();
        }
    }

    /// Sends replies and appends batches; returns the appends that failed at once.
    fn carry_out(
        self: &Arc<Self>,
        effects: Effects,
        environment: &Environment,
    ) -> VecDeque<(AppendId, AppendError)> {
        self.send(effects.replies);
        let mut failed = VecDeque::new();
        for append in effects.appends {
            match self.append(&append) {
                Ok(latch) => self.report_when_durable(append.id, latch, environment),
                Err(error) => failed.push_back((append.id, error)),
            }
        }
        failed
    }

    fn send(&self, replies: Vec<(ReplyToken, Reply)>) {
        let mut waiting = self.waiting.lock();
        for (token, reply) in replies {
            if let Some(sender) = waiting.remove(&token) {
                // The client may have gone meanwhile.
                let _ = sender.send(reply);
            }
        }
    }

    fn append(&self, append: &Append) -> Result<Arc<AckLatch>, AppendError> {
        let batch = build(append).map_err(|defect| {
            error!(partition = self.id(), %defect, "a group batch could not be built");
            AppendError::TooLarge
        })?;
        let header = BatchHeader::parse(&batch).map_err(|_| AppendError::Unavailable)?;
        let latch = AckLatch::new();
        let appended = self.log.append(&batch, &header, Some(&latch));
        latch.release();
        appended.map(|_| latch).map_err(|_| AppendError::Unavailable)
    }

    fn report_when_durable(
        self: &Arc<Self>,
        id: AppendId,
        latch: Arc<AckLatch>,
        environment: &Environment,
    ) {
        let shard = Arc::clone(self);
        let environment = environment.clone();
        tokio::spawn(async move {
            let durable = latch.wait().await;
            let clock = &environment.clock;
            let now = Now { wall: clock.now(), monotonic: clock.monotonic() };
            let report = |state: &mut GroupShard| {
                if durable {
                    state.append_succeeded(id, now)
                } else {
                    state.append_failed(id, AppendError::Unavailable, now)
                }
            };
            shard.change(report, &environment);
        });
    }

    /// Rebuilds the state from the partition's log.
    pub(super) async fn replay(self: &Arc<Self>, now: Now) -> Result<ReplayStats, ReplayError> {
        let positions = self.log.positions();
        let mut next = positions.log_start;
        while next < positions.high_watermark {
            let runs = match self.log.read_tail(next, REPLAY_BYTES, true) {
                TailRead::Batches(runs) => runs,
                TailRead::Cold => self.log.read_cold(next, REPLAY_BYTES, true).await?,
                TailRead::OutOfRange => break,
            };
            let before = next;
            for run in &runs {
                next = self.replay_run(run, next)?;
            }
            if next == before {
                // History and tail changed places while we looked; look again.
                tokio::task::yield_now().await;
            }
        }
        let mut state = self.state.lock();
        let effects = state.load_finished(now);
        debug_assert!(effects.appends.is_empty(), "loading writes nothing");
        let stats = state.replay_stats();
        drop(state);
        self.send(effects.replies);
        self.deadlines.notify_one();
        Ok(stats)
    }

    fn replay_run(&self, run: &Bytes, from: Offset) -> Result<Offset, ReplayError> {
        let damaged = |source: Box<dyn std::error::Error + Send + Sync>| ReplayError::Batch {
            offset: from,
            source,
        };
        let mut next = from;
        for batch in batches_in(run) {
            let (header, bytes) = batch.map_err(|error| damaged(Box::new(error)))?;
            next = header.next_offset();
            if header.is_control() {
                continue;
            }
            let open = OpenBatch::open(&bytes, BATCH_BYTES_MAX);
            let open = open.map_err(|error| damaged(Box::new(error)))?;
            let mut state = self.state.lock();
            for record in open.records() {
                let record = record.map_err(|error| damaged(Box::new(error)))?;
                let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
                let value = record.value.map(Bytes::copy_from_slice);
                state.replay(&key, value.as_ref());
            }
        }
        Ok(next)
    }
}

fn build(append: &Append) -> Result<Bytes, BuildError> {
    let mut builder = BatchBuilder::new();
    for record in &append.records {
        let encoded = record.encode();
        let key = Some(&encoded.key[..]);
        builder.push(NewRecord::new(append.timestamp, key, encoded.value.as_deref()))?;
    }
    builder.build().map(bytes::BytesMut::freeze)
}
