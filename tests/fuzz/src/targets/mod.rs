//! One function per decoder. Each takes any bytes, and panics if a promise is broken.

#[cfg(feature = "bucket")]
mod bucket;
mod groups;
mod records;
pub mod retain;
pub mod wal;
mod wire;

use crate::seeds;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// Every target.
pub const ALL: &[Target] = &[
    target("frames", wire::frames, seeds::frames),
    target("headers", wire::headers, seeds::headers),
    target("produce", wire::produce, seeds::produce),
    target("fetch", wire::fetch, seeds::fetch),
    target("requests", wire::requests, seeds::requests),
    target("batches", records::batches, seeds::batches),
    target("bodies", records::bodies, seeds::batches),
    target("decompress", records::decompress, seeds::compressed),
    target("retain", retain::retain, seeds::thinned),
    target("producers", records::producers, seeds::producers),
    target("groups", groups::records, seeds::groups),
    target("wal", wal::segments, seeds::segments),
    #[cfg(feature = "bucket")]
    target("objects", bucket::objects, seeds::objects),
    #[cfg(feature = "bucket")]
    target("rows", bucket::rows, seeds::rows),
];
