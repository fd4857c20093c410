//! Merging over a bucket that works, one that does not, and one that dies.

mod crashes;
pub(crate) mod kit;
mod merging;
mod planning;
mod scale;
