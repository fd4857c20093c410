//! Names for new objects, and which of them are still being made.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_common::{BrokerEpoch, BrokerId, Clock, Entropy, ObjectId};
use parking_lot::Mutex;

use crate::object::WriterIdentity;

/// Hands out names of objects, and remembers each until the catalog names its object or it came to
/// nothing. The sweep leaves these alone: a flush may be tried again for hours, and its objects are in
/// the bucket and in no catalog all that time. What was never finished is remembered for the life of
/// the process, 16 bytes each; the next one's sweep finds it.
#[derive(Debug)]
pub(crate) struct ObjectIds {
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    unfinished: Mutex<HashSet<ObjectId>>,
    begun: AtomicU64,
}

impl ObjectIds {
    pub(crate) fn new(
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let (unfinished, begun) = (Mutex::default(), AtomicU64::new(0));
        Self { broker, broker_epoch, clock, entropy, unfinished, begun }
    }

    /// The name of a new object, to be finished with [`Self::finish`].
    pub(crate) fn begin(&self) -> WriterIdentity {
        let millis = self.clock.now().get().max(0).unsigned_abs();
        let random = (u128::from(self.entropy.u64()) << 64) | u128::from(self.entropy.u64());
        let object = ObjectId(ulid::Ulid::from_parts(millis, random).0);
        self.unfinished.lock().insert(object);
        self.begun.fetch_add(1, Ordering::Relaxed);
        WriterIdentity { broker: self.broker, broker_epoch: self.broker_epoch, object }
    }

    /// The catalog names the object, or nobody will ever ask it to.
    pub(crate) fn finish(&self, object: ObjectId) {
        self.unfinished.lock().remove(&object);
    }

    /// How many names were handed out so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether the object may still be put or named.
    pub(crate) fn is_unfinished(&self, object: ObjectId) -> bool {
        self.unfinished.lock().contains(&object)
    }
}
