//! The walk itself. It recurses as deep as the schema nests, which is four levels.

use super::schema::{Field, Kind, Layout};
use crate::wire::{Defect, Malformed, Reader};

/// Walks one message.
#[derive(Debug)]
pub(super) struct Walk {
    layout: Layout,
    entered: &'static str,
}

impl Walk {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, entered: "" }
    }

    /// The field that the walk entered last. A walk ends at the first error, so this is the field
    /// that has it.
    pub(super) fn field(&self) -> &'static str {
        self.entered
    }

    /// Walks a struct: its fields in order, then its tagged fields.
    pub(super) fn fields(
        &mut self,
        fields: &'static [Field],
        reader: &mut Reader<'_>,
    ) -> Result<(), Malformed> {
        for field in fields {
            if field.tag.is_none() && field.exists(self.layout) {
                self.enter(field, reader)?;
            }
        }
        if !self.layout.flexible {
            return Ok(());
        }
        self.entered = "tagged fields";
        reader.tagged_fields(|reader, tag| self.tagged(fields, tag, reader))
    }

    fn enter(&mut self, field: &'static Field, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        self.entered = field.name;
        self.value(&field.kind, field.is_nullable(self.layout), reader)
    }

    /// Walks the content of a tag this version knows. kafka-protocol refuses a tag that belongs to
    /// another version by itself.
    fn tagged(
        &mut self,
        fields: &'static [Field],
        tag: u32,
        reader: &mut Reader<'_>,
    ) -> Result<bool, Malformed> {
        let has_tag = |field: &&Field| field.tag == Some(tag) && field.exists(self.layout);
        let Some(field) = fields.iter().find(has_tag) else { return Ok(false) };
        self.enter(field, reader)?;
        Ok(true)
    }

    fn value(
        &mut self,
        kind: &'static Kind,
        nullable: bool,
        reader: &mut Reader<'_>,
    ) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(bytes) => reader.take(*bytes).map(drop),
            Kind::Text => {
                let text = reader.nullable_string(self.layout.flexible)?;
                reader.null_only_if(nullable, text).map(drop)
            }
            Kind::Blob => {
                let blob = reader.nullable_bytes(self.layout.flexible)?;
                reader.null_only_if(nullable, blob).map(drop)
            }
            Kind::Array(element, decoded) => self.array(element, *decoded, nullable, reader),
            Kind::Struct(inner) if nullable => self.nullable_struct(inner, reader),
            Kind::Struct(inner) => self.fields(inner, reader),
        }
    }

    fn array(
        &mut self,
        element: &'static Kind,
        decoded_bytes: usize,
        nullable: bool,
        reader: &mut Reader<'_>,
    ) -> Result<(), Malformed> {
        let element_bytes = element.bytes_min(self.layout);
        let count = reader.nullable_array(self.layout.flexible, element_bytes, decoded_bytes)?;
        let count = reader.null_only_if(nullable, count)?.unwrap_or(0);
        if let Kind::Fixed(bytes) = element {
            // The count was checked against what remains, so this cannot overflow.
            return reader.take(count * bytes).map(drop);
        }
        (0..count).try_for_each(|_| self.value(element, false, reader))
    }

    /// A byte says whether the struct is there. kafka-protocol takes every byte but 1 for null,
    /// Kafka every byte that is not negative for present; both write 1 and -1.
    fn nullable_struct(
        &mut self,
        inner: &'static [Field],
        reader: &mut Reader<'_>,
    ) -> Result<(), Malformed> {
        let at = reader.position();
        match reader.i8()? {
            1 => self.fields(inner, reader),
            -1 => Ok(()),
            marker => Err(Malformed { at, defect: Defect::PresenceMarker(marker) }),
        }
    }
}
