//! When orphans are looked for, and how old they must be.

use std::time::Duration;

/// When orphans are looked for, and how old they must be.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// How long after the start the first sweep begins: crashes leave orphans. Default 10 min.
    pub first_after: Duration,
    /// The pause between sweeps. A sweep costs a listing, one request per 1,000 objects, and looks into
    /// the catalog for each of them; there is none while nothing was made since the last. Default 6 h.
    pub interval: Duration,
    /// An orphan younger than this stays, by the time in its id and by the bucket's. What this process
    /// is making is known by name; the age is for what nobody thought of, such as a clock that is
    /// wrong by less than this. Default 1 h.
    pub age_min: Duration,
    /// Folders of a local store in which interrupted writes leave files behind.
    pub local_folders: Vec<String>,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            first_after: Duration::from_secs(600),
            interval: Duration::from_secs(6 * 3600),
            age_min: Duration::from_secs(3600),
            local_folders: vec![crate::store::OBJECTS_PREFIX.to_owned(), "catalog".to_owned()],
        }
    }
}
