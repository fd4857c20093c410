//! One connection to a broker: bytes, or typed requests of any API and version.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{MetadataRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// Longer than any answer takes; long polls set their own.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// What a test may receive at most; a broker that sends more is broken.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// The connection ended or stood still.
    Io(io::Error),
    /// The answer is not what its API and version say.
    Decode(String),
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl RawClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, READ_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// How long a read may wait.
    pub fn patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a read timeout");
        self.stream.set_write_timeout(Some(limit)).expect("a write timeout");
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the broker answers a request at all.
    pub fn answers(&mut self) -> bool {
        self.call(1, &MetadataRequest::default().with_topics(Some(Vec::new()))).is_ok()
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, CallError> {
        let id = self.send(version, request)?;
        self.receive::<R>(version, id)
    }

    /// Sends a request; the number that its answer will carry.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        self.correlation_id += 1;
        let frame = encode(version, self.correlation_id, request);
        self.stream.write_all(&frame)?;
        Ok(self.correlation_id)
    }

    /// Reads the answer to the request with number `id`.
    pub fn receive<R: Request>(&mut self, version: i16, id: i32) -> Result<R::Response, CallError> {
        let mut frame = self.read_frame()?;
        let decode = |reason: String| CallError::Decode(reason);
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version)
            .map_err(|error| decode(error.to_string()))?;
        if header.correlation_id != id {
            return Err(decode(format!("answer {} instead of {id}", header.correlation_id)));
        }
        let response = R::Response::decode(&mut frame, version)
            .map_err(|error| decode(format!("api {} v{version}: {error}", R::KEY)))?;
        match frame.len() {
            0 => Ok(response),
            extra => Err(decode(format!("api {} v{version}: {extra} bytes too many", R::KEY))),
        }
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a header of this API and version, and `body` after it, as one frame.
    pub fn send_body(&mut self, api_key: i16, version: i16, body: &[u8]) -> io::Result<()> {
        self.correlation_id += 1;
        let flexible =
            antiphon_protocol::Api::find(api_key).is_some_and(|api| api.is_flexible(version));
        let frame = frame_of(api_key, version, self.correlation_id, flexible, body);
        self.stream.write_all(&frame)
    }

    /// Reads one frame, without its size.
    pub fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(io::Error::other)?;
        if size > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {size} bytes")));
        }
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Whether the broker closes the connection within `limit`; what it sends before is dropped.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.patience(limit);
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return is_reset(&error),
            }
        }
    }

    /// What the broker does next: an answer, a closed connection, or nothing within `limit`.
    pub fn reaction_within(&mut self, limit: Duration) -> Reaction {
        self.patience(limit);
        match self.read_frame() {
            Ok(frame) => Reaction::Answer(frame),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Reaction::Closed,
            Err(error) if is_reset(&error) => Reaction::Closed,
            Err(_) => Reaction::Nothing,
        }
    }
}

/// What a broker does about bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It answers.
    Answer(Bytes),
    /// It closes the connection.
    Closed,
    /// It waits for more.
    Nothing,
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn encode<R: Request>(version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("antiphon-tests")))
        .encode(&mut frame, R::header_version(version))
        .expect("the header encodes");
    request.encode(&mut frame, version).expect("the request has fields that its version lacks");
    finish(frame)
}

fn frame_of(api_key: i16, version: i16, id: i32, flexible: bool, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i16(api_key);
    frame.put_i16(version);
    frame.put_i32(id);
    frame.put_i16(-1);
    if flexible {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    finish(frame)
}

fn finish(mut frame: BytesMut) -> BytesMut {
    let size = (frame.remaining() - 4) as u32;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}
