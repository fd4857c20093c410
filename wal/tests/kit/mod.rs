//! Shared by the tests of the file log: small segments, and damage to files.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use antiphon_common::{ByteCount, Environment, Lsn, WalEpoch};
use antiphon_wal::conformance::{Outcomes, payload};
use antiphon_wal::{
    FileWal, FileWalOptions, Finding, FrameHeader, HeaderState, OpenError, RecoveryReport,
    Replayed, inspect,
};
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
