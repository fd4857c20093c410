//! `antiphon inspect object`: the layout of one object, with every checksum verified.

use std::path::Path;

use antiphon_records::{Batches, compute_crc};
use antiphon_storage::object::{FOOTER_BYTES, Footer, ObjectLayout};

/// Prints the object in `file`.
pub(super) fn run(file: &Path, batches: bool) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let split = bytes.len().checked_sub(FOOTER_BYTES).ok_or("too short to be an object")?;
    let footer = Footer::decode(&bytes[split..], bytes.len() as u64)
        .map_err(|error| format!("footer: {error}"))?;
    println!("{footer:#?}");
    let table = slice(&bytes, footer.table_position, footer.table_length)?;
    let layout = ObjectLayout::decode(footer, table).map_err(|error| format!("table: {error}"))?;
    let mut damaged = 0;
    for section in layout.sections() {
        let summary = section.summary();
        println!("{summary:#?}");
        for block in section.blocks() {
            let body = slice(&bytes, summary.position + block.position, block.length)?;
            let sound = block.matches(body);
            damaged += u32::from(!sound);
            println!("  block {block:?}: checksum {}", verdict(sound));
            if batches {
                damaged += print_batches(body);
            }
        }
    }
    println!("{} sections", layout.sections().len());
    if damaged > 0 { Err(format!("{damaged} checksums do not match")) } else { Ok(()) }
}

fn print_batches(body: &[u8]) -> u32 {
    let mut damaged = 0;
    for batch in Batches::whole(body) {
        match batch {
            Ok(batch) => {
                let sound = compute_crc(batch.bytes) == batch.header.crc;
                damaged += u32::from(!sound);
                println!(
                    "    offsets {}..={} records {} bytes {} epoch {} max timestamp {}: checksum {}",
                    batch.header.base_offset,
                    batch.header.last_offset(),
                    batch.header.record_count,
                    batch.bytes.len(),
                    batch.header.partition_leader_epoch,
                    batch.header.max_timestamp,
                    verdict(sound)
                );
            }
            Err(error) => {
                damaged += 1;
                println!("    {error}");
            }
        }
    }
    damaged
}

fn verdict(sound: bool) -> &'static str {
    if sound { "ok" } else { "WRONG" }
}

fn slice(bytes: &[u8], position: u64, length: u64) -> Result<&[u8], String> {
    let range = usize::try_from(position).ok().zip(usize::try_from(length).ok());
    range
        .and_then(|(start, length)| bytes.get(start..start.checked_add(length)?))
        .ok_or_else(|| format!("{length} bytes at {position} lie outside the object"))
}
