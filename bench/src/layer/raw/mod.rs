//! The bare pattern of a log, written two ways.

mod file;
mod queue;
mod ring;
mod threads;

pub(super) use ring::{Ring, refusal};
pub(super) use threads::Threads;

use std::time::Duration;

/// How long an idle writer looks before it sleeps; the same as the broker's log.
const SPIN: Duration = Duration::from_micros(20);
/// With a write in flight it looks for at most this long: more is the disk's fault.
const SPIN_WRITING: Duration = Duration::from_micros(320);
