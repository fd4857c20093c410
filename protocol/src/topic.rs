//! Types that several messages share.

use antiphon_common::{BrokerId, LeaderEpoch, TopicId};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::encode::EncodeError;
use crate::wire::{Defect, Malformed, Reader, Writer, unsigned_varint_size};

/// How Produce and Fetch identify a topic: by name up to version 12, by id from version 13 on
/// (KIP-516).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// The topic's name, not validated. From a request, it is a slice of the frame.
    Name(StrBytes),
    /// The topic's id; the zero id is possible.
    Id(TopicId),
}

/// The first version of Produce and of Fetch that identifies topics by id.
pub(crate) const FIRST_WITH_TOPIC_ID: i16 = 13;

impl TopicRef {
    pub(crate) fn read(
        frame: &Bytes,
        reader: &mut Reader<'_>,
        version: i16,
        flexible: bool,
    ) -> Result<Self, Malformed> {
        if version >= FIRST_WITH_TOPIC_ID {
            return Ok(Self::Id(TopicId(reader.uuid()?)));
        }
        let name = reader.string(flexible)?;
        Ok(Self::Name(text(frame, reader, name)?))
    }

    pub(crate) fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        match self {
            Self::Id(id) if version >= FIRST_WITH_TOPIC_ID => writer.uuid(id.0),
            Self::Name(name) if version < FIRST_WITH_TOPIC_ID => writer.string(name)?,
            _ => return Err(EncodeError::TopicKind { version }),
        }
        Ok(())
    }

    /// The fewest bytes it takes.
    pub(crate) const fn wire_bytes_min(version: i16, flexible: bool) -> usize {
        match (version >= FIRST_WITH_TOPIC_ID, flexible) {
            (true, _) => 16,
            (false, true) => 1,
            (false, false) => 2,
        }
    }
}

/// `bytes`, which `reader` just read, as text that shares `frame`.
pub(crate) fn text(
    frame: &Bytes,
    reader: &Reader<'_>,
    bytes: &[u8],
) -> Result<StrBytes, Malformed> {
    StrBytes::from_utf8(frame.slice_ref(bytes)).map_err(|_| reader.fail(Defect::NotUtf8))
}

/// Who leads a partition, as told to a client that asked the wrong broker (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    /// The leader.
    pub leader: BrokerId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

impl CurrentLeader {
    const WIRE_BYTES: usize = 4 + 4 + 1;

    /// Writes the leader as the tagged field `tag`. Flexible versions only.
    pub(crate) fn write_tagged(&self, writer: &mut Writer, tag: u32) {
        writer.tagged_field(tag, Self::WIRE_BYTES);
        writer.i32(self.leader.0);
        writer.i32(self.epoch.0);
        writer.no_tagged_fields();
    }
}

/// Where a broker that some [`CurrentLeader`] names can be reached (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The broker.
    pub node: BrokerId,
    /// Host name or address.
    pub host: StrBytes,
    /// Port.
    pub port: i32,
    /// The broker's rack, if it has one.
    pub rack: Option<StrBytes>,
}

impl NodeEndpoint {
    fn wire_bytes(&self) -> usize {
        let compact = |text: &str| unsigned_varint_size(text.len() as u32 + 1) + text.len();
        4 + compact(&self.host) + 4 + self.rack.as_deref().map_or(1, compact) + 1
    }

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.i32(self.node.0);
        writer.string(&self.host)?;
        writer.i32(self.port);
        writer.nullable_string(self.rack.as_deref())?;
        writer.no_tagged_fields();
        Ok(())
    }

    /// Ends a response whose only tagged field, with tag 0, is the list of endpoints; an empty list
    /// is left out. `supported` says whether the version has the field.
    pub(crate) fn write_section(
        endpoints: &[Self],
        writer: &mut Writer,
        supported: bool,
    ) -> Result<(), EncodeError> {
        if endpoints.is_empty() || !supported {
            writer.no_tagged_fields();
            return Ok(());
        }
        let count = unsigned_varint_size(endpoints.len() as u32 + 1);
        let size = count + endpoints.iter().map(Self::wire_bytes).sum::<usize>();
        writer.tagged_field_count(1);
        writer.tagged_field(0, size);
        writer.length(Some(endpoints.len()))?;
        endpoints.iter().try_for_each(|endpoint| endpoint.write(writer))
    }
}
