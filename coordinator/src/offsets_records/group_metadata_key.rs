//! The key of a group's metadata.
//!
//! ```text
//! i16     version   2: what tells it from an offset's key
//! string  group
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::DecodeError;
use super::wire::{Reader, put_string};
use crate::names::GroupId;

/// The version that stands for a group's metadata.
pub(super) const VERSION: i16 = 2;

pub(super) fn encode(group_id: &GroupId) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VERSION);
    put_string(&mut buffer, group_id.as_str());
    buffer.freeze()
}

/// Decodes what follows the version.
pub(super) fn decode(reader: &mut Reader) -> Result<GroupId, DecodeError> {
    Ok(reader.string(false)?.into())
}
