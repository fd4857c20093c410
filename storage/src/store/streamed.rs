//! Putting an object piece by piece, for objects that are too large to be in memory as a whole.
//!
//! Nothing can be created if absent in pieces: S3's clients complete a multipart upload by overwriting,
//! and a local store by renaming. That is safe here for the reason that every key is an id of its own
//! with 80 random bits, used by one writer for one sequence of bytes; and the object counts only when
//! the catalog names it. What matters after an error is what [`Store::put_object`] asks, too: is what
//! lies under the key what was written? The footer answers.
//!
//! An upload that neither ends nor is given up leaves its parts behind. On a local store that is a file
//! which the sweep finds. In S3 it is invisible to listings: buckets need a rule that ends incomplete
//! uploads after a day (MinIO does it by itself).

use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::error::PutObjectError;
use super::key::object_path;
use super::open::Store;
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
    upload: WriteMultipart,
}

impl Store {
    /// Begins to put `object`, whose bytes will be written in order.
    pub async fn begin_put(&self, object: ObjectId) -> Result<StreamedPut<'_>, PutObjectError> {
        let begun = self.uploads.put_multipart(&object_path(object)).await;
        let upload = begun.map_err(|source| failed(object, source))?;
        let upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(StreamedPut { store: self, object, upload })
    }
}

impl StreamedPut<'_> {
    /// Writes the next bytes; waits while enough parts are on their way.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), PutObjectError> {
        let room = self.upload.wait_for_capacity(PARTS_IN_FLIGHT).await;
        room.map_err(|source| failed(self.object, source))?;
        self.upload.put(bytes);
        Ok(())
    }

    /// Writes the last bytes, those in the payload of `built`. When this returns `Ok`, the object is
    /// durable and complete; after an error it may be.
    pub async fn finish(mut self, built: &BuiltObject) -> Result<(), PutObjectError> {
        for bytes in built.payload.iter() {
            self.write(bytes.clone()).await?;
        }
        let Err(error) = self.upload.finish().await else { return Ok(()) };
        match self.store.holds(built).await? {
            true => Ok(()),
            false => Err(failed(self.object, error)),
        }
    }

    /// Gives up: what was written is deleted, as far as the store can be reached.
    pub async fn abort(self) {
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(object = %self.object, %error, "an upload was not given up cleanly");
        }
    }
}

fn failed(object: ObjectId, source: object_store::Error) -> PutObjectError {
    PutObjectError::Store { object, attempts: 1, source: Arc::new(source) }
}
