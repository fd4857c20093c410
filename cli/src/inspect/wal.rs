//! `antiphon inspect wal`: segments, frames, where each segment ends and why.

use std::path::Path;

use antiphon_wal::{Finding, Stop, inspect};

/// Prints the log in `folder`, or in its `wal` folder.
pub(super) fn run(folder: &Path, frames: bool) -> Result<(), String> {
    let inner = folder.join("wal");
    let folder = if inner.is_dir() { inner } else { folder.to_owned() };
    if !folder.is_dir() {
        return Err(format!("{}: no such folder", folder.display()));
    }
    let (mut segments, mut intact, mut bytes) = (0_u64, 0_u64, 0_u64);
    let visited = inspect(&folder, &mut |finding| match finding {
        Finding::Segment { segment, path, file_bytes, header } => {
            segments += 1;
            println!("segment {segment} {} ({file_bytes} bytes)", path.display());
            println!("  header: {header:?}");
        }
        Finding::Frame { position, header } => {
            if frames {
                println!("  {position:>10}  {header:?}");
            }
        }
        Finding::End { position, verdict } => {
            intact += verdict.frames;
            bytes += verdict.payload_bytes;
            println!(
                "  {} frames intact, {} payload bytes; ends at {position}: {}",
                verdict.frames,
                verdict.payload_bytes,
                reason(&verdict.stop)
            );
        }
    });
    visited.map_err(|error| error.to_string())?;
    println!("{segments} segments, {intact} frames intact, {bytes} payload bytes");
    Ok(())
}

fn reason(stop: &Stop) -> String {
    format!("{stop:?}")
}
