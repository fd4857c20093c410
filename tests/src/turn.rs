//! Who may use the machine. Tests that measure time run alone; all others share it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// Held for as long as a test runs.
#[derive(Debug)]
pub enum Turn {
    /// Other tests may run meanwhile.
    Shared(RwLockReadGuard<'static, ()>),
    /// No other test of this binary runs.
    Alone(RwLockWriteGuard<'static, ()>),
}

/// The turn of a test that measures nothing.
pub fn shared() -> Turn {
    // A test that failed while it held the lock has no bearing on the next one.
    Turn::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
}

/// The turn of a test that measures time or memory.
pub fn alone() -> Turn {
    Turn::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
}
