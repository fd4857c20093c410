//! Requests with everything in them, made from the tables: what the tests of the shape check walk,
//! and what tests of a whole broker damage before they send it.

use bytes::BufMut;

use super::schema::{Field, Kind, Layout, Message};
use super::tables;

/// The body of a request and what can be done to its arrays.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// One element in every array, something in every string, every field and tag present.
    pub body: Vec<u8>,
    /// The same body once for each array, whose count claims two billion elements.
    pub bombs: Vec<Vec<u8>>,
}

/// A sample of this API and version, if there is such a request.
pub fn sample_request(api_key: i16, version: i16) -> Option<SampleRequest> {
    let message = tables::REQUESTS.iter().find(|message| message.api_key == api_key)?;
    let layout = message.layout(version)?;
    let sample = Sample::of(message, layout);
    let bombs = sample.counts.iter().map(|at| sample.bomb(*at, layout.flexible)).collect();
    Some(SampleRequest { body: sample.body, bombs })
}

/// A body with one element in every array, and where each array's count stands.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) body: Vec<u8>,
    pub(super) counts: Vec<usize>,
}

impl Sample {
    pub(super) fn of(message: &Message, layout: Layout) -> Self {
        let mut sample = Self::default();
        sample.fields(message.fields, layout);
        sample
    }

    fn fields(&mut self, fields: &[Field], layout: Layout) {
        let present = |field: &&Field| field.exists(layout);
        for field in fields.iter().filter(present).filter(|field| field.tag.is_none()) {
            self.value(&field.kind, field.is_nullable(layout), layout);
        }
        if layout.flexible {
            self.tags(fields.iter().filter(present).filter_map(|f| Some((f.tag?, f))), layout);
        }
    }

    fn tags<'f>(&mut self, tags: impl Iterator<Item = (u32, &'f Field)>, layout: Layout) {
        let tags: Vec<_> = tags.collect();
        self.body.put_u8(tags.len() as u8);
        for (tag, field) in tags {
            let mut content = Self::default();
            content.value(&field.kind, field.is_nullable(layout), layout);
            self.body.put_u8(tag as u8);
            self.body.put_u8(content.body.len() as u8);
            let start = self.body.len();
            self.counts.extend(content.counts.iter().map(|at| start + at));
            self.body.extend(content.body);
        }
    }

    fn value(&mut self, kind: &Kind, nullable: bool, layout: Layout) {
        match kind {
            Kind::Fixed(bytes) => self.body.put_bytes(0, *bytes),
            Kind::Text if layout.flexible => self.body.extend([2, b'x']),
            Kind::Text => self.body.extend([0, 1, b'x']),
            Kind::Blob if layout.flexible => self.body.extend([2, b'x']),
            Kind::Blob => self.body.extend([0, 0, 0, 1, b'x']),
            Kind::Array(element, _) => {
                self.counts.push(self.body.len());
                self.body.extend_from_slice(if layout.flexible { &[2] } else { &[0, 0, 0, 1] });
                self.value(element, false, layout);
            }
            Kind::Struct(inner) => {
                if nullable {
                    self.body.put_u8(1);
                }
                self.fields(inner, layout);
            }
        }
    }

    /// The body with the count at `at` replaced by the largest there is.
    pub(super) fn bomb(&self, at: usize, flexible: bool) -> Vec<u8> {
        let (count, length): (&[u8], _) = match flexible {
            true => (&[0xff, 0xff, 0xff, 0xff, 0x07], 1),
            false => (&[0x7f, 0xff, 0xff, 0xff], 4),
        };
        [&self.body[..at], count, &self.body[at + length..]].concat()
    }
}
