//! Clients that send. A plain one never sends twice; an idempotent one repeats what it has no
//! answer for, in order and under the same sequence, until it has one.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_common::{ErrorKind, ProducerId, Timestamp};
use antiphon_records::{BatchHeader, Compression};
use antiphon_storage::{AckLatch, AppendError, Appended, PartitionLog};
use bytes::Bytes;
use futures::FutureExt;

use super::dice::Dice;
use super::model::{Checked, Partition, Violation};
use super::payload::{self, Keys, Value};

/// As many as a broker must remember (KIP-98), so as many as a client may have in flight.
const IN_FLIGHT_MAX: usize = antiphon_records::BATCHES_REMEMBERED;

/// A batch without a final answer.
#[derive(Debug)]
struct Unanswered {
    first: Value,
    count: i32,
    batch: Bytes,
    /// Set while an attempt is under way.
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    latch: Arc<AckLatch>,
    appended: Appended,
    /// What clients knew to be in the log when this attempt was made.
    known_end: i64,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) index: usize,
    pub(crate) partition: usize,
    identity: Option<ProducerId>,
    next_sequence: i32,
    unanswered: VecDeque<Unanswered>,
}

/// What sending needs.
pub(crate) struct Sending<'a> {
    pub(crate) log: &'a Arc<PartitionLog>,
    pub(crate) model: &'a mut Partition,
    /// A deliberate defect: the broker that does not look for duplicates.
    pub(crate) forgets_producers: bool,
}

impl Producer {
    pub(crate) fn new(index: usize, partition: usize, identity: Option<ProducerId>) -> Self {
        let (next_sequence, unanswered) = (0, VecDeque::new());
        Self { index, partition, identity, next_sequence, unanswered }
    }

    /// Makes the next batch, if there is room for another one in flight.
    pub(crate) fn prepare(
        &mut self,
        dice: &mut Dice,
        now: Timestamp,
        keys: Keys,
        model: &mut Partition,
    ) {
        if self.unanswered.len() >= IN_FLIGHT_MAX {
            return;
        }
        let count = dice.between(1, 5) as i32;
        let codecs = [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy];
        let codec = codecs[dice.index(codecs.len())];
        let (partition, producer, sequence) = (self.partition, self.index, self.next_sequence);
        let first = Value { partition, producer, sequence };
        let batch = payload::batch(first, count, self.identity, now, (codec, keys));
        model.sent(first, count, now);
        self.next_sequence += count;
        self.unanswered.push_back(Unanswered { first, count, batch, attempt: None });
    }

    /// Sends what has no attempt under way, in order. Says what became of the last one.
    pub(crate) fn send(&mut self, to: &mut Sending<'_>) -> Checked<String> {
        let mut outcome = "nothing to send".to_owned();
        for entry in self.unanswered.iter_mut().filter(|entry| entry.attempt.is_none()) {
            match attempt(entry, to) {
                Ok(attempt) => {
                    let Appended { base_offset, duplicate, .. } = attempt.appended;
                    outcome =
                        format!("{}+{} at {base_offset} {duplicate}", entry.first, entry.count);
                    entry.attempt = Some(attempt);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::Closed) => {
                    outcome = format!("{} refused", entry.first);
                    break;
                }
                Err(error) => {
                    let detail = format!("{} was refused: {error}", entry.first);
                    return Err(Violation { rule: "order", detail });
                }
            }
        }
        self.give_up_refused();
        Ok(outcome)
    }

    /// A plain producer drops what was refused.
    fn give_up_refused(&mut self) {
        if self.identity.is_none() {
            self.unanswered.retain(|entry| entry.attempt.is_some());
        }
    }

    /// Takes in the answers that have come.
    pub(crate) fn collect(&mut self, model: &mut Partition) -> Checked<Vec<String>> {
        let mut answers = Vec::new();
        while let Some(entry) = self.unanswered.front() {
            let Some(attempt) = &entry.attempt else { break };
            let Some(durable) = attempt.latch.wait().now_or_never() else { break };
            let base = attempt.appended.base_offset.get();
            if durable {
                let known_end = (!attempt.appended.duplicate).then_some(attempt.known_end);
                model.acked(entry.first, entry.count, base, known_end)?;
            }
            answers.push(format!("{} at {base} durable {durable}", entry.first));
            self.unanswered.pop_front();
        }
        Ok(answers)
    }

    /// The connection broke: what was under way has no answer. Idempotent producers will repeat it.
    pub(crate) fn disconnect(&mut self) {
        self.unanswered.iter_mut().for_each(|entry| entry.attempt = None);
        self.give_up_refused();
    }

    pub(crate) fn waits(&self) -> bool {
        !self.unanswered.is_empty()
    }
}

fn attempt(entry: &Unanswered, to: &mut Sending<'_>) -> Result<Attempt, AppendError> {
    let mut header = BatchHeader::parse(&entry.batch).expect("our own batch");
    if to.forgets_producers {
        header.producer_id = ProducerId::NONE;
    }
    let latch = AckLatch::new();
    let appended = to.log.append(&entry.batch, &header, Some(&latch));
    latch.release();
    let (appended, known_end) = (appended?, to.model.known_end());
    to.model.attempted(entry.first, entry.count, appended.base_offset.get());
    Ok(Attempt { latch, appended, known_end })
}
