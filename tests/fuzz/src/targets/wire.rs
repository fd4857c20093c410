//! What arrives on a socket.

use antiphon_protocol::messages::*;
use antiphon_protocol::{
    AuthState, FetchRequest, FrameDecoder, FrameLimits, ProduceRequest, check_request,
    decode_request, split_request,
};
use bytes::{Bytes, BytesMut};

/// Small, so that short inputs reach them.
const LIMITS: FrameLimits = FrameLimits { before_auth: 512, produce: 4096, other: 1024 };

/// The first byte says who sends and in which pieces; the rest is the stream.
pub fn frames(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let auth = if first & 1 == 0 { AuthState::Pending } else { AuthState::Complete };
    let mut decoder = FrameDecoder::new(LIMITS);
    let mut buffer = BytesMut::new();
    for piece in stream.chunks(usize::from(first >> 1) + 1) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer, auth) {
                Ok(Some(frame)) => assert!(frame.freeze().len() <= LIMITS.produce),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.wanted() > 0, "a decoder that waits knows for how much");
        // What is waited for was not claimed memory for.
        assert!(buffer.capacity() <= 4 * buffer.len() + (64 << 10), "{}", buffer.capacity());
    }
}

pub fn headers(data: &[u8]) {
    if let Ok((header, body)) = split_request(&Bytes::copy_from_slice(data)) {
        assert!(body.len() < data.len());
        assert!(header.wants_fallback() || header.api.serves(header.version));
    }
}

/// The first byte is the version.
pub fn produce(data: &[u8]) {
    let Some((version, body)) = data.split_first() else { return };
    let _ = ProduceRequest::decode(i16::from(*version), &Bytes::copy_from_slice(body));
}

/// The first byte is the version.
pub fn fetch(data: &[u8]) {
    let Some((version, body)) = data.split_first() else { return };
    let _ = FetchRequest::decode(i16::from(*version), &Bytes::copy_from_slice(body));
}

/// The first byte is the API, the second its version. What the shape check lets through must
/// decode without a panic or an absurd allocation; libFuzzer watches the latter.
pub fn requests(data: &[u8]) {
    let [key, version, body @ ..] = data else { return };
    let (key, version) = (i16::from(*key), i16::from(*version));
    if check_request(key, version, body).is_ok() {
        decode(key, version, Bytes::copy_from_slice(body));
    }
}

macro_rules! decode_any {
    ($($key:literal => $request:ty),+ $(,)?) => {
        fn decode(key: i16, version: i16, body: Bytes) {
            match key {
                $($key => drop(decode_request::<$request>(version, body)),)+
                _ => {}
            }
        }
    };
}

decode_any! {
    2 => ListOffsetsRequest,
    3 => MetadataRequest,
    8 => OffsetCommitRequest,
    9 => OffsetFetchRequest,
    10 => FindCoordinatorRequest,
    11 => JoinGroupRequest,
    12 => HeartbeatRequest,
    13 => LeaveGroupRequest,
    14 => SyncGroupRequest,
    15 => DescribeGroupsRequest,
    16 => ListGroupsRequest,
    18 => ApiVersionsRequest,
    19 => CreateTopicsRequest,
    20 => DeleteTopicsRequest,
    21 => DeleteRecordsRequest,
    22 => InitProducerIdRequest,
    23 => OffsetForLeaderEpochRequest,
    32 => DescribeConfigsRequest,
    33 => AlterConfigsRequest,
    35 => DescribeLogDirsRequest,
    37 => CreatePartitionsRequest,
    42 => DeleteGroupsRequest,
    44 => IncrementalAlterConfigsRequest,
    47 => OffsetDeleteRequest,
    60 => DescribeClusterRequest,
    75 => DescribeTopicPartitionsRequest,
}
