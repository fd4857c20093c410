//! Owned native objects: the client itself and a topic of it.

use std::sync::Arc;

use rdkafka_sys as sys;
use sys::rd_kafka_type_t;

use super::config::{ERROR_TEXT_BYTES, NativeConfig, c_string, text_of};
use super::{ClientError, describe};

/// An owned `rd_kafka_t`, together with what its callbacks point to.
#[derive(Debug)]
pub(super) struct Handle<T> {
    raw: *mut sys::rd_kafka_t,
    /// Dropped after `raw` is destroyed: until then a callback may still use it.
    _callback_state: T,
}

// SAFETY: librdkafka's calls on a client are thread-safe; the pointer itself never changes.
unsafe impl<T: Send> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Handle<T> {}

impl<T> Handle<T> {
    pub(super) fn start(
        kind: rd_kafka_type_t,
        config: NativeConfig,
        callback_state: T,
    ) -> Result<Self, ClientError> {
        let mut text = [0; ERROR_TEXT_BYTES];
        let config = config.release();
        // SAFETY: on success librdkafka owns `config`; `text` is as long as the length says.
        let raw = unsafe { sys::rd_kafka_new(kind, config, text.as_mut_ptr(), text.len()) };
        if raw.is_null() {
            // SAFETY: on failure `config` is still ours.
            unsafe { sys::rd_kafka_conf_destroy(config) };
            return Err(ClientError::Start(text_of(&text)));
        }
        Ok(Self { raw, _callback_state: callback_state })
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_t {
        self.raw
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the last owner is going away; topics and queues hold an `Arc` of this handle and
        // are therefore gone already.
        unsafe { sys::rd_kafka_destroy(self.raw) };
    }
}

/// An owned `rd_kafka_topic_t`.
#[derive(Debug)]
pub(super) struct Topic<T> {
    raw: *mut sys::rd_kafka_topic_t,
    name: String,
    _client: Arc<Handle<T>>,
}

// SAFETY: librdkafka's calls on a topic are thread-safe.
unsafe impl<T: Send + Sync> Send for Topic<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Topic<T> {}

impl<T> Topic<T> {
    pub(super) fn open(client: &Arc<Handle<T>>, name: &str) -> Result<Self, ClientError> {
        let c_name = c_string(name)?;
        // SAFETY: the client lives as long as the topic (it holds an `Arc`), the name through the
        // call; no topic configuration means the client's defaults.
        let raw =
            unsafe { sys::rd_kafka_topic_new(client.raw(), c_name.as_ptr(), std::ptr::null_mut()) };
        if raw.is_null() {
            return Err(ClientError::Call { what: format!("open {name}"), reason: last_error() });
        }
        Ok(Self { raw, name: name.into(), _client: Arc::clone(client) })
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_topic_t {
        self.raw
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Drop for Topic<T> {
    fn drop(&mut self) {
        // SAFETY: owned, and its client is still alive.
        unsafe { sys::rd_kafka_topic_destroy(self.raw) };
    }
}

/// The error of the last call that reports only "failed", on this thread.
pub(super) fn last_error() -> String {
    // SAFETY: reads a thread-local of librdkafka.
    describe(unsafe { sys::rd_kafka_last_error() } as i32)
}
