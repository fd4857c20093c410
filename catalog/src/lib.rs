//! What exists and who owns it: topics, partitions, epochs, configs, and where history is.
//!
//! ```text
//!            contract.rs   trait Catalog: numbered guarantees, request and outcome types
//!                 |
//!   slate/   SlateCatalog over any object store (file, S3, memory)
//!     open   fence -> load topics and partitions -> bump the broker epoch -> Snapshot
//!     state  what is kept in memory: topics, partitions, counters; never segments
//!     turn   one change at a time is planned against the state, then written as one transaction;
//!            waiting for durability is shared by everybody who waits (group commit)
//!                 |
//!   rows/    one file per kind of row: key layout, value layout, encode, decode
//!                 |
//!            SlateDB (pinned), wrapped so that nobody outside this crate sees it
//! ```
//!
//! The catalog is small (rows about data, never data), transactional, and opened for writing by one
//! broker at a time: opening it fences whoever had it open. It is never on the produce path; its
//! busiest caller is the flush, once per uploaded group of objects. Everything that must survive is
//! in the bucket: under the prefix stand `cluster` (identity and format, readable without opening)
//! and `db/` (the database).
//!
//! Neighbours: `storage` commits flushes and reads segment rows; `broker` creates topics and keeps
//! its own copy of the metadata from the [`Snapshot`] and from what calls return; `cli` inspects.

mod cluster;
mod contract;
mod epoch;
mod error;
mod inspect;
mod options;
mod rows;
mod slate;
mod snapshot;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(test)]
mod tests;

pub use contract::{
    Catalog, Created, CreatedTopic, FlushCommit, FlushOutcome, MergeCommit, NewTopic,
    PartitionProgress, TrimOutcome,
};
pub use epoch::{effective_leader_epoch, wal_epoch};
pub use error::{CatalogError, Cause, OpenError};
pub use inspect::{Entry, Inspector};
pub use options::OpenOptions;
pub use rows::{
    BrokerConfigRow, BrokerRow, CLUSTER_FORMAT_VERSION, ClusterRow, ConfigScope, Counter,
    CounterRow, DeletionRow, ObjectRow, PartitionRow, ProducerRow, RowError, RowKind, SegmentRow,
    TopicDeletionRow, TopicRow,
};
pub use slate::SlateCatalog;
pub use snapshot::Snapshot;
