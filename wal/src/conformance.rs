//! The contract of [`Wal`] as tests that every implementation runs.
//!
//! An implementation provides a [`Subject`] and calls [`run`]; each check opens logs of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use antiphon_common::{ErrorKind, Lsn};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{AppendError, AppendFailed, Replayed, Wal};

/// Longer than any healthy log needs, so that a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// One log that can be opened several times.
pub trait Subject {
    /// Opens the log and says what was replayed. The opening before it has been closed or crashed.
    fn open(&mut self) -> (Arc<dyn Wal>, Vec<Replayed>);

    /// Ends the open log as a crash would, as far as the implementation can.
    fn crash(&mut self, wal: Arc<dyn Wal>);

    /// The largest payload the log takes.
    fn payload_bytes_max(&self) -> usize;

    /// How many bytes of payload certainly exceed the log's capacity.
    fn more_than_capacity(&self) -> usize;
}

/// What completions reported, in the order in which they ran.
pub struct Outcomes {
    sender: Sender<(u64, Result<Bytes, AppendFailed>)>,
    receiver: Receiver<(u64, Result<Bytes, AppendFailed>)>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }
}

impl std::fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcomes").finish_non_exhaustive()
    }
}

impl Outcomes {
    /// Appends `payload`; its completion reports under `tag`.
    ///
    /// # Errors
    /// What the log answers.
    pub fn append(&self, wal: &dyn Wal, tag: u64, payload: &[u8]) -> Result<Lsn, AppendError> {
        let sender = self.sender.clone();
        let report = move |result| {
            // The test may have ended.
            let _ = sender.send((tag, result));
        };
        wal.append(payload.len(), &mut |space| space.copy_from_slice(payload), Box::new(report))
    }

    /// The next completion, waiting for it.
    pub fn next(&self) -> (u64, Result<Bytes, AppendFailed>) {
        self.receiver.recv_timeout(PATIENCE).expect("a completion runs")
    }

    /// The next completion, which must be a success.
    pub fn next_durable(&self) -> (u64, Bytes) {
        let (tag, result) = self.next();
        (tag, result.expect("durable"))
    }

    /// Whether no completion is waiting.
    pub fn is_empty(&self) -> bool {
        matches!(self.receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout))
    }
}

/// The payload that frame `number` carries in these tests: its size and content follow from it.
pub fn payload(number: u64) -> Vec<u8> {
    let length = (number as usize * 7919) % 3000;
    let word = number.to_le_bytes();
    (0..length).map(|index| word[index % 8] ^ index as u8).collect()
}

type Check = fn(&mut dyn Subject);

/// Runs every check, each on a fresh subject.
pub fn run(fresh: &dyn Fn() -> Box<dyn Subject>) {
    let checks: [(&str, Check); 9] = [
        ("numbers have no holes and completions run in order", ordered),
        ("what was acknowledged is replayed, across several openings", replayed),
        ("an empty payload is a frame", empty_payload),
        ("a frame that can never fit is refused and claims nothing", too_large),
        ("a full log refuses, and takes more after a trim", full_then_trimmed),
        ("appends of many threads are ordered by the caller's lock", many_threads),
        ("a completion may take the appender's lock and append", reentrant),
        ("close drains, is idempotent, and ends appends", closed),
        ("what a crash interrupted was answered", crashed),
    ];
    for (name, check) in checks {
        tracing::info!(name, "conformance check");
        check(&mut *fresh());
    }
}

fn ordered(subject: &mut dyn Subject) {
    let (wal, found) = subject.open();
    assert!(found.is_empty(), "a new log is empty");
    let (outcomes, first) = (Outcomes::default(), wal.durable().next());
    for tag in 0..500 {
        let lsn = outcomes.append(&*wal, tag, &payload(tag)).expect("room");
        assert_eq!(lsn, Lsn(first.get() + tag));
    }
    for tag in 0..500 {
        let (completed, bytes) = outcomes.next_durable();
        assert_eq!((completed, &bytes[..]), (tag, &payload(tag)[..]));
        assert!(wal.durable() >= Lsn(first.get() + tag), "durable before completed");
    }
    let stats = wal.stats();
    assert_eq!(stats.appended_bytes, stats.durable_bytes);
    assert_eq!((stats.next_lsn, stats.durable_lsn), (wal.durable().next(), wal.durable()));
}

fn replayed(subject: &mut dyn Subject) {
    let mut expected = Vec::new();
    for opening in 0..4u64 {
        let (wal, found) = subject.open();
        let found: Vec<_> = found.into_iter().map(|frame| (frame.lsn, frame.payload)).collect();
        assert_eq!(found, expected, "opening {opening}");
        let outcomes = Outcomes::default();
        for tag in opening * 50..opening * 50 + 50 {
            let lsn = outcomes.append(&*wal, tag, &payload(tag)).expect("room");
            expected.push((lsn, Bytes::from(payload(tag))));
        }
        (0..50).for_each(|_| drop(outcomes.next_durable()));
        if opening % 2 == 0 {
            wal.close();
        }
        subject.crash(wal);
    }
    assert!(expected.windows(2).all(|pair| pair[0].0.next() == pair[1].0), "no holes");
}

