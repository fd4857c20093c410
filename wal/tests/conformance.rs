//! Both implementations run the one suite.

use std::sync::Arc;

use antiphon_common::{ByteCount, Environment, WalEpoch};
use antiphon_wal::conformance::{Subject, run};
use antiphon_wal::{DirectIo, FileWal, FileWalOptions, MemoryWal, MemoryWalOptions, Replayed, Wal};
use tempfile::TempDir;

const SEGMENT: usize = 64 << 10;

struct FileSubject {
    folder: TempDir,
    direct_io: DirectIo,
    epoch: WalEpoch,
}

impl Subject for FileSubject {
    fn open(&mut self) -> (Arc<dyn Wal>, Vec<Replayed>) {
        self.epoch = self.epoch.next();
        let environment = Environment::system();
        let mut options = FileWalOptions::new(self.folder.path(), self.epoch, environment);
        options.segment_bytes = ByteCount(SEGMENT as u64);
        options.slab_bytes = ByteCount(16 << 10);
        options.capacity_bytes = ByteCount(32 * SEGMENT as u64);
        options.direct_io = self.direct_io;
        let mut found = Vec::new();
        let opened = FileWal::open(options, &mut |frame| found.push(frame));
        (Arc::new(opened.expect("opens").0), found)
    }

    // A process cannot lose its page cache; `crash.rs` damages files instead.
    fn crash(&mut self, wal: Arc<dyn Wal>) {
        drop(wal);
    }

    fn payload_bytes_max(&self) -> usize {
        SEGMENT - 2 * 4096 - 40
    }

    fn more_than_capacity(&self) -> usize {
        33 * SEGMENT
    }
}

#[test]
fn the_file_log_conforms_with_direct_writes() {
    run(&|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (direct_io, epoch) = (DirectIo::Auto, WalEpoch::ZERO);
        Box::new(FileSubject { folder, direct_io, epoch })
    });
}

#[test]
fn the_file_log_conforms_with_buffered_writes() {
    run(&|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (direct_io, epoch) = (DirectIo::Off, WalEpoch::ZERO);
        Box::new(FileSubject { folder, direct_io, epoch })
    });
}

#[derive(Default)]
struct MemorySubject {
    open: Option<Arc<MemoryWal>>,
    survivors: Vec<Replayed>,
}

impl MemorySubject {
    fn options() -> MemoryWalOptions {
        MemoryWalOptions {
            capacity_bytes: ByteCount::mebibytes(4),
            payload_bytes_max: 64 << 10,
            ..MemoryWalOptions::default()
        }
    }
}

impl Subject for MemorySubject {
    fn open(&mut self) -> (Arc<dyn Wal>, Vec<Replayed>) {
        let (survivors, mut found) = (std::mem::take(&mut self.survivors), Vec::new());
        let wal = MemoryWal::reopen(Self::options(), survivors, &mut |frame| found.push(frame));
        let wal = Arc::new(wal);
        self.open = Some(Arc::clone(&wal));
        (wal, found)
    }

    fn crash(&mut self, _wal: Arc<dyn Wal>) {
        self.survivors = self.open.take().expect("open").crash();
    }

    fn payload_bytes_max(&self) -> usize {
        Self::options().payload_bytes_max
    }

    fn more_than_capacity(&self) -> usize {
        5 << 20
    }
}

#[test]
fn the_memory_log_conforms() {
    run(&|| Box::new(MemorySubject::default()));
}
