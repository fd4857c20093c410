//! Deleting an object for good.

use antiphon_common::{ErrorKind, ObjectId};

use super::Store;
use super::key::object_path;

/// An object may still be there.
#[derive(Debug, thiserror::Error)]
#[error("object {object} could not be deleted")]
pub struct DeleteObjectError {
    /// The object.
    pub object: ObjectId,
    /// What the bucket said.
    pub source: object_store::Error,
}

impl DeleteObjectError {
    /// What the caller should do: deleting is always worth repeating.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Retry
    }
}

impl Store {
    /// Deletes an object. One that is not there (any more) counts as deleted: the call may be the
    /// repetition of one whose answer was lost.
    pub async fn delete_object(&self, object: ObjectId) -> Result<(), DeleteObjectError> {
        use object_store::ObjectStoreExt;
        match self.objects.delete(&object_path(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(DeleteObjectError { object, source }),
        }
    }
}
