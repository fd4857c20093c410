//! What a schema says about the shape of a message: enough to walk it, not to understand it.

/// The last version of a range without end.
pub(super) const END: i16 = i16::MAX;

/// One message in all its versions.
#[derive(Debug)]
pub(super) struct Message {
    /// -1 for a message that is no request.
    pub(super) api_key: i16,
    pub(super) name: &'static str,
    pub(super) min: i16,
    pub(super) max: i16,
    pub(super) flexible_from: i16,
    pub(super) fields: &'static [Field],
}

/// One field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    versions: (i16, i16),
    nullable: (i16, i16),
    /// Set if the field lives in the tagged-field section.
    pub(super) tag: Option<u32>,
    pub(super) kind: Kind,
}

/// What a field is made of.
#[derive(Debug)]
pub(super) enum Kind {
    /// A number, a boolean or a UUID, of so many bytes.
    Fixed(usize),
    /// A string, whose length has two bytes.
    Text,
    /// Bytes or records, whose length has four bytes.
    Blob,
    /// Its elements, and the memory one of them takes once kafka-protocol has decoded it.
    Array(&'static Kind, usize),
    /// Fields in the order of the schema.
    Struct(&'static [Field]),
}

/// A version of a message: which fields there are and how lengths are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) version: i16,
    pub(super) flexible: bool,
}

pub(super) const fn message(
    api_key: i16,
    name: &'static str,
    min: i16,
    max: i16,
    flexible_from: i16,
    fields: &'static [Field],
) -> Message {
    Message { api_key, name, min, max, flexible_from, fields }
}

pub(super) const fn field(name: &'static str, first: i16, last: i16, kind: Kind) -> Field {
    Field { name, versions: (first, last), nullable: (1, 0), tag: None, kind }
}

impl Message {
    /// How this version is laid out, if there is such a version.
    pub(super) fn layout(&self, version: i16) -> Option<Layout> {
        let known = self.min <= version && version <= self.max;
        known.then_some(Layout { version, flexible: version >= self.flexible_from })
    }
}

impl Field {
    pub(super) const fn nullable(mut self, first: i16, last: i16) -> Self {
        self.nullable = (first, last);
        self
    }

    pub(super) const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(super) fn exists(&self, layout: Layout) -> bool {
        contains(self.versions, layout.version)
    }

    pub(super) fn is_nullable(&self, layout: Layout) -> bool {
        contains(self.nullable, layout.version)
    }

    /// The fewest bytes the field takes outside the tagged-field section.
    fn bytes_min(&self, layout: Layout) -> usize {
        match self.kind {
            _ if self.tag.is_some() || !self.exists(layout) => 0,
            // The byte that says null.
            Kind::Struct(_) if self.is_nullable(layout) => 1,
            ref kind => kind.bytes_min(layout),
        }
    }
}

impl Kind {
    /// The fewest bytes a value takes: nothing but empty strings and arrays in it.
    pub(super) fn bytes_min(&self, layout: Layout) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Text if !layout.flexible => 2,
            Self::Blob | Self::Array(..) if !layout.flexible => 4,
            Self::Text | Self::Blob | Self::Array(..) => 1,
            Self::Struct(fields) => {
                let tags = usize::from(layout.flexible);
                tags + fields.iter().map(|field| field.bytes_min(layout)).sum::<usize>()
            }
        }
    }
}

fn contains((first, last): (i16, i16), version: i16) -> bool {
    first <= version && version <= last
}
