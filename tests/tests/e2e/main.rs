//! A broker and its clients, from end to end: the binary as a process, Kafka's wire, real files.
//!
//! ```text
//!   crash        kill -9 in mid-produce: what was acked stays, once, where it was
//!   disks        a disk that refuses a write ends the process, with 3; nothing acked is lost
//!   duplicates   idempotent producers across restarts and across the loss of the local disk
//!   moving       clean stops: the store alone brings everything back
//!   refusals     starts that must not happen, and must change nothing
//!   fetching     limits, long polls, ranges, fetches from history
//!   offsets      ListOffsets by time and meaning, DeleteRecords, retention
//!   topics       creating, settings, growing, deleting, creating again
//!   producing    acks, and batches of every codec
//!   compaction   of each key the newest record, at its offset; tombstones; groups afterwards
//!   groups       members, static members, commits that outlive a crash
//!   stopping     SIGTERM in mid-produce; health and figures over HTTP
//!   full_disk    a disk that fills up, a kill -9 on it, and room again
//!   versions     every API in every version
//!   isolation    replay beside live traffic, budgets, objects that cannot be read
//!   scale        a thousand partitions; start-up time and memory of an idle broker
//! ```

mod compaction;
mod crash;
mod disks;
mod duplicates;
mod fetching;
mod full_disk;
mod groups;
mod isolation;
mod moving;
mod offsets;
mod producing;
mod refusals;
mod scale;
mod stopping;
mod topics;
mod versions;
