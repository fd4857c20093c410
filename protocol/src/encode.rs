//! The control plane's way in and out: whole messages through kafka-protocol.

use antiphon_common::ErrorKind;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};
use thiserror::Error;

use crate::shape::{ShapeError, check_request};
use crate::versions::{Api, ApiKey};

/// Bytes of the size in front of a frame.
const SIZE_BYTES: usize = 4;

/// Why a response cannot be written. All of these are defects on our side.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// A field is set that this version has no place for, or that exceeds its length.
    #[error("{api_key:?} version {version} cannot carry this response: {reason}")]
    Schema {
        /// The API.
        api_key: ApiKey,
        /// The version of the response.
        version: i16,
        /// What kafka-protocol says.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The frame, or one array or run of records in it, exceeds 2 GiB.
    #[error("{length} bytes or elements do not fit a frame")]
    FrameTooLarge {
        /// The length.
        length: usize,
    },
    /// A string exceeds the 32,767 bytes of Kafka's string type.
    #[error("a string of {length} bytes exceeds 32767")]
    StringTooLong {
        /// Its length.
        length: usize,
    },
    /// The topic is named where this version identifies it by id, or the other way round.
    #[error("version {version} does not identify topics this way")]
    TopicKind {
        /// The version of the response.
        version: i16,
    },
}

impl EncodeError {
    /// What the caller should do: the response is wrong, and whoever built it must be fixed.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Schema { .. }
            | Self::FrameTooLarge { .. }
            | Self::StringTooLong { .. }
            | Self::TopicKind { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a body could not become a request. The connection that sent it is closed.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The shape check refused it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Its shape is right and kafka-protocol refused its content, for instance for bytes that are
    /// not UTF-8.
    #[error("{message} version {version}: {reason}")]
    Content {
        /// The message.
        message: &'static str,
        /// Its version.
        version: i16,
        /// What kafka-protocol says.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DecodeError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Shape(_) | Self::Content { .. } => ErrorKind::Invalid,
        }
    }
}

/// One whole frame, size prefix included, ready to be written to the socket.
///
/// The response header's version follows from `T` and `version`; ApiVersions always has version 0.
pub fn encode_response<T: Encodable + HeaderVersion>(
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, EncodeError> {
    let schema = |reason: Box<_>| EncodeError::Schema { api_key, version, reason };
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if T::header_version(version) >= 1 {
        // An empty tagged-field section.
        frame.put_u8(0);
    }
    response.encode(&mut frame, version).map_err(|error| schema(error.into()))?;
    let length = frame.len() - SIZE_BYTES;
    let prefix = i32::try_from(length).map_err(|_| EncodeError::FrameTooLarge { length })?;
    if let Some(size) = frame.first_chunk_mut::<SIZE_BYTES>() {
        *size = prefix.to_be_bytes();
    }
    Ok(frame.freeze())
}

/// Decodes a request body. The only way to do so: kafka-protocol allocates what an array's count
/// claims and aborts the process if the count lies, so nothing reaches it unchecked.
///
/// Strings and bytes of the result are slices of `body` and keep its whole frame in memory.
/// Bytes after the end of the message are ignored, as Kafka ignores them.
pub fn decode_request<T: Request>(version: i16, mut body: Bytes) -> Result<T, DecodeError> {
    check_request(T::KEY, version, &body)?;
    T::decode(&mut body, version).map_err(|error| DecodeError::Content {
        message: Api::find(T::KEY).map_or("request", |api| api.name),
        version,
        reason: error.into(),
    })
}
