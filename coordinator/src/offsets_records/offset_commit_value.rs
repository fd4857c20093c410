//! The value of a committed offset.
//!
//! ```text
//! i16     version           0 to 4; this writes 3, or 1 where the offset has its own expiry
//! i64     offset
//! i32     leader epoch      version 3 and later; -1 for none
//! string  metadata
//! i64     commit timestamp  ms since 1970
//! i64     expire timestamp  version 1 only; -1 for none
//! tagged  fields            version 4: the topic's id (tag 0), which this does not use
//! ```

use antiphon_common::{LeaderEpoch, Offset, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};

use super::DecodeError;
use super::wire::{Reader, put_string};
use crate::replies::CommittedOffset;

const VERSION_WITH_EXPIRY: i16 = 1;
const VERSION_WRITTEN: i16 = 3;
const VERSION_MAX: i16 = 4;
const VERSION_FLEXIBLE: i16 = 4;

pub(super) fn encode(value: &CommittedOffset) -> Bytes {
    let mut buffer = BytesMut::new();
    let version = value.expire_timestamp.map_or(VERSION_WRITTEN, |_| VERSION_WITH_EXPIRY);
    buffer.put_i16(version);
    buffer.put_i64(value.offset.get());
    if version >= 3 {
        buffer.put_i32(value.leader_epoch.get());
    }
    put_string(&mut buffer, &value.metadata);
    buffer.put_i64(value.commit_timestamp.get());
    if let Some(expire) = value.expire_timestamp {
        buffer.put_i64(expire.get());
    }
    buffer.freeze()
}

pub(super) fn decode(bytes: &Bytes) -> Result<CommittedOffset, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=VERSION_MAX).contains(&version) {
        return Err(DecodeError::Version { version });
    }
    let flexible = version >= VERSION_FLEXIBLE;
    let offset = Offset(reader.i64()?);
    let leader_epoch = if version >= 3 { LeaderEpoch(reader.i32()?) } else { LeaderEpoch::NONE };
    let metadata = reader.string(flexible)?;
    let commit_timestamp = Timestamp(reader.i64()?);
    let expire_timestamp = if version == VERSION_WITH_EXPIRY {
        Some(Timestamp(reader.i64()?)).filter(|expire| *expire != Timestamp::NONE)
    } else {
        None
    };
    reader.skip_tagged_fields(flexible)?;
    Ok(CommittedOffset { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
}
