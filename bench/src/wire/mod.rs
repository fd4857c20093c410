//! The few requests that are written by hand.
//!
//! Time to first metadata must not include a client library's own start-up and back-off, and topic
//! administration over librdkafka costs more code than the two requests have bytes. Only versions
//! before KIP-482 (tagged fields) are used: Metadata 0, CreateTopics 4, DeleteTopics 3; Kafka 4
//! still serves all of them (KIP-896).

mod codec;
mod metadata;
mod topics;

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use codec::{Reader, Truncated, Writer};

/// A request or response larger than this is not one of ours.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Creating thousands of partitions is answered when they exist.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a hand-written request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The connection could not be opened or broke.
    #[error("{address}: {source}")]
    Io {
        /// The broker.
        address: String,
        /// What the socket said.
        source: io::Error,
    },
    /// The response did not decode.
    #[error("{address}: response is truncated or not Kafka's")]
    Malformed {
        /// The broker.
        address: String,
    },
    /// The broker refused.
    #[error("{what}: Kafka error code {code}")]
    Refused {
        /// What was refused.
        what: String,
        /// Kafka's error code.
        code: i16,
    },
}

/// One connection that asks one thing at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    /// Connects to the first of the comma-separated `brokers` that answers.
    pub(crate) fn open(brokers: &str, timeout: Duration) -> Result<Self, RequestError> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for address in brokers.split(',') {
            match connect(address.trim(), timeout) {
                Ok(stream) => return Ok(Self { address: address.into(), stream, correlation: 0 }),
                Err(error) => last = error,
            }
        }
        Err(RequestError::Io { address: brokers.into(), source: last })
    }

    /// Sends one request and decodes its response with `decode`.
    fn ask<T>(
        &mut self,
        api: i16,
        version: i16,
        body: impl FnOnce(&mut Writer),
        decode: impl FnOnce(&mut Reader<'_>) -> Result<T, Truncated>,
    ) -> Result<T, RequestError> {
        self.correlation += 1;
        let frame = request(api, version, self.correlation, body);
        let response = exchange(&mut self.stream, &frame)
            .map_err(|source| RequestError::Io { address: self.address.clone(), source })?;
        let mut reader = Reader::new(&response);
        reader
            .int32()
            .and_then(|_correlation| decode(&mut reader))
            .map_err(|Truncated| RequestError::Malformed { address: self.address.clone() })
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "name has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout.max(REQUEST_TIMEOUT)))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Length prefix, request header version 1, body.
fn request(api: i16, version: i16, correlation: i32, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.int16(api);
    writer.int16(version);
    writer.int32(correlation);
    writer.string("antiphon-bench");
    body(&mut writer);
    writer.into_frame()
}

fn exchange(stream: &mut TcpStream, frame: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame length is not Kafka's"));
    }
    let mut response = vec![0; length];
    stream.read_exact(&mut response)?;
    Ok(response)
}
