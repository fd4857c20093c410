//! `antiphon inspect object`: the layout of one object, with every checksum verified.

use std::path::Path;

use antiphon_records::{Batches, compute_crc};

use super::object_file::ObjectFile;

/// Prints the object in `file`.
pub(super) fn run(file: &Path, batches: bool) -> Result<(), String> {
    let object = ObjectFile::open(file)?;
    println!("{:#?}", object.footer());
    let layout = object.layout()?;
    let mut damaged = 0;
    for section in layout.sections() {
        println!("{:#?}", section.summary());
        for block in section.blocks() {
            let body = object.block(block)?;
            let sound = block.matches(&body);
            damaged += u32::from(!sound);
            println!("  block {block:?}: checksum {}", verdict(sound));
            if batches {
                damaged += print_batches(&body);
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
