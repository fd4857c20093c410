//! Vocabulary shared by every Antiphon crate: identities, positions, injected time and randomness.
//!
//! ```text
//! common  <-  records, protocol, wal, catalog  <-  storage  <-  broker  <-  cli
//! ```
//!
//! Nothing here does I/O or knows Kafka's wire format. A bare integer never crosses a crate
//! boundary: an offset, an epoch and a log sequence number are different types, and stepping from
//! one to the next is a named method, so that an off-by-one has one place to be wrong.

mod env;
mod error_kind;
mod ids;
mod positions;
pub mod scheduling;

pub use env::{
    Clock, Entropy, Environment, ManualClock, SeededEntropy, SystemClock, SystemEntropy,
};
pub use error_kind::ErrorKind;
pub use ids::{
    BrokerId, ClusterId, ObjectId, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
};
pub use positions::{BrokerEpoch, ByteCount, LeaderEpoch, Lsn, Offset, Timestamp, WalEpoch};
