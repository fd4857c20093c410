//! The log on a disk that loses power: for simulations, without threads and without a real disk.
//!
//! ```text
//!   append         sync(n): one group        crash: up to two groups are under way
//!      |               |                         |
//!      v               v                         v
//!   pending ---> frames as on disk ---> SimulatedDisk: sectors, synced or not
//!                                                |
//!                                                v  open: as files in a scratch folder
//!                                       the recovery of the real log
//! ```
//!
//! The format is the real one (`docs/formats/wal.md`) and so is recovery, which reads what the disk is
//! left with as files. Only the threads are missing: the owner says when a group becomes durable, so
//! a seed decides everything. What a disk does to a log is here: writes that are torn between any two
//! sectors, writes that never arrived, files that are used again with their old bytes, no room, and
//! bits that rot.

mod disk;
mod log;

pub use disk::SimulatedDisk;
pub use log::{Opened, SimulatedWal, SimulatedWalOptions};
