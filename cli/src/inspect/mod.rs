//! Looking at what is stored, without changing it.

mod catalog;
mod object;
mod wal;

use crate::args::InspectTarget;

/// Runs one inspection. Damage is printed and makes the command fail.
pub(crate) fn run(target: InspectTarget) -> Result<(), String> {
    match target {
        InspectTarget::Wal { folder, frames } => wal::run(&folder, frames),
        InspectTarget::Object { file, batches } => object::run(&file, batches),
        InspectTarget::Catalog { store, kind } => catalog::run(&store, kind.as_deref()),
    }
}
