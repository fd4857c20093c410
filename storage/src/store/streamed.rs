//! Putting an object piece by piece, for objects that are too large to be in memory as a whole.
//!
//! Nothing can be created if absent in pieces: S3's clients complete a multipart upload by overwriting.
//! (A local file gets its name last, if the name is free.) That is safe here for the reason that every key is an id of its own
//! with 80 random bits, used by one writer for one sequence of bytes; and the object counts only when
//! the catalog names it. What matters after an error is what [`Store::put_object`] asks, too: is what
//! lies under the key what was written? The footer answers.
//!
//! An upload that neither ends nor is given up leaves its parts behind. On a local store that is a file
//! which the sweep finds. In S3 it is invisible to listings: buckets need a rule that ends incomplete
//! uploads after a day (MinIO does it by itself).

use std::io;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::error::PutObjectError;
use super::file_put::FilePut;
use super::key::object_path;
use super::open::Store;
use super::put::as_client_error;
use crate::object::BuiltObject;

/// The length of a part; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time.
const PARTS_IN_FLIGHT: usize = 2;

/// The most memory that one streamed put holds: parts on their way, and one that is being filled.
pub const STREAMED_PUT_MEMORY_BYTES: u64 = ((PARTS_IN_FLIGHT + 1) * PART_BYTES) as u64;

/// An object on its way into the bucket.
#[derive(Debug)]
pub struct StreamedPut<'a> {
    store: &'a Store,
    object: ObjectId,
    upload: Upload,
}

#[derive(Debug)]
enum Upload {
    Parts(WriteMultipart),
    /// `None` after a write that failed.
    File(Option<FilePut>),
}

impl Store {
    /// Begins to put `object`, whose bytes will be written in order.
    pub async fn begin_put(&self, object: ObjectId) -> Result<StreamedPut<'_>, PutObjectError> {
        let path = object_path(object);
        let begun = match self.local_files() {
            Some(files) => begin_file(files, &path).await,
            None => self.uploads.put_multipart(&path).await.map(|upload| {
                Upload::Parts(WriteMultipart::new_with_chunk_size(upload, PART_BYTES))
            }),
        };
        let upload = begun.map_err(|source| failed(object, source))?;
        Ok(StreamedPut { store: self, object, upload })
    }
}

impl StreamedPut<'_> {
    /// Writes the next bytes; waits while enough parts are on their way.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), PutObjectError> {
        let object = self.object;
        match &mut self.upload {
            Upload::Parts(parts) => {
                let room = parts.wait_for_capacity(PARTS_IN_FLIGHT).await;
                room.map_err(|source| failed(object, source))?;
                parts.put(bytes);
                Ok(())
            }
            Upload::File(file) => {
                let written = write_file(file, bytes).await;
                written
                    .map_err(|error| failed(object, as_client_error(&object_path(object), error)))
            }
        }
    }

    /// Writes the last bytes, those in the payload of `built`. When this returns `Ok`, the object is
    /// durable and complete; after an error it may be.
    pub async fn finish(mut self, built: &BuiltObject) -> Result<(), PutObjectError> {
        for bytes in built.payload.iter() {
            self.write(bytes.clone()).await?;
        }
        let finished = match self.upload {
            Upload::Parts(parts) => parts.finish().await.map(drop),
            Upload::File(file) => {
                let finished = on_file(file, FilePut::finish).await;
                finished.map_err(|error| as_client_error(&object_path(self.object), error))
            }
        };
        let Err(error) = finished else { return Ok(()) };
        match self.store.holds(built).await? {
            true => Ok(()),
            false => Err(failed(self.object, error)),
        }
    }

    /// Gives up: what was written is deleted, as far as the store can be reached.
    pub async fn abort(self) {
        // A local file that is dropped deletes itself.
        let Upload::Parts(parts) = self.upload else { return };
        if let Err(error) = parts.abort().await {
            tracing::debug!(object = %self.object, %error, "an upload was not given up cleanly");
        }
    }
}

async fn begin_file(files: &LocalFileSystem, path: &Path) -> Result<Upload, object_store::Error> {
    let file = files.path_to_filesystem(path)?;
    let created = tokio::task::spawn_blocking(move || FilePut::create(&file)).await;
    let created = created.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    created.map(|put| Upload::File(Some(put))).map_err(|error| as_client_error(path, error))
}

async fn write_file(file: &mut Option<FilePut>, bytes: Bytes) -> io::Result<()> {
    let written = on_file(file.take(), move |mut put| {
        put.write(&bytes)?;
        Ok(put)
    });
    *file = Some(written.await?);
    Ok(())
}

/// Does something with the file on a thread that may wait for the disk.
async fn on_file<T: Send + 'static>(
    file: Option<FilePut>,
    work: impl FnOnce(FilePut) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let file = file.ok_or_else(|| io::Error::other("an earlier write of this file failed"))?;
    let done = tokio::task::spawn_blocking(move || work(file)).await;
    done.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

fn failed(object: ObjectId, source: object_store::Error) -> PutObjectError {
    PutObjectError::Store { object, attempts: 1, source: Arc::new(source) }
}
