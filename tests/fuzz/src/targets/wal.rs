//! The write-ahead log's files as a crash, a disk or an operator left them.

use std::path::Path;

use antiphon_common::{ByteCount, Environment, WalEpoch};
use antiphon_wal::{FileWal, FileWalOptions, Replayed, Wal, inspect};

/// The smallest segment that a log takes.
pub const SEGMENT_BYTES: u64 = 16 << 10;

/// The log's options for `folder`, small.
pub fn options(folder: &Path, epoch: u64) -> FileWalOptions {
    FileWalOptions {
        segment_bytes: ByteCount(SEGMENT_BYTES),
        slab_bytes: ByteCount(8 << 10),
        capacity_bytes: ByteCount(8 * SEGMENT_BYTES),
        spare_segments: 1,
        writers: 1,
        direct_io: antiphon_wal::DirectIo::Off,
        ..FileWalOptions::new(folder, WalEpoch(epoch), Environment::system())
    }
}

/// Two segments of a log with these bytes. Opening either refuses, or yields frames in order and
/// without a hole, and yields the same ones when asked again.
pub fn segments(data: &[u8]) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.expect("a temporary folder");
    let (first, second) = data.split_at(data.len().min(SEGMENT_BYTES as usize));
    write(folder.path(), 1, first);
    if !second.is_empty() {
        write(folder.path(), 2, second);
    }
    let _ = inspect(folder.path(), &mut |_| {});
    let Some(once) = replay(folder.path(), 900) else { return };
    for pair in once.windows(2) {
        assert_eq!(pair[0].lsn.next(), pair[1].lsn, "a hole in the log");
    }
    let payloads = |frames: &[Replayed]| -> Vec<_> {
        frames.iter().map(|frame| (frame.lsn, frame.payload.clone())).collect()
    };
    let twice = replay(folder.path(), 901).expect("what opened once opens again");
    assert_eq!(payloads(&once), payloads(&twice));
}

fn write(folder: &Path, number: u64, bytes: &[u8]) {
    let path = folder.join(segment_name(number));
    std::fs::write(path, bytes).expect("a temporary file");
}

/// The name of a segment file.
pub fn segment_name(number: u64) -> String {
    format!("{number:020}.wal")
}

fn replay(folder: &Path, epoch: u64) -> Option<Vec<Replayed>> {
    let mut frames = Vec::new();
    let (log, _) = FileWal::open(options(folder, epoch), &mut |frame| frames.push(frame)).ok()?;
    log.close();
    Some(frames)
}
