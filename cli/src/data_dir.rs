//! The data folder: an identity, a format version, one process at a time.
//!
//! ```text
//! DATA-DIR/
//!   antiphon      text: `antiphon data folder, format 1, id UUID`; locked while a broker uses it
//!   wal/          the write-ahead log
//!   wal.void/     a log that another folder has overtaken, kept for a person to look into
//!   store/        the store, when it is a local one and nothing else was said
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use antiphon_common::Entropy;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// The format that this program writes.
const FORMAT: u32 = 1;
const FILE_NAME: &str = "antiphon";

/// Why a data folder cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("data folder {} is in use by another antiphon; stop that one or use another --data-dir", .0.display())]
    InUse(PathBuf),
    #[error("data folder {} has format {found}, this program knows up to {FORMAT}; use a newer antiphon", path.display())]
    NewerFormat { path: PathBuf, found: u32 },
    #[error("{} is not what an antiphon data folder has there", .0.display())]
    NotOurs(PathBuf),
    #[error("{} is not empty and not an antiphon data folder; use another --data-dir", .0.display())]
    Foreign(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// A data folder that this process owns for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) id: Uuid,
    pub(crate) path: PathBuf,
    /// Whether it was made just now, so that no run can have left anything in it.
    pub(crate) is_new: bool,
    /// The lock goes when the file is closed.
    _lock: File,
}

impl DataDir {
    /// Takes the folder, creating it if it is missing.
    pub(crate) fn open(path: &Path, entropy: &dyn Entropy) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        let marker = path.join(FILE_NAME);
        if !marker.exists() {
            let occupied = path.exists() && path.read_dir().map_err(io)?.next().is_some();
            if occupied {
                return Err(DataDirError::Foreign(path.to_owned()));
            }
        }
        std::fs::create_dir_all(path).map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&marker)
            .map_err(io)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| DataDirError::InUse(path.to_owned()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|_| DataDirError::NotOurs(marker.clone()))?;
        let is_new = text.is_empty();
        let id = if is_new {
            let id = entropy.uuid();
            writeln!(file, "antiphon data folder, format {FORMAT}, id {id}").map_err(io)?;
            file.sync_all().map_err(io)?;
            File::open(path).and_then(|folder| folder.sync_all()).map_err(io)?;
            id
        } else {
            parse(&text, path)?
        };
        Ok(Self { id, path: path.to_owned(), is_new, _lock: file })
    }
}

/// Puts the write-ahead log aside when another folder has served the store since it was written: what
/// it held was uploaded, or given up, and must not come back on top of what was written since. Only
/// the last such log is kept. Returns whether there was one.
pub(crate) fn set_log_aside(path: &Path) -> Result<bool, DataDirError> {
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    let (log, aside) = (path.join("wal"), path.join("wal.void"));
    if !log.exists() {
        return Ok(false);
    }
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(io)?;
    }
    std::fs::rename(&log, &aside).map_err(io)?;
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(true)
}

fn parse(text: &str, path: &Path) -> Result<Uuid, DataDirError> {
    let not_ours = || DataDirError::NotOurs(path.join(FILE_NAME));
    let rest =
        text.trim_end().strip_prefix("antiphon data folder, format ").ok_or_else(not_ours)?;
    let (format, rest) = rest.split_once(", ").ok_or_else(not_ours)?;
    let found: u32 = format.parse().map_err(|_| not_ours())?;
    if found > FORMAT {
        return Err(DataDirError::NewerFormat { path: path.to_owned(), found });
    }
    let id = rest.strip_prefix("id ").ok_or_else(not_ours)?;
    id.parse().map_err(|_| not_ours())
}

#[cfg(test)]
mod tests {
    use antiphon_common::SeededEntropy;

    use super::*;

    fn open(path: &Path) -> Result<DataDir, DataDirError> {
        DataDir::open(path, &SeededEntropy::new(1))
    }

    #[test]
    fn a_folder_keeps_its_identity_and_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = open(&path).unwrap();
        let id = first.id;
        assert!(first.is_new);
        assert!(matches!(open(&path), Err(DataDirError::InUse(_))));
        drop(first);
        let again = DataDir::open(&path, &SeededEntropy::new(2)).unwrap();
        assert_eq!((again.id, again.is_new), (id, false));
    }

    #[test]
    fn an_overtaken_log_is_set_aside_and_only_the_last_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!set_log_aside(folder.path()).unwrap());
        for content in ["first", "second"] {
            std::fs::create_dir(folder.path().join("wal")).unwrap();
            std::fs::write(folder.path().join("wal/1"), content).unwrap();
            assert!(set_log_aside(folder.path()).unwrap());
            assert!(!folder.path().join("wal").exists());
            let kept = std::fs::read_to_string(folder.path().join("wal.void/1")).unwrap();
            assert_eq!(kept, content);
        }
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "antiphon data folder, format 99, something new";
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        assert!(matches!(open(folder.path()), Err(DataDirError::NewerFormat { found: 99, .. })));
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap(), text);
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert!(matches!(open(folder.path()), Err(DataDirError::Foreign(_))));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
