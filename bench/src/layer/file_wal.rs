//! The broker's log, with the settings that are compared.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_common::{ByteCount, Environment, Lsn, WalEpoch};
use antiphon_wal::{DirectIo, FileWal, FileWalOptions, Wal};
use serde::Serialize;

use super::{Done, Log};

/// A log that forgets keeps this many bytes: two segments.
const KEPT_BYTES: u64 = 128 << 20;
/// Enough for a whole run of a log that forgets nothing.
const CAPACITY: ByteCount = ByteCount::mebibytes(4096);
/// The broker's default.
const SPIN: Duration = Duration::from_micros(20);

/// What differs from one run to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Settings {
    /// Writer threads, hence groups in flight.
    writers: usize,
    /// `O_DIRECT|O_DSYNC`, or else buffered writes and `fdatasync`.
    direct: bool,
    /// Whether an idle writer looks for work before it sleeps.
    spin: bool,
    /// Whether segments are used again; else each is new, zero-filled while the log runs.
    recycled: bool,
}

impl Settings {
    /// The broker's defaults first, then one setting changed at a time.
    pub(super) fn all() -> [Self; 6] {
        let usual = Self { writers: 2, direct: true, spin: false, recycled: true };
        [
            usual,
            Self { writers: 1, ..usual },
            Self { spin: true, ..usual },
            Self { writers: 1, spin: true, ..usual },
            Self { direct: false, ..usual },
            Self { recycled: false, ..usual },
        ]
    }

    pub(super) fn label(&self) -> String {
        let choose = |yes: bool, then, otherwise| if yes { then } else { otherwise };
        format!(
            "wal, {} writers, {}, {}, {}",
            self.writers,
            choose(self.direct, "direct", "buffered"),
            choose(self.spin, "spin", "no spin"),
            choose(self.recycled, "recycled", "fresh"),
        )
    }

    pub(super) fn open(&self, folder: &Path) -> io::Result<FileLog> {
        let mut options = FileWalOptions::new(folder, WalEpoch(1), Environment::system());
        options.writers = self.writers;
        options.spin = if self.spin { SPIN } else { Duration::ZERO };
        options.direct_io = if self.direct { DirectIo::Auto } else { DirectIo::Off };
        options.capacity_bytes = CAPACITY;
        let (wal, _) = FileWal::open(options, &mut |_| {}).map_err(io::Error::other)?;
        if self.direct && !wal.is_direct() {
            return Err(io::Error::other("this file system takes no direct writes"));
        }
        Ok(FileLog { wal, forgets: self.recycled, appended: AtomicU64::new(0) })
    }
}

/// An open log.
pub(super) struct FileLog {
    wal: FileWal,
    forgets: bool,
    appended: AtomicU64,
}

impl Log for FileLog {
    fn append(&self, payload: &[u8], done: Done) -> bool {
        let fill = &mut |space: &mut [u8]| space.copy_from_slice(payload);
        let completion = Box::new(move |result: Result<_, _>| done(result.is_ok()));
        let accepted = self.wal.append(payload.len(), fill, completion).is_ok();
        self.appended.fetch_add(u64::from(accepted), Ordering::Relaxed);
        accepted
    }

    /// Trims by the mean frame so far: the loads of one log differ in size only once, after warm-up.
    fn forget_the_past(&self) {
        let stats = self.wal.stats();
        let frames = self.appended.load(Ordering::Relaxed).max(1);
        let mean = (stats.appended_bytes / frames).max(1);
        if self.forgets {
            let keep = KEPT_BYTES / mean;
            self.wal.trim(Lsn(stats.durable_lsn.get().saturating_sub(keep)));
        }
    }
}
