//! A producer whose hot path is one C call per record.
//!
//! The caller's thread sends; a thread of our own serves delivery reports, so that an
//! acknowledgement is timed when it arrives and not when the sender happens to look.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon_common::{Clock, Entropy, SeededEntropy, SystemClock};
use rdkafka_sys as sys;
use sys::{RD_KAFKA_MSG_F_BLOCK, RD_KAFKA_MSG_F_COPY};

use super::config::Config;
use super::handle::{Handle, Topic, last_error};
use super::{ClientError, describe};
use crate::latency::Latencies;

/// How long the delivery thread waits before it looks whether it should stop.
const POLL_MS: c_int = 50;

/// What became of the records sent so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Acknowledged records and their bytes.
    pub(crate) acked: u64,
    /// Payload bytes of the acknowledged records.
    pub(crate) acked_bytes: u64,
    /// Records given up.
    pub(crate) failed: u64,
    /// Why the first one was given up.
    pub(crate) first_error: Option<String>,
    /// Monotonic time of the last report.
    pub(crate) last_report: Duration,
    /// Time from the intended moment to the acknowledgement.
    pub(crate) latencies: Latencies,
}

impl Tally {
    /// Adds another producer's tally.
    pub(crate) fn merge(&mut self, other: Self) {
        self.acked += other.acked;
        self.acked_bytes += other.acked_bytes;
        self.failed += other.failed;
        self.first_error = self.first_error.take().or(other.first_error);
        self.last_report = self.last_report.max(other.last_report);
        self.latencies.merge(&other.latencies);
    }
}

/// Where delivery reports arrive.
#[derive(Debug)]
struct Deliveries {
    clock: Arc<SystemClock>,
    tally: Mutex<Tally>,
}

impl Deliveries {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, code: i32, bytes: usize, intended_ns: usize) {
        let now = self.clock.monotonic();
        let mut tally = self.tally();
        tally.last_report = now;
        if code != 0 {
            tally.failed += 1;
            tally.first_error.get_or_insert_with(|| describe(code));
            return;
        }
        tally.acked += 1;
        tally.acked_bytes += bytes as u64;
        if intended_ns != 0 {
            tally.latencies.record(now.saturating_sub(Duration::from_nanos(intended_ns as u64)));
        }
    }
}

/// librdkafka's delivery report callback.
unsafe extern "C" fn delivered(
    _client: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes a message that lives through the call, and as `opaque` the pointer
    // that `Producer::start` set, whose owner (`Handle`) outlives every callback. The error is read
    // as the integer it is: a code unknown to the bindings must not become an enum.
    let (code, bytes, intended, deliveries) = unsafe {
        let code = ptr::addr_of!((*message).err).cast::<i32>().read();
        let intended = (*message)._private as usize;
        (code, (*message).len, intended, &*opaque.cast_const().cast::<Deliveries>())
    };
    deliveries.report(code, bytes, intended);
}

/// Random bytes that records are cut from. Compressible data would flatter whoever compresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payloads {
    pool: &'static [u8],
    size: usize,
}

impl Payloads {
    /// Distinct starting points within the pool.
    const VARIANTS: usize = 4096;

    /// Payloads of `size` bytes. The pool lives as long as the process, which is what allows
    /// librdkafka to send from it without a copy.
    pub(crate) fn new(size: usize) -> Self {
        let mut pool = vec![0; size + Self::VARIANTS];
        SeededEntropy::new(size as u64).fill(&mut pool);
        Self { pool: Vec::leak(pool), size }
    }

    /// The payload of record `index`.
    pub(crate) fn get(&self, index: u64) -> &'static [u8] {
        let start = index as usize % Self::VARIANTS;
        &self.pool[start..start + self.size]
    }
}

