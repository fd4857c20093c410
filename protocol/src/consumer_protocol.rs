//! What members of a `consumer` group tell each other through the coordinator.
//!
//! The coordinator passes these bytes on untouched and looks inside only to learn which topics a
//! group reads. They come from clients, so they are checked like any request. In front of each
//! stands its version; members may use a later one than we know, which then is read as the latest
//! we know, because versions only append fields (`ConsumerProtocol.java`).

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Decodable, Message};

use crate::encode::DecodeError;
use crate::shape::{ShapeError, ShapeReport, check_assignment, check_subscription};

/// Reads the metadata of a member of a `consumer` group, version included.
pub fn decode_consumer_subscription(
    metadata: &Bytes,
) -> Result<ConsumerProtocolSubscription, DecodeError> {
    decode("ConsumerProtocolSubscription", metadata, check_subscription)
}

/// Reads the assignment of a member of a `consumer` group, version included.
pub fn decode_consumer_assignment(
    assignment: &Bytes,
) -> Result<ConsumerProtocolAssignment, DecodeError> {
    decode("ConsumerProtocolAssignment", assignment, check_assignment)
}

fn decode<T: Decodable + Message>(
    name: &'static str,
    bytes: &Bytes,
    check: fn(i16, &[u8]) -> Result<ShapeReport, ShapeError>,
) -> Result<T, DecodeError> {
    let mut body = bytes.clone();
    // Without two bytes there is no version; -1 is one that no schema has.
    let version = body.try_get_i16().unwrap_or(-1).min(T::VERSIONS.max);
    check(version, &body)?;
    T::decode(&mut body, version).map_err(|error| DecodeError::Content {
        message: name,
        version,
        reason: error.into(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition;
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;

    use super::*;

    fn subscription(written_as: i16, encoded_as: i16) -> Bytes {
        let owned = TopicPartition::default()
            .with_topic(StrBytes::from_static_str("orders").into())
            .with_partitions(vec![1, 2]);
        let message = ConsumerProtocolSubscription::default()
            .with_topics(vec![StrBytes::from_static_str("orders")])
            .with_owned_partitions(vec![owned]);
        let mut bytes = BytesMut::new();
        bytes.put_i16(written_as);
        message.encode(&mut bytes, encoded_as).unwrap();
        bytes.freeze()
    }

    #[test]
    fn subscriptions_of_every_version_are_read() {
        for version in 0..=3 {
            let read = decode_consumer_subscription(&subscription(version, version)).unwrap();
            assert_eq!(read.topics, [StrBytes::from_static_str("orders")], "{version}");
            assert_eq!(read.owned_partitions.is_empty(), version == 0);
        }
    }

    #[test]
    fn a_later_version_is_read_as_the_latest_known() {
        let read = decode_consumer_subscription(&subscription(9, 3)).unwrap();
        assert_eq!(read.owned_partitions.len(), 1);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert!(matches!(decode_consumer_subscription(&bomb), Err(DecodeError::Shape(_))));
        assert!(matches!(decode_consumer_assignment(&bomb), Err(DecodeError::Shape(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = decode_consumer_subscription(&bytes);
            let _ = decode_consumer_assignment(&bytes);
        }
    }
}
