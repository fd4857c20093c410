//! How an append tells its caller that it is durable, and how a partition tells waiting readers that
//! there is more to read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Counts the appends of one produce request down to zero. One allocation per request, whatever
/// the number of partitions.
#[derive(Debug)]
pub struct AckLatch {
    remaining: AtomicUsize,
    failed: AtomicBool,
    waker: AtomicWaker,
}

impl AckLatch {
    /// A latch that the caller itself holds once; see [`AckLatch::release`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicUsize::new(1),
            failed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// One more append to wait for.
    pub(crate) fn hold(self: &Arc<Self>) -> Arc<Self> {
        self.remaining.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    /// One append is settled: durable when `durable`, lost with the log otherwise.
    pub(crate) fn settle(&self, durable: bool) {
        if !durable {
            self.failed.store(true, Ordering::Release);
        }
        self.release();
    }

    /// Gives up one hold. The creator calls it once, after its last append.
    pub fn release(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// Whether every append is settled.
    pub fn is_open(&self) -> bool {
        self.remaining.load(Ordering::Acquire) == 0
    }

    /// Resolves when every append is settled: `true` when all of them are durable.
    pub fn wait(self: &Arc<Self>) -> AckWait {
        AckWait { latch: Arc::clone(self) }
    }
}

/// The future of [`AckLatch::wait`]. Only one task may await a latch.
#[derive(Debug)]
pub struct AckWait {
    latch: Arc<AckLatch>,
}

impl Future for AckWait {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if !self.latch.is_open() {
            self.latch.waker.register(context.waker());
            // The last append may have settled between the check and the registration.
            if !self.latch.is_open() {
                return Poll::Pending;
            }
        }
        Poll::Ready(!self.latch.failed.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_latch_opens_when_the_last_append_settles() {
        let latch = AckLatch::new();
        let (first, second) = (latch.hold(), latch.hold());
        latch.release();
        let waiting = tokio::spawn(latch.wait());
        first.settle(true);
        assert!(!latch.is_open());
        second.settle(true);
        assert!(waiting.await.expect("the task ends"));
    }

    #[tokio::test]
    async fn one_lost_append_fails_the_whole_latch() {
        let latch = AckLatch::new();
        latch.hold().settle(false);
        latch.release();
        assert!(!latch.wait().await);
    }
}
