//! The folder: names, listing, and making names durable.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::format::segment::SegmentId;

const EXTENSION: &str = "wal";
const SUMMARY_EXTENSION: &str = "summary";
/// Enough digits for any number, so that names sort like numbers.
const DIGITS: usize = 20;

/// Where segment `id` is.
pub(crate) fn segment_path(directory: &Path, id: SegmentId) -> PathBuf {
    directory.join(format!("{:0DIGITS$}.{EXTENSION}", id.0))
}

/// Where the summary of the segment at `segment` is.
pub(crate) fn summary_path(segment: &Path) -> PathBuf {
    segment.with_extension(SUMMARY_EXTENSION)
}

/// Removes the summary of the segment at `segment`, if it has one.
pub(crate) fn remove_summary(segment: &Path) -> io::Result<()> {
    match fs::remove_file(summary_path(segment)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes summaries whose segment is gone: a kill came between the two.
pub(crate) fn remove_stray_summaries(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let segment = path.with_extension(EXTENSION);
        if number_in(&path, SUMMARY_EXTENSION).is_some() && !segment.try_exists()? {
            remove_summary(&segment)?;
        }
    }
    Ok(())
}

fn number_in(path: &Path, extension: &str) -> Option<SegmentId> {
    let stem = path.file_stem()?.to_str()?;
    let named = path.extension()? == extension && stem.len() == DIGITS;
    if named { stem.parse().ok().map(SegmentId) } else { None }
}

/// The segment files in the order of their numbers. Other files are none of ours.
pub(crate) fn list_segments(directory: &Path) -> io::Result<Vec<(SegmentId, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        found.extend(number_in(&path, EXTENSION).map(|id| (id, path)));
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