fn empty_payload(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let outcomes = Outcomes::default();
    outcomes.append(&*wal, 1, b"").expect("room");
    assert_eq!(outcomes.next_durable(), (1, Bytes::new()));
    wal.close();
    subject.crash(wal);
    assert_eq!(subject.open().1.len(), 1);
}

fn too_large(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let (outcomes, limit) = (Outcomes::default(), subject.payload_bytes_max());
    let refused = outcomes.append(&*wal, 1, &vec![1; limit + 1]).expect_err("too large");
    assert!(matches!(refused, AppendError::TooLarge { .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let lsn = outcomes.append(&*wal, 2, &vec![2; limit]).expect("the largest frame fits");
    assert_eq!((lsn, outcomes.next_durable().0), (Lsn::FIRST, 2));
}

fn full_then_trimmed(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let (outcomes, frame) = (Outcomes::default(), vec![7; 8 << 10]);
    let (mut accepted, mut next) = (0, Lsn::FIRST);
    let refused = loop {
        assert!(accepted * frame.len() <= subject.more_than_capacity(), "never full");
        match outcomes.append(&*wal, 0, &frame) {
            Ok(lsn) => assert_eq!(lsn, std::mem::replace(&mut next, lsn.next())),
            Err(error) => break error,
        }
        accepted += 1;
        outcomes.next_durable();
    };
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    wal.trim(wal.durable());
    // Trimming is asynchronous; only the log knows when it is done.
    let lsn = loop {
        match outcomes.append(&*wal, 1, &frame) {
            Ok(lsn) => break lsn,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
        }
        thread::yield_now();
    };
    assert_eq!((lsn, outcomes.next_durable().0), (next, 1), "refused appends claim nothing");
}

fn many_threads(subject: &mut dyn Subject) {
    const THREADS: u64 = 8;
    const EACH: u64 = 100;
    let (wal, _) = subject.open();
    let (outcomes, lock) = (Outcomes::default(), Arc::new(Mutex::new(Vec::new())));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let sender = Outcomes { sender: outcomes.sender.clone(), ..Outcomes::default() };
            let (wal, lock) = (&*wal, Arc::clone(&lock));
            scope.spawn(move || {
                for _ in 0..EACH {
                    let mut order = lock.lock();
                    let tag = order.len() as u64;
                    order.push(sender.append(wal, tag, &payload(tag)).expect("room"));
                }
            });
        }
    });
    for tag in 0..THREADS * EACH {
        assert_eq!(outcomes.next_durable(), (tag, Bytes::from(payload(tag))));
    }
    assert!(lock.lock().windows(2).all(|pair| pair[0].next() == pair[1]), "no holes");
}

fn reentrant(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let (partition, (sender, receiver)) = (Arc::new(Mutex::new(0)), channel());
    let again = {
        let (wal, partition, sender) = (Arc::downgrade(&wal), Arc::clone(&partition), sender);
        move |result: Result<Bytes, AppendFailed>| {
            result.expect("durable");
            *partition.lock() += 1;
            let done = Box::new(move |result: Result<Bytes, AppendFailed>| {
                sender.send(result.is_ok()).expect("the test waits");
            });
            let wal = wal.upgrade().expect("still open");
            wal.append(1, &mut |space| space.fill(1), done).expect("room");
        }
    };
    let held = partition.lock();
    wal.append(1, &mut |space| space.fill(0), Box::new(again)).expect("room");
    drop(held);
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
    assert_eq!(*partition.lock(), 1);
}

fn closed(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let outcomes = Outcomes::default();
    for tag in 0..100 {
        outcomes.append(&*wal, tag, &payload(tag)).expect("room");
    }
    wal.close();
    wal.close();
    for tag in 0..100 {
        assert_eq!(outcomes.next_durable().0, tag);
    }
    let refused = outcomes.append(&*wal, 100, b"late").expect_err("closed");
    assert!(matches!(refused, AppendError::Closed), "{refused}");
    assert!(outcomes.is_empty(), "a refused append drops its completion");
    subject.crash(wal);
    assert_eq!(subject.open().1.len(), 100);
}

fn crashed(subject: &mut dyn Subject) {
    let (wal, _) = subject.open();
    let outcomes = Outcomes::default();
    for tag in 0..200 {
        outcomes.append(&*wal, tag, &payload(tag)).expect("room");
    }
    subject.crash(wal);
    let answers: Vec<_> = (0..200).map(|_| outcomes.next()).collect();
    let acknowledged = answers.iter().take_while(|(_, result)| result.is_ok()).count();
    assert!(answers.iter().skip(acknowledged).all(|(_, result)| result.is_err()), "a prefix");
    let (_, found) = subject.open();
    assert!(found.len() >= acknowledged, "{} of {acknowledged} found", found.len());
    for (tag, frame) in found.iter().enumerate() {
        assert_eq!(frame.payload, payload(tag as u64));
    }
}
