//! Records of `__consumer_offsets`.

use antiphon_coordinator::GroupRecord;
use bytes::Bytes;

/// The first byte is the key's length. What decodes survives being written and read again.
pub fn records(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    let value = (!value.is_empty()).then_some(&value);
    if let Ok(Some(record)) = GroupRecord::decode(&key, value) {
        let written = record.encode();
        let again = GroupRecord::decode(&written.key, written.value.as_ref());
        assert_eq!(again.ok().flatten(), Some(record));
    }
}
