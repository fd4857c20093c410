//! Writing an object of one section in pieces, so that it is never in memory as a whole.

use antiphon_common::PartitionId;
use bytes::Bytes;

use super::builder::SectionDraft;
use super::{BatchSlice, BuildObjectError, BuiltObject, ObjectBuilder, WriterIdentity};

/// An object of one partition that is written while it is built. What it comes to is, byte for
/// byte, what [`ObjectBuilder`] makes of the same batches.
#[derive(Debug)]
pub struct StreamedObject {
    identity: WriterIdentity,
    draft: SectionDraft,
}

impl StreamedObject {
    /// An empty object that will say of itself that `identity` wrote it.
    pub fn new(identity: WriterIdentity, partition: PartitionId) -> Self {
        Self { identity, draft: SectionDraft::new(partition, 0) }
    }

    /// Adds the next batches, in offset order. After an error the object is of no use.
    pub fn push(&mut self, batch: BatchSlice) -> Result<(), BuildObjectError> {
        self.draft.push(batch)
    }

    /// The bytes that were pushed and not taken yet, in order: the next ones of the object.
    pub fn take_bytes(&mut self) -> Vec<Bytes> {
        self.draft.take_bytes()
    }

    /// Ends the object. Of its bytes, `payload` holds those that were not taken: at least table and
    /// footer. Everything else is said of the object as a whole.
    pub fn finish(self) -> Result<BuiltObject, BuildObjectError> {
        let mut builder = ObjectBuilder::new(self.identity);
        let (index, rest) = self.draft.finish()?;
        builder.accept(index, rest)?;
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::BLOCK_BYTES_TARGET;
    use crate::object::samples::{bytes_of, identity, slices};

    /// Taken in pieces of any length, what comes out is the same object.
    #[test]
    fn in_pieces_or_as_a_whole_the_bytes_are_the_same() {
        let batches = slices(0, 40, BLOCK_BYTES_TARGET as usize / 7);
        let mut whole = ObjectBuilder::new(identity(1));
        whole.section(PartitionId(5), batches.clone()).expect("section");
        let whole = whole.finish().expect("object");
        for piece in [1, 3, 39, 1000] {
            let mut object = StreamedObject::new(identity(1), PartitionId(5));
            let mut written = Vec::new();
            for (number, batch) in batches.iter().enumerate() {
                object.push(batch.clone()).expect("batch");
                if number % piece == piece - 1 {
                    object.take_bytes().iter().for_each(|bytes| written.extend_from_slice(bytes));
                }
            }
            let end = object.finish().expect("object");
            assert_eq!(
                (end.size, end.footer, &end.sections),
                (whole.size, whole.footer, &whole.sections)
            );
            written.extend(bytes_of(&end));
            assert!(written == bytes_of(&whole), "in pieces of {piece}");
        }
    }

    #[test]
    fn an_empty_object_is_refused() {
        let object = StreamedObject::new(identity(1), PartitionId(5));
        assert!(matches!(object.finish(), Err(BuildObjectError::EmptySection { .. })));
    }
}
