//! What ends a log for good.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The first failure of a log, after which it acknowledges nothing more. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FatalFault {
    /// A write or sync failed. It was not retried and must not be: the kernel may have dropped the
    /// data and would report success. The process must exit (code 3) and recover from disk.
    #[error("writing {bytes} bytes at {position} of {path}: {source}")]
    Write {
        /// The segment.
        path: PathBuf,
        /// Where in the segment.
        position: u64,
        /// How much.
        bytes: u64,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// A segment could not be prepared for a reason other than lack of space.
    #[error("preparing segment {path}: {source}")]
    Prepare {
        /// The segment.
        path: PathBuf,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// A completion or the log itself panicked: a defect.
    #[error("a thread of the log panicked in {place}")]
    Panicked {
        /// Where.
        place: &'static str,
    },
    /// A test asked for it.
    #[error("injected: {0}")]
    Injected(&'static str),
}

/// What the owner wants done when the log fails: usually to make the process exit.
pub type OnFatal = Box<dyn FnOnce(FatalFault) + Send>;
