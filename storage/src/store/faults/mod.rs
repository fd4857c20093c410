//! A bucket that fails on demand: the fault kit of tests and simulations.
//!
//! ```text
//!   FaultPlan   which requests fail, how often and in which direction; shared, changed at any time
//!      |  decides, with dice of each rule's own
//!      v
//!   FaultyStore   wraps any object_store: memory, files, a real bucket
//! ```
//!
//! A rule says *which* requests (operation, prefix, one in how many, how often at most) and *what*
//! happens to them. The direction matters more than the error: a request that never arrived and one
//! whose reply was lost look the same to the caller, and only the second has happened (S3's puts,
//! conditional ones above all, are where systems get this wrong).
//!
//! One seed decides everything. Each rule has dice of its own, so that how often one is asked does
//! not change what another one does. Time is tokio's: a paused runtime makes slowness free.

mod body;
mod plan;
mod rule;
mod store;

#[cfg(test)]
mod tests;

pub use plan::{AppliedHook, FaultPlan, Outage};
pub use rule::{Fault, Operation, Rule};
pub use store::FaultyStore;
