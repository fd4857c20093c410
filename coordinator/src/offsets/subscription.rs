//! The topics in a consumer's subscription, which is all that a coordinator ever reads of it.
//!
//! ```text
//! i16     version
//! array   topics       i32 count, then strings
//! ...                  user data and, by version, more: not read
//! ```

use bytes::Bytes;

use crate::names::TopicName;
use crate::offsets_records::wire::Reader;

/// A string's length field.
const TOPIC_BYTES_MIN: usize = 2;

/// The topics, or `None` if these bytes are no subscription.
pub(crate) fn topics(subscription: &Bytes) -> Option<Vec<TopicName>> {
    let mut reader = Reader::new(subscription);
    let version = reader.i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = reader.array_length(TOPIC_BYTES_MIN, false).ok()?;
    (0..count).map(|_| reader.string(false).ok().map(TopicName::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topics_of_a_real_subscription() {
        // Version 1: topics [a, bc], null user data, no owned partitions.
        let bytes = Bytes::from_static(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(topics(&bytes), Some(vec!["a".into(), "bc".into()]));
    }

    #[test]
    fn other_bytes_are_no_subscription() {
        assert_eq!(topics(&Bytes::new()), None);
        assert_eq!(topics(&Bytes::from_static(b"\0\x01\x7f\xff\xff\xff")), None);
        assert_eq!(topics(&Bytes::from_static(b"\xff\xff\0\0\0\0")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_crash_the_parser(bytes in any::<Vec<u8>>()) {
            let _ = topics(&bytes.into());
        }
    }
}
