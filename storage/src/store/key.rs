//! Where objects lie in the bucket: `objects/{spread}/{id}`.
//!
//! `id` is the object id in 32 hexadecimal digits and `spread` two digits of a hash of it. Ids
//! begin with the time, so without the spread all of today's objects would share one key prefix,
//! and S3 scales request rates by prefix; on a file system the spread keeps folders small. Two
//! digits are 256 folders: a listing by one process stays cheap.

use antiphon_common::ObjectId;
use object_store::path::Path;

use crate::object::crc32c;

/// The folder in which all objects lie; nothing else lies there.
pub const OBJECTS_PREFIX: &str = "objects";

/// The key of `object`.
pub fn object_path(object: ObjectId) -> Path {
    let spread = crc32c(&object.0.to_be_bytes()) & 0xff;
    Path::from(format!("{OBJECTS_PREFIX}/{spread:02x}/{object}"))
}

/// The object whose key `path` is; `None` for anything that [`object_path`] does not produce.
pub fn object_id_of_path(path: &Path) -> Option<ObjectId> {
    let object = path.filename()?.parse().ok()?;
    (object_path(object) == *path).then_some(object)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_of_keys_does_not_change() {
        let object = ObjectId(0x0198_0000_0000_0000_0000_0000_0000_0001);
        let key = "objects/99/01980000000000000000000000000001";
        assert_eq!(object_path(object).as_ref(), key);
    }

    #[test]
    fn strangers_are_not_objects() {
        for stranger in ["objects/00/zz", "objects/99", "other/99/01980000000000000000000000000001"]
        {
            assert_eq!(object_id_of_path(&Path::from(stranger)), None);
        }
    }

    proptest! {
        #[test]
        fn keys_and_ids_translate_both_ways(id: u128) {
            prop_assert_eq!(object_id_of_path(&object_path(ObjectId(id))), Some(ObjectId(id)));
        }
    }
}