/// One librdkafka producer.
#[derive(Debug)]
pub(crate) struct Producer {
    topics: Vec<Topic<Arc<Deliveries>>>,
    client: Arc<Handle<Arc<Deliveries>>>,
    deliveries: Arc<Deliveries>,
    stop: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl Producer {
    /// Connects and opens `topics`; records name them by index.
    pub(crate) fn start(
        config: &Config,
        topics: &[String],
        clock: &Arc<SystemClock>,
    ) -> Result<Self, ClientError> {
        let tally = Mutex::default();
        let deliveries = Arc::new(Deliveries { clock: Arc::clone(clock), tally });
        let native = config.build()?;
        // SAFETY: the configuration is ours; the pointer stays valid because `Handle` keeps an
        // `Arc` of the same object until the client is destroyed.
        unsafe {
            sys::rd_kafka_conf_set_dr_msg_cb(native.0, Some(delivered));
            let opaque = Arc::as_ptr(&deliveries).cast_mut().cast();
            sys::rd_kafka_conf_set_opaque(native.0, opaque);
        }
        let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
        let client = Arc::new(Handle::start(kind, native, Arc::clone(&deliveries))?);
        let open = |name: &String| Topic::open(&client, name);
        let topics = topics.iter().map(open).collect::<Result<_, _>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let poller = Some(spawn_poller(Arc::clone(&client), Arc::clone(&stop))?);
        Ok(Self { topics, client, deliveries, stop, poller })
    }

    /// Sends without a copy. Blocks while the client's queue is full. `intended` is when the record
    /// was due (monotonic); zero leaves it out of the latencies.
    pub(crate) fn send(
        &self,
        topic: usize,
        partition: i32,
        payload: &'static [u8],
        intended: Duration,
    ) -> Result<(), ClientError> {
        self.produce(topic, partition, payload, 0, intended)
    }

    /// Sends a copy of `payload`.
    pub(crate) fn send_copy(
        &self,
        topic: usize,
        partition: i32,
        payload: &[u8],
    ) -> Result<(), ClientError> {
        self.produce(topic, partition, payload, RD_KAFKA_MSG_F_COPY, Duration::ZERO)
    }

    fn produce(
        &self,
        topic: usize,
        partition: i32,
        payload: &[u8],
        flags: c_int,
        intended: Duration,
    ) -> Result<(), ClientError> {
        let topic = &self.topics[topic];
        // SAFETY: the topic is alive. Without F_COPY the caller (`send`) passes a static payload;
        // with it librdkafka copies before it returns. It never writes to the payload. The last
        // argument is an integer in a pointer's clothes, never dereferenced.
        let outcome = unsafe {
            sys::rd_kafka_produce(
                topic.raw(),
                partition,
                flags | RD_KAFKA_MSG_F_BLOCK,
                payload.as_ptr().cast_mut().cast(),
                payload.len(),
                ptr::null(),
                0,
                ptr::without_provenance_mut(intended.as_nanos() as usize),
            )
        };
        match outcome {
            0 => Ok(()),
            _ => {
                let what = format!("produce to {}-{partition}", topic.name());
                Err(ClientError::Call { what, reason: last_error() })
            }
        }
    }

    /// Waits until every record has a report, at most `timeout`, and takes the tally so far.
    pub(crate) fn flush(&self, timeout: Duration) -> Tally {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_flush(self.client.raw(), timeout.as_millis() as c_int) };
        std::mem::take(&mut *self.deliveries.tally())
    }
}

fn spawn_poller(
    client: Arc<Handle<Arc<Deliveries>>>,
    stop: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<()>> {
    let serve = move || {
        while !stop.load(Ordering::Relaxed) {
            // SAFETY: the client is alive: this thread holds an `Arc` of it.
            unsafe { sys::rd_kafka_poll(client.raw(), POLL_MS) };
        }
    };
    thread::Builder::new().name("deliveries".into()).spawn(serve)
}

impl Drop for Producer {
    /// Drops what was never acknowledged; `flush` has already counted what was.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(poller) = self.poller.take() {
            let _ = poller.join();
        }
        let queued_and_in_flight = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client is alive; purging only marks what is left as failed.
        unsafe { sys::rd_kafka_purge(self.client.raw(), queued_and_in_flight as c_int) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries() -> Deliveries {
        Deliveries { clock: Arc::default(), tally: Mutex::default() }
    }

    #[test]
    fn reports_are_tallied_and_warm_up_records_leave_no_latency() {
        let deliveries = deliveries();
        deliveries.report(0, 100, 0);
        deliveries.report(0, 100, 1);
        deliveries.report(7, 100, 1);
        let tally = deliveries.tally().clone();
        assert_eq!((tally.acked, tally.acked_bytes, tally.failed), (2, 200, 1));
        assert_eq!(tally.latencies.count(), 1);
        assert!(tally.first_error.unwrap().contains("RequestTimedOut"));
    }

    #[test]
    fn a_code_that_the_bindings_do_not_know_is_still_named() {
        let deliveries = deliveries();
        deliveries.report(12_345, 1, 1);
        assert_eq!(deliveries.tally().first_error.as_deref(), Some("Kafka error code 12345"));
    }

    #[test]
    fn payloads_have_their_size_and_differ() {
        let payloads = Payloads::new(200);
        assert_eq!(payloads.get(u64::MAX).len(), 200);
        assert_ne!(payloads.get(0), payloads.get(1));
    }

    #[test]
    fn a_producer_without_a_broker_starts_and_stops() {
        let config = Config::new("127.0.0.1:1").set("log_level", 0);
        let producer = Producer::start(&config, &["t".into()], &Arc::default()).unwrap();
        producer.send(0, 0, b"x", Duration::ZERO).unwrap();
        assert_eq!(producer.flush(Duration::from_millis(1)).acked, 0);
    }
}
