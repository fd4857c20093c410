//! The folder: names, listing, and making names durable.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::format::segment::SegmentId;

const EXTENSION: &str = "wal";
/// Enough digits for any number, so that names sort like numbers.
const DIGITS: usize = 20;

/// Where segment `id` is.
pub(crate) fn segment_path(directory: &Path, id: SegmentId) -> PathBuf {
    directory.join(format!("{:0DIGITS$}.{EXTENSION}", id.0))
}

fn segment_id(path: &Path) -> Option<SegmentId> {
    let stem = path.file_stem()?.to_str()?;
    let named = path.extension()? == EXTENSION && stem.len() == DIGITS;
    if named { stem.parse().ok().map(SegmentId) } else { None }
}

/// The segment files in the order of their numbers. Other files are none of ours.
pub(crate) fn list_segments(directory: &Path) -> io::Result<Vec<(SegmentId, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        found.extend(segment_id(&path).map(|id| (id, path)));
    }
    found.sort();
    Ok(found)
}

/// Makes created, renamed and deleted names durable.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_listed_in_numeric_order() {
        let folder = tempfile::tempdir().expect("a folder");
        for id in [SegmentId(10), SegmentId(9)] {
            fs::write(segment_path(folder.path(), id), b"").expect("a file");
        }
        for foreign in ["lock", "7.wal", "00000000000000000007.tmp", "0000000000000000000x.wal"] {
            fs::write(folder.path().join(foreign), b"").expect("a file");
        }
        let ids: Vec<_> = list_segments(folder.path()).expect("listed").into_iter().collect();
        assert_eq!(ids.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [9, 10]);
    }
}
