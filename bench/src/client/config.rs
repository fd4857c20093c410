//! Settings of a client, under librdkafka's own property names.

use std::ffi::{CStr, CString, c_char};

use rdkafka_sys as sys;
use sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK;

use super::ClientError;

/// librdkafka writes its explanations here.
pub(super) const ERROR_TEXT_BYTES: usize = 512;

/// Property names and values; later ones win.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    properties: Vec<(String, String)>,
}

impl Config {
    /// A client of `brokers` with what every run has in common.
    pub(crate) fn new(brokers: &str) -> Self {
        Self::default()
            .set("bootstrap.servers", brokers)
            .set("client.id", "antiphon-bench")
            // Nagle's algorithm and delayed acknowledgements add 40 ms to small round trips.
            .set("socket.nagle.disable", "true")
            // Connections that a broker closes while shutting down are not news.
            .set("log.connection.close", "false")
    }

    /// Adds a property.
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.into(), value.to_string()));
        self
    }

    /// Adds `NAME=VALUE` pairs as they were given on the command line.
    pub(crate) fn with(self, pairs: &[(String, String)]) -> Self {
        pairs.iter().fold(self, |config, (name, value)| config.set(name, value))
    }

    /// The native configuration.
    pub(super) fn build(&self) -> Result<NativeConfig, ClientError> {
        // SAFETY: takes nothing, returns an object that `NativeConfig` owns from here on.
        let native = NativeConfig(unsafe { sys::rd_kafka_conf_new() });
        for (name, value) in &self.properties {
            native.set(name, value)?;
        }
        Ok(native)
    }
}

/// An owned `rd_kafka_conf_t`.
#[derive(Debug)]
pub(super) struct NativeConfig(pub(super) *mut sys::rd_kafka_conf_t);

impl NativeConfig {
    fn set(&self, name: &str, value: &str) -> Result<(), ClientError> {
        let (c_name, c_value) = (c_string(name)?, c_string(value)?);
        let mut text = [0; ERROR_TEXT_BYTES];
        // SAFETY: the object is owned by `self`, the strings live through the call, and `text` is
        // as long as the length says.
        let outcome = unsafe {
            let (name, value) = (c_name.as_ptr(), c_value.as_ptr());
            sys::rd_kafka_conf_set(self.0, name, value, text.as_mut_ptr(), text.len())
        };
        if outcome == RD_KAFKA_CONF_OK {
            return Ok(());
        }
        let reason = text_of(&text);
        Err(ClientError::Setting { name: name.into(), value: value.into(), reason })
    }

    /// Hands the object over to the caller, who must pass it to `rd_kafka_new`.
    pub(super) fn release(self) -> *mut sys::rd_kafka_conf_t {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }
}

impl Drop for NativeConfig {
    fn drop(&mut self) {
        // SAFETY: still owned, otherwise `release` would have forgotten `self`.
        unsafe { sys::rd_kafka_conf_destroy(self.0) };
    }
}

/// `text` as C wants it.
pub(super) fn c_string(text: &str) -> Result<CString, ClientError> {
    CString::new(text).map_err(|_| ClientError::Name(text.into()))
}

/// What librdkafka wrote into `buffer`.
pub(super) fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|byte| *byte as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_is_refused_by_name() {
        let error = Config::new("127.0.0.1:1").set("no.such.thing", 1).build().unwrap_err();
        assert!(error.to_string().contains("no.such.thing"), "{error}");
    }

    #[test]
    fn later_properties_win_and_the_common_ones_are_accepted() {
        let pairs = [("linger.ms".to_string(), "7".to_string())];
        assert!(Config::new("127.0.0.1:1").set("linger.ms", 5).with(&pairs).build().is_ok());
    }
}
