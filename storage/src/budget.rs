//! The memory that the tail may use, in bytes, over all partitions.
//!
//! A full budget makes producers' sockets wait; nothing is dropped and nothing grows. A waiting
//! connection is woken when history has taken over enough of the tail.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How much of the budget is charged, and to what.
#[derive(Debug)]
pub struct TailBudget {
    limit: u64,
    used: AtomicU64,
    waits: AtomicU64,
    room: Notify,
}

impl TailBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), waits: AtomicU64::new(0), room: Notify::new() }
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How often somebody has had to wait.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn charge(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn refund(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "refunds never exceed charges");
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_waiters();
        }
    }

    /// Whether an append may be admitted now.
    pub fn has_room(&self) -> bool {
        self.used() < self.limit
    }

    /// Waits until an append may be admitted. The limit is soft by one request per connection:
    /// what a connection has already read is admitted whole.
    pub async fn wait_for_room(&self) {
        if !self.has_room() {
            self.waits.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_full_budget_wakes_its_waiters_when_there_is_room() {
        let budget = Arc::new(TailBudget::new(100));
        budget.charge(120);
        assert!(!budget.has_room());
        let waiter = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        budget.refund(10);
        assert!(!waiter.is_finished());
        assert_eq!((budget.used(), budget.waits()), (110, 1));
        budget.refund(60);
        waiter.await.expect("the waiter ends");
    }
}
