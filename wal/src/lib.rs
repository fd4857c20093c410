//! The durable tail of a broker: what is appended here and acknowledged survives a crash.
//!
//! ```text
//!   storage (PartitionLog)                      storage (flush to the bucket)
//!        |  append(bytes, completion)                |  trim(through)
//!        v                                           v
//!   +----------------------- trait Wal -------------------------+
//!   |  FileWal: segments on a local disk      MemoryWal: tests  |
//!   +-----------------------------------------------------------+
//!        |  completion(Ok(Bytes)): durable, in order, and the very memory that was written,
//!        v                         which the caller keeps as its tail cache
//!   acknowledge, wake fetches
//! ```
//!
//! Payloads are opaque: this crate knows neither partitions nor record batches. It numbers frames,
//! makes groups of them durable, and gives back after a crash what it promised, or refuses to.
//! An opening hands back what survived. It may leave sealed segments for later ([`Backlog`]), because
//! each has a summary beside it that says what an owner needs before it goes on.
//!
//! The contract is written on [`Wal`]; the bytes on disk are in `docs/formats/wal.md`; what recovery
//! decides is a truth table in `recovery/classify.rs`.
//!
//! Neighbours: `storage` is the only user. `cli` opens the log, reports its failure and prints what
//! [`inspect`] finds.

mod contract;
mod fault;
mod file;
mod format;
mod inspect;
mod memory;
mod recovery;
mod slab;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(any(test, feature = "test-util"))]
pub mod simulated;

pub use contract::{
    AppendError, AppendFailed, Completion, DeferredFrame, Replayed, Shortage, Survivor, Wal,
    WalStats,
};
pub use fault::{FatalFault, OnFatal};
pub use file::{DirectIo, DiskHook, DiskOperation, FileWal, FileWalOptions};
pub use format::frame::{FrameHeader, FrameKind};
pub use format::segment::{HeaderState, SegmentHeader, SegmentId};
pub use inspect::{Finding, Verdict, inspect};
pub use memory::{MemoryWal, MemoryWalOptions};
pub use recovery::{
    Backlog, Behind, Corruption, Ending, LoadError, OpenError, RecoveryReport, Stop,
};
