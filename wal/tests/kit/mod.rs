//! Shared by the tests of the file log: small segments, and damage to files.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use antiphon_common::{ByteCount, Environment, Lsn, WalEpoch};
use antiphon_wal::conformance::{Outcomes, payload};
use antiphon_wal::{
    Backlog, DiskOperation, FileWal, FileWalOptions, Finding, FrameHeader, HeaderState, LoadError,
    OpenError, RecoveryReport, Replayed, Survivor, Wal, inspect,
};
use parking_lot::Mutex;
use tempfile::TempDir;

pub(crate) const SEGMENT: u64 = 64 << 10;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(crate) fn options(folder: &Path, epoch: u64) -> FileWalOptions {
    let mut options = FileWalOptions::new(folder, WalEpoch(epoch), Environment::system());
    options.segment_bytes = ByteCount(SEGMENT);
    options.slab_bytes = ByteCount(16 << 10);
    options.capacity_bytes = ByteCount(64 * SEGMENT);
    // Which frame is in which segment must not depend on when a spare was ready.
    options.leaves_raw_segments = false;
    options
}

pub(crate) type Opened = Result<(FileWal, RecoveryReport, Vec<Replayed>), OpenError>;

pub(crate) fn open_with(options: FileWalOptions) -> Opened {
    let mut found = Vec::new();
    let (wal, report) = FileWal::open(options, &mut |frame| found.push(frame))?;
    Ok((wal, report, found))
}

pub(crate) fn open(folder: &Path, epoch: u64) -> (FileWal, RecoveryReport, Vec<Replayed>) {
    open_with(options(folder, epoch)).expect("opens")
}

/// How much of a payload the summaries of these tests repeat.
pub(crate) const PREFIX: usize = 16;

/// A log that makes summaries, and leaves segments that have one for later.
pub(crate) fn summarising(folder: &Path, epoch: u64) -> FileWalOptions {
    FileWalOptions { summary_prefix_bytes: Some(PREFIX), ..options(folder, epoch) }
}

/// What an opening that defers gives.
pub(crate) struct Deferring {
    pub(crate) wal: FileWal,
    pub(crate) report: RecoveryReport,
    pub(crate) survivors: Vec<Survivor>,
    pub(crate) backlog: Backlog,
}

pub(crate) fn open_deferring(options: FileWalOptions) -> Result<Deferring, OpenError> {
    let mut survivors = Vec::new();
    let opened = FileWal::open_deferring(options, &mut |survivor| survivors.push(survivor))?;
    let (wal, report, backlog) = opened;
    Ok(Deferring { wal, report, survivors, backlog })
}

/// Reads all that was deferred.
pub(crate) fn drain(backlog: &mut Backlog) -> Result<Vec<Replayed>, LoadError> {
    let mut all = Vec::new();
    loop {
        let next = backlog.load(Lsn::FIRST)?;
        if next.is_empty() {
            assert!(backlog.is_empty());
            return Ok(all);
        }
        all.extend(next);
    }
}

/// The segments in use that have a summary.
pub(crate) fn summarised(folder: &Path) -> Vec<PathBuf> {
    let paths = segments(folder).into_iter().map(|(path, _)| path);
    paths.filter(|path| path.with_extension("summary").exists()).collect()
}

/// As [`long_log`], with a summary of each segment but the last.
pub(crate) fn summarised_log() -> TempDir {
    let live = folder();
    let wal = open_deferring(summarising(live.path(), 1)).expect("opens").wal;
    append_groups(&wal, 1..=60);
    await_summaries(live.path());
    crash_copy(live.path())
}

/// Waits until the housekeeper has written the summary of every segment but the last.
pub(crate) fn await_summaries(folder: &Path) {
    let sealed = segments(folder).len() - 1;
    while summarised(folder).len() < sealed {
        std::thread::yield_now();
    }
}

/// Appends the payloads numbered `numbers`, each in a group of its own.
pub(crate) fn append_groups(wal: &FileWal, numbers: impl IntoIterator<Item = u64>) {
    let outcomes = Outcomes::default();
    for number in numbers {
        outcomes.append(wal, number, &payload(number)).expect("room");
        outcomes.next_durable();
    }
}

