//! Objects in the bucket, and rows of the catalog.

use antiphon_catalog::Entry;
use antiphon_storage::object::{FOOTER_BYTES, Footer, ObjectLayout, SectionIndex};

/// A whole object: footer last, section table where the footer says.
pub fn objects(data: &[u8]) {
    let _ = SectionIndex::decode_alone(data, 0);
    let Some(tail) = data.len().checked_sub(FOOTER_BYTES).and_then(|at| data.get(at..)) else {
        return;
    };
    let Ok(footer) = Footer::decode(tail, data.len() as u64) else { return };
    let end = footer.table_position + footer.table_length;
    let table = data.get(footer.table_position as usize..end as usize);
    let table = table.expect("a footer that decodes lies about no position");
    if let Ok(layout) = ObjectLayout::decode(footer, table) {
        assert!(layout.sections().len() <= table.len());
    }
}

/// The first byte is the key's length.
pub fn rows(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    if let Some(Ok(entry)) = Entry::decode(key, value) {
        assert_eq!(entry.kind().tag(), key[0]);
    }
}
