//! Files that interrupted writes to a local store leave behind.
//!
//! The store writes `name#7` and renames it to `name` when it is complete. A crash in between leaves
//! the first, which no listing of the store shows.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use antiphon_common::{ObjectId, Timestamp};

/// A file that was written to last before `before`, and the object whose name it was to have, if it
/// was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) path: PathBuf,
    pub(super) object: Option<ObjectId>,
}

/// All leftovers below `folder` that are older than `before`. Blocks.
pub(super) fn find(folder: &Path, before: Timestamp) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.extend(leftover(&entry, before));
            }
        }
    }
    Ok(found)
}

/// A file that cannot be looked at is none: it may just have been renamed.
fn leftover(entry: &DirEntry, before: Timestamp) -> Option<Leftover> {
    let name = entry.file_name();
    let name = final_name(name.to_str()?)?;
    let modified = entry.metadata().ok()?.modified().ok()?;
    let age = modified.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let modified = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let is_old = modified < before.get();
    is_old.then(|| Leftover { path: entry.path(), object: name.parse().ok() })
}

/// The name that the file was to have: what stands before `#` and a number.
fn final_name(name: &str) -> Option<&str> {
    let (name, number) = name.split_once('#')?;
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbered.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_to_unfinished_files_count() {
        assert_eq!(final_name("0198#12"), Some("0198"));
        for name in ["0198", "0198#", "0198#1a", "#", "a#1#2"] {
            assert_eq!(final_name(name), None, "{name}");
        }
    }

    #[test]
    fn old_ones_are_found_at_any_depth_and_young_ones_are_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deep = folder.path().join("7f");
        fs::create_dir(&deep).expect("a folder");
        let id = format!("{}", ObjectId(7));
        for name in [format!("{id}#1"), id.clone(), "other#2".to_owned()] {
            fs::write(deep.join(name), "x").expect("a file");
        }
        let find = |before| find(folder.path(), Timestamp(before)).expect("a walk");
        assert!(find(1_000).is_empty(), "written after 1970");
        let mut objects: Vec<_> = find(i64::MAX).into_iter().map(|found| found.object).collect();
        objects.sort();
        assert_eq!(objects, [None, Some(ObjectId(7))]);
        assert!(
            super::find(&folder.path().join("absent"), Timestamp(0)).expect("a walk").is_empty()
        );
    }
}
