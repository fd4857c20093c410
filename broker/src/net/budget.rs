//! Bytes that all connections together may hold, of one kind.
//!
//! A quarter is for small holders, who take and give back with one atomic addition each; the rest is
//! for large ones, who queue, first come first served. Small holders queue with the large ones when
//! their quarter is used up. Nobody is turned away, and no more than the limit is ever held; who
//! waits holds its socket unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    limit: u64,
    large: Arc<Semaphore>,
    large_max: u32,
    small: AtomicU64,
    small_max: u64,
    waits: AtomicU64,
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    large: Option<OwnedSemaphorePermit>,
    small: Option<(Arc<ByteBudget>, u64)>,
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetStats {
    pub(crate) used: u64,
    pub(crate) limit: u64,
    /// How often somebody has had to wait.
    pub(crate) waits: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((budget, bytes)) = &self.small {
            budget.small.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

impl Held {
    fn large(permit: OwnedSemaphorePermit) -> Self {
        Self { large: Some(permit), small: None }
    }

    /// Holds `more`, of the large holders' room of the same budget, together with this.
    pub(crate) fn merge(&mut self, mut more: Self) {
        match (&mut self.large, more.large.take()) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
    }
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let small_max = limit as u64 / 4;
        let large = u32::try_from(limit as u64 - small_max).unwrap_or(u32::MAX).max(1);
        Arc::new(Self {
            limit: limit as u64,
            large: Arc::new(Semaphore::new(large as usize)),
            large_max: large,
            small: AtomicU64::new(0),
            small_max,
            waits: AtomicU64::new(0),
        })
    }

    /// Waits for room; one that is larger than the whole budget waits for all of it.
    pub(crate) async fn take(&self, bytes: usize) -> Held {
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        // Never closed, so this always gets them.
        let permit = Arc::clone(&self.large).acquire_many_owned(self.permits(bytes)).await.ok();
        Held { large: permit, small: None }
    }

    /// Room, if there is any now and nobody waits for it.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Held> {
        let permit = Arc::clone(&self.large).try_acquire_many_owned(self.permits(bytes)).ok()?;
        Some(Held::large(permit))
    }

    /// Room for a small holder, without any lock as long as the small ones' quarter lasts.
    pub(crate) async fn take_small(self: &Arc<Self>, bytes: usize) -> Held {
        match self.try_take_small(bytes) {
            Some(held) => held,
            None => self.take(bytes).await,
        }
    }

    /// Room for a small holder in the small ones' quarter.
    pub(crate) fn try_take_small(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let bytes = bytes as u64;
        if self.small.fetch_add(bytes, Ordering::Relaxed) + bytes > self.small_max {
            self.small.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Held { large: None, small: Some((Arc::clone(self), bytes)) })
    }

    pub(crate) fn stats(&self) -> BudgetStats {
        let large = u64::from(self.large_max) - self.large.available_permits() as u64;
        BudgetStats {
            used: large + self.small.load(Ordering::Relaxed),
            limit: self.limit,
            waits: self.waits.load(Ordering::Relaxed),
        }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.large_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_budget_makes_wait_and_drops_nobody() {
        let budget = ByteBudget::new(1000);
        let first = budget.take(600).await;
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(300).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // What is free of the large ones' part is set aside for the one who waits.
        assert_eq!(budget.stats(), BudgetStats { used: 750, limit: 1000, waits: 1 });
        drop(first);
        let held = waiting.await.expect("it got its room");
        assert_eq!(budget.stats().used, 300);
        drop(held);
        assert_eq!(budget.stats().used, 0);
    }

    #[tokio::test]
    async fn small_holders_have_a_quarter_and_then_queue() {
        let budget = ByteBudget::new(1000);
        let small: Vec<_> = std::iter::from_fn(|| budget.try_take_small(100)).collect();
        assert_eq!(small.len(), 2);
        let third = budget.take_small(100).await;
        assert_eq!(budget.stats().used, 300);
        let rest = budget.try_take(650).expect("the large ones' room, less what the third took");
        assert!(budget.try_take(1).is_none());
        drop((small, third, rest));
        assert_eq!(budget.stats().used, 0);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_is_held_however_large_the_wish() {
        let budget = ByteBudget::new(1000);
        let held = budget.take(1_000_000).await;
        assert_eq!(budget.stats().used, 750);
        assert!(budget.try_take(1).is_none());
        drop(held);
        let mut held = budget.take(100).await;
        held.merge(budget.take(200).await);
        assert_eq!(budget.stats().used, 300);
        drop(held);
        assert_eq!(budget.stats().used, 0);
    }
}
