//! Looking at what is stored, without changing it.

mod catalog;
mod correlation;
mod object;
mod object_file;
mod wal;

use antiphon_reply::Profiles;

use crate::args::InspectTarget;

/// Runs one inspection. Damage is printed and makes the command fail.
pub(crate) fn run(target: InspectTarget) -> Result<(), String> {
    match target {
        InspectTarget::Wal { folder, frames } => wal::run(&folder, frames),
        InspectTarget::Object { file, correlation: Some(id), profile, .. } => {
            let known = Profiles::built_in();
            let profiles = profile.into_iter().fold(known, Profiles::with);
            correlation::run(&file, &id, &profiles)
        }
        InspectTarget::Object { file, batches, .. } => object::run(&file, batches),
        InspectTarget::Catalog { store, kind } => catalog::run(&store, kind.as_deref()),
    }
}
