//! A consumer that hands out batches without copying a record.
//!
//! With explicit partitions it uses librdkafka's simple consumer, which talks to no group
//! coordinator: what is measured is Fetch and nothing else.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka_sys as sys;

use super::config::{Config, c_string};
use super::handle::{Handle, Topic, last_error};
use super::{ClientError, describe};

const BATCH_RECORDS: usize = 4096;
const WATERMARK_TIMEOUT_MS: c_int = 30_000;
/// A broker may announce a leader slightly before that leader knows (Kafka does).
const NOT_YET: [i32; 3] = [
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32,
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as i32,
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as i32,
];
const NOT_YET_RETRIES: usize = 100;
const NOT_YET_PAUSE: Duration = Duration::from_millis(100);
const PARTITION_EOF: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;

/// Where to start one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Index into the consumer's topics.
    pub(crate) topic: usize,
    /// The partition.
    pub(crate) partition: i32,
    /// The first offset wanted.
    pub(crate) offset: i64,
}

/// The first offset of a partition and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// First offset that still exists.
    pub(crate) low: i64,
    /// Offset that the next record will get.
    pub(crate) high: i64,
}

/// One consumed record, borrowed from librdkafka.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Index into the consumer's topics.
    pub(crate) topic: usize,
    /// The partition.
    pub(crate) partition: i32,
    /// The record's offset.
    pub(crate) offset: i64,
    /// Bytes of key and payload.
    pub(crate) size: usize,
    /// The payload.
    pub(crate) payload: &'a [u8],
}

/// One librdkafka consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    client: Arc<Handle<()>>,
    topics: Vec<Topic<()>>,
    queue: *mut sys::rd_kafka_queue_t,
    started: Vec<Start>,
    /// Native topic -> index into `topics`; filled as topics are first seen.
    seen: Vec<(*mut sys::rd_kafka_topic_t, usize)>,
    batch: Vec<*mut sys::rd_kafka_message_t>,
    in_group: bool,
}

