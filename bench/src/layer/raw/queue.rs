//! What was appended and not written, and what was written and not acknowledged: shared by both ways
//! of writing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::file::{BLOCK, Buffer, Cursor, GROUP_BYTES};
use crate::layer::Done;

/// Buffers kept for the next groups.
const IDLE_BUFFERS_MAX: usize = 8;

/// Appends that are written together.
pub(super) struct Group {
    pub(super) buffer: Buffer,
    filled: usize,
    done: Vec<Done>,
}

impl Group {
    /// Bytes to write: what was appended, padded to whole blocks.
    pub(super) fn write_bytes(&self) -> usize {
        self.filled.next_multiple_of(BLOCK)
    }
}

/// A group on its way to the disk.
pub(super) struct Taken {
    pub(super) group: Group,
    pub(super) position: u64,
    sequence: u64,
}

#[derive(Default)]
struct Inner {
    groups: VecDeque<Group>,
    idle: Vec<Buffer>,
    cursor: Cursor,
    next_sequence: u64,
    sleepers: usize,
    closed: bool,
}

impl Inner {
    fn group_with_room(&mut self, bytes: usize) -> Option<&mut Group> {
        let fits = |group: &Group| group.filled + bytes <= GROUP_BYTES;
        if !self.groups.back().is_some_and(fits) {
            let buffer = self.idle.pop().unwrap_or_else(Buffer::new);
            self.groups.push_back(Group { buffer, filled: 0, done: Vec::new() });
        }
        self.groups.back_mut()
    }
}

/// Acknowledgements that wait for earlier groups.
#[derive(Default)]
struct Delivery {
    next: u64,
    finished: BTreeMap<u64, (Vec<Done>, bool)>,
}

/// Appends in, groups out, acknowledgements in order.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    delivery: Mutex<Delivery>,
    work: Condvar,
    /// Groups that wait, for those who look without the lock.
    waiting: AtomicUsize,
}

impl Queue {
    /// Copies `payload` into the last waiting group. Larger than a group is refused.
    pub(super) fn push(&self, payload: &[u8], done: Done) -> bool {
        if payload.len() > GROUP_BYTES {
            return false;
        }
        let mut inner = lock(&self.inner);
        let Some(group) = inner.group_with_room(payload.len()) else { return false };
        let end = group.filled + payload.len();
        group.buffer.bytes_mut()[group.filled..end].copy_from_slice(payload);
        group.filled = end;
        group.done.push(done);
        self.waiting.store(inner.groups.len(), Ordering::SeqCst);
        // A wake-up is a system call even if nobody sleeps.
        if inner.sleepers > 0 {
            self.work.notify_one();
        }
        true
    }

    /// The oldest waiting group.
    pub(super) fn take(&self) -> Option<Taken> {
        self.take_from(&mut lock(&self.inner))
    }

    fn take_from(&self, inner: &mut Inner) -> Option<Taken> {
        let group = inner.groups.pop_front()?;
        self.waiting.store(inner.groups.len(), Ordering::SeqCst);
        let position = inner.cursor.claim(group.write_bytes());
        let sequence = inner.next_sequence;
        inner.next_sequence += 1;
        Some(Taken { group, position, sequence })
    }

    /// Sleeps until there is a group; `None` once the queue is closed and empty.
    pub(super) fn wait(&self) -> Option<Taken> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(taken) = self.take_from(&mut inner) {
                return Some(taken);
            }
            if inner.closed {
                return None;
            }
            inner.sleepers += 1;
            inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.sleepers -= 1;
        }
    }

    /// Whether a group waits, without the lock.
    pub(super) fn has_work(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Acknowledges `taken` and everything that waited for it.
    pub(super) fn finish(&self, taken: Taken, durable: bool) {
        let mut delivery = lock(&self.delivery);
        let Group { buffer, done, .. } = taken.group;
        delivery.finished.insert(taken.sequence, (done, durable));
        while let Some((done, durable)) = delivery.pop_next() {
            done.into_iter().for_each(|done| done(durable));
        }
        drop(delivery);
        let mut inner = lock(&self.inner);
        if inner.idle.len() < IDLE_BUFFERS_MAX {
            inner.idle.push(buffer);
        }
    }

    /// Wakes the sleepers for good.
    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.work.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }
}

impl Delivery {
    fn pop_next(&mut self) -> Option<(Vec<Done>, bool)> {
        let finished = self.finished.remove(&self.next)?;
        self.next += 1;
        Some(finished)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_group_is_what_was_appended_meanwhile_and_acknowledgements_keep_their_order() {
        let (queue, log) = (Queue::default(), Arc::new(Mutex::new(Vec::new())));
        let push = |name: u8, bytes: usize| {
            let log = Arc::clone(&log);
            let payload = vec![name; bytes];
            assert!(queue.push(&payload, Box::new(move |_| log.lock().unwrap().push(name))));
        };
        push(1, 10);
        push(2, 20);
        let first = queue.take().unwrap();
        assert_eq!((first.group.write_bytes(), first.position), (BLOCK, 0));
        push(3, GROUP_BYTES);
        push(4, 1);
        let (second, third) = (queue.take().unwrap(), queue.take().unwrap());
        assert!(!queue.has_work());
        queue.finish(third, true);
        queue.finish(second, true);
        assert!(log.lock().unwrap().is_empty(), "the first is still under way");
        queue.finish(first, true);
        assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4]);
    }
}