/// What a crash right now would leave: the files as they are.
pub(crate) fn crash_copy(from: &Path) -> TempDir {
    let copy = folder();
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        match fs::copy(&path, copy.path().join(path.file_name().expect("a name"))) {
            Ok(_) => {}
            // The housekeeper deletes what nobody needs.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    copy
}

/// A folder with `frames` groups of one frame each, as a crash leaves it.
pub(crate) fn crashed_log(frames: u64) -> TempDir {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    append_groups(&wal, 1..=frames);
    crash_copy(live.path())
}

pub(crate) fn numbers(found: &[Replayed]) -> Vec<u64> {
    for frame in found {
        assert_eq!(frame.payload, payload(frame.lsn.get()), "frame {}", frame.lsn);
    }
    found.iter().map(|frame| frame.lsn.get()).collect()
}

/// Where each frame is.
pub(crate) fn frames(folder: &Path) -> Vec<(PathBuf, u64, FrameHeader)> {
    let (mut current, mut all) = (PathBuf::new(), Vec::new());
    inspect(folder, &mut |finding| match finding {
        Finding::Segment { path, .. } => current = path,
        Finding::Frame { position, header } => all.push((current.clone(), position, header)),
        Finding::End { .. } => {}
    })
    .expect("readable");
    all
}

/// The segments in use, each with its first frame.
pub(crate) fn segments(folder: &Path) -> Vec<(PathBuf, Lsn)> {
    let mut all = Vec::new();
    inspect(folder, &mut |finding| {
        if let Finding::Segment { path, header: HeaderState::Valid(header), .. } = finding {
            all.push((path, header.first_lsn));
        }
    })
    .expect("readable");
    all
}

pub(crate) fn flip(path: &Path, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], position).expect("written");
}

pub(crate) fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.write_all_at(bytes, position).expect("written");
}

/// Runs a log in which the group of frame 4 is stuck in front of the disk while the group of frame
/// 5 is written, and returns the files at that moment.
pub(crate) fn torn_before_intact(segment_bytes: u64, large: usize) -> TempDir {
    let live = folder();
    let ((at_disk, reached), (release, released)) = (channel(), channel::<()>());
    let released = Mutex::new(released);
    let mut options = options(live.path(), 1);
    options.segment_bytes.0 = segment_bytes;
    options.disk_hook = Some(Arc::new(move |operation| {
        if let DiskOperation::WriteGroup { first_lsn: Lsn(4), .. } = operation {
            at_disk.send(()).map_err(io::Error::other)?;
            released.lock().recv().map_err(io::Error::other)?;
        }
        Ok(())
    }));
    let (wal, ..) = open_with(options).expect("opens");
    append_groups(&wal, 1..=3);
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 4, &vec![4; large]).expect("room");
    reached.recv().expect("frame 4 reaches the disk");
    let groups = wal.stats().groups;
    outcomes.append(&wal, 5, &payload(5)).expect("room");
    while wal.stats().groups == groups {
        std::thread::yield_now();
    }
    assert!(outcomes.is_empty(), "5 is written, and must not be acknowledged before 4");
    assert_eq!(wal.durable(), Lsn(3));
    let copy = crash_copy(live.path());
    release.send(()).expect("the writer waits");
    assert_eq!((outcomes.next_durable().0, outcomes.next_durable().0), (4, 5));
    copy
}

/// Three segments or more, all of one opening.
pub(crate) fn long_log() -> TempDir {
    let log = crashed_log(60);
    assert!(segments(log.path()).len() >= 3, "long enough");
    log
}

/// Bit by bit, independent of the implementation under test.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// Changes a segment's header and makes its checksum right again, so that what it says is believed.
pub(crate) fn rewrite_header(path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes[..64]);
    let covered: Vec<u8> = [&bytes[..12], &bytes[16..64]].concat();
    bytes[12..16].copy_from_slice(&crc32c(&covered).to_le_bytes());
    fs::write(path, bytes).expect("written");
}
