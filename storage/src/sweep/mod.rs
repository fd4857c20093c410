//! Removing what crashes leave in the store.
//!
//! An object is put before the catalog names it, so a crash, or an error that is never resolved, can
//! leave one that nobody names: it would stay for ever. The sweep lists the bucket and deletes what
//! the catalog does not name. Of all that this program does it is the most dangerous, so five things
//! must come together before an object goes:
//!
//! 1. its key is exactly one that this program makes;
//! 2. it is old, by the clock of its writer (in its id) and by the bucket's;
//! 3. this process is not making it: flushes and merges name what they work on, however long it takes;
//! 4. the catalog does not name it, not even as waiting to be deleted;
//! 5. after all that, the catalog confirms by a durable write that this process still owns it.
//!
//! The last one matters because a process that was overtaken unawares (a machine that slept) knows only
//! the catalog's past: everything its successor wrote would look like an orphan.
//!
//! On a local store the sweep also removes the files of interrupted writes, which listings do not show.
//!
//! Neighbours: [`crate::merge`] and the flushes leave what this finds; the deletion queue of the catalog
//! is for objects that *were* history.

mod leftovers;
mod options;
mod stats;
mod sweeper;
#[cfg(test)]
mod tests;

pub use options::SweepOptions;
pub use stats::{SweepReport, SweepStats};
pub use sweeper::SweepError;
pub(crate) use sweeper::Sweeper;