// SAFETY: the native objects are thread-safe, and the consumer is used by one thread at a time.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Connects without reading anything yet.
    fn open(config: &Config, topics: &[String], in_group: bool) -> Result<Self, ClientError> {
        let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
        let client = Arc::new(Handle::start(kind, config.build()?, ())?);
        let topics: Result<_, _> = topics.iter().map(|name| Topic::open(&client, name)).collect();
        // SAFETY: the client is alive; the queue is destroyed in `drop`, before the client.
        let queue = unsafe {
            if in_group {
                sys::rd_kafka_poll_set_consumer(client.raw());
                sys::rd_kafka_queue_get_consumer(client.raw())
            } else {
                sys::rd_kafka_queue_new(client.raw())
            }
        };
        let batch = vec![ptr::null_mut(); BATCH_RECORDS];
        let (started, seen) = (Vec::new(), Vec::new());
        Ok(Self { client, topics: topics?, queue, started, seen, batch, in_group })
    }

    /// Reads the given partitions, without a group.
    pub(crate) fn assign(
        config: &Config,
        topics: &[String],
        starts: &[Start],
    ) -> Result<Self, ClientError> {
        let mut consumer = Self::open(config, topics, false)?;
        starts.iter().try_for_each(|start| consumer.begin(*start))?;
        Ok(consumer)
    }

    /// Joins `group` and reads what it is assigned.
    pub(crate) fn subscribe(
        config: &Config,
        topics: &[String],
        group: &str,
    ) -> Result<Self, ClientError> {
        let config = config.clone().set("group.id", group).set("auto.offset.reset", "earliest");
        let consumer = Self::open(&config, topics, true)?;
        let names = topics.iter().map(|name| c_string(name)).collect::<Result<Vec<_>, _>>()?;
        // SAFETY: the list is ours for the length of the block and the names outlive it.
        let outcome = unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(names.len() as c_int);
            for name in &names {
                sys::rd_kafka_topic_partition_list_add(list, name.as_ptr(), -1);
            }
            let outcome = sys::rd_kafka_subscribe(consumer.client.raw(), list) as i32;
            sys::rd_kafka_topic_partition_list_destroy(list);
            outcome
        };
        check(outcome, || format!("subscribe in group {group}"))?;
        Ok(consumer)
    }

    fn begin(&mut self, start: Start) -> Result<(), ClientError> {
        let topic = &self.topics[start.topic];
        // SAFETY: topic and queue are alive.
        let outcome = unsafe {
            let (raw, queue) = (topic.raw(), self.queue);
            sys::rd_kafka_consume_start_queue(raw, start.partition, start.offset, queue)
        };
        if outcome != 0 {
            let what = format!("read {}-{}", topic.name(), start.partition);
            return Err(ClientError::Call { what, reason: last_error() });
        }
        self.started.push(start);
        Ok(())
    }

    /// Asks the broker where `partition` begins and ends.
    pub(crate) fn watermarks(
        config: &Config,
        topics: &[String],
        partitions: u32,
    ) -> Result<Vec<Vec<Watermarks>>, ClientError> {
        let consumer = Self::open(config, &[], false)?;
        let of_topic = |topic: &String| {
            (0..partitions as i32).map(|partition| consumer.query(topic, partition)).collect()
        };
        topics.iter().map(of_topic).collect()
    }

    fn query(&self, topic: &str, partition: i32) -> Result<Watermarks, ClientError> {
        let name = c_string(topic)?;
        let mut outcome = self.query_once(&name, partition);
        for _ in 0..NOT_YET_RETRIES {
            match outcome {
                Err(code) if NOT_YET.contains(&code) => thread::sleep(NOT_YET_PAUSE),
                _ => break,
            }
            outcome = self.query_once(&name, partition);
        }
        outcome.map_err(|code| {
            let what = format!("watermarks of {topic}-{partition}");
            ClientError::Call { what, reason: describe(code) }
        })
    }

    fn query_once(&self, name: &CStr, partition: i32) -> Result<Watermarks, i32> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client is alive; name and results live through the call.
        let outcome = unsafe {
            let (client, name, timeout) = (self.client.raw(), name.as_ptr(), WATERMARK_TIMEOUT_MS);
            sys::rd_kafka_query_watermark_offsets(
                client, name, partition, &mut low, &mut high, timeout,
            )
        };
        match outcome as i32 {
            0 => Ok(Watermarks { low, high }),
            code => Err(code),
        }
    }

    /// Hands every record that arrives within `timeout`, up to a few thousand, to `each`.
    pub(crate) fn poll_batch(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<usize, ClientError> {
        // SAFETY: the queue is alive and the array as long as the length says.
        let filled = unsafe {
            let (array, length) = (self.batch.as_mut_ptr(), self.batch.len());
            sys::rd_kafka_consume_batch_queue(self.queue, millis(timeout), array, length)
        };
        let filled = usize::try_from(filled).unwrap_or(0);
        let mut outcome = Ok(filled);
        for index in 0..filled {
            let message = Message(self.batch[index]);
            if let Err(error) = self.receive(&message, &mut each) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Hands the next record to `each` the moment it arrives.
    pub(crate) fn poll_one(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<(), ClientError> {
        // SAFETY: the queue is alive.
        let raw = unsafe { sys::rd_kafka_consume_queue(self.queue, millis(timeout)) };
        if raw.is_null() { Ok(()) } else { self.receive(&Message(raw), &mut each) }
    }

    fn receive(
        &mut self,
        message: &Message,
        each: &mut impl FnMut(&Received<'_>),
    ) -> Result<(), ClientError> {
        match message.error() {
            0 => {
                let topic = self.topic_index(message.topic());
                each(&message.record(topic));
                Ok(())
            }
            PARTITION_EOF => Ok(()),
            code => Err(ClientError::Call { what: "fetch".into(), reason: describe(code) }),
        }
    }

    fn topic_index(&mut self, raw: *mut sys::rd_kafka_topic_t) -> usize {
        if let Some((_, index)) = self.seen.iter().find(|(seen, _)| *seen == raw) {
            return *index;
        }
        // SAFETY: the topic belongs to a message that is alive; its name lives as long as it does.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(raw)) }.to_string_lossy();
        let index = self.topics.iter().position(|topic| topic.name() == name).unwrap_or(0);
        self.seen.push((raw, index));
        index
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: client, topics and queue are alive; the queue is not used after this.
        unsafe {
            for start in &self.started {
                sys::rd_kafka_consume_stop(self.topics[start.topic].raw(), start.partition);
            }
            if self.in_group {
                sys::rd_kafka_consumer_close(self.client.raw());
            }
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// An owned message: destroyed when dropped.
struct Message(*mut sys::rd_kafka_message_t);

impl Message {
    /// The error as the integer it is: a code unknown to the bindings must not become an enum.
    fn error(&self) -> i32 {
        // SAFETY: the message is alive and has an `err` of an integer's size.
        unsafe { ptr::addr_of!((*self.0).err).cast::<i32>().read() }
    }

    fn topic(&self) -> *mut sys::rd_kafka_topic_t {
        // SAFETY: the message is alive.
        unsafe { (*self.0).rkt }
    }

    fn record(&self, topic: usize) -> Received<'_> {
        // SAFETY: the message is alive as long as the result borrows it; a null payload is a
        // tombstone, otherwise `len` bytes are there.
        unsafe {
            let (payload, length) = ((*self.0).payload.cast::<u8>(), (*self.0).len);
            let payload =
                if payload.is_null() { &[] } else { slice::from_raw_parts(payload, length) };
            let size = payload.len() + (*self.0).key_len;
            let (partition, offset) = ((*self.0).partition, (*self.0).offset);
            Received { topic, partition, offset, size, payload }
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { sys::rd_kafka_message_destroy(self.0) };
    }
}

fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}

fn check(code: i32, what: impl FnOnce() -> String) -> Result<(), ClientError> {
    match code {
        0 => Ok(()),
        _ => Err(ClientError::Call { what: what(), reason: describe(code) }),
    }
}
