//! `antiphon inspect object --correlation`: the records of one correlation id.
//!
//! Every batch of the object is opened, since nothing yet says where an id is: the time is that of
//! reading the object once, the memory that of one block and one decompressed batch. A topic's
//! name is not in an object; `antiphon inspect catalog --kind partition` tells it.

use std::path::Path;

use antiphon_common::PartitionId;
use antiphon_records::{Batch, BatchHeader, Batches, OpenBatch, Record, compute_crc};
use antiphon_reply::{CorrelationId, Detection, Message, Profiles, Survey};
use antiphon_storage::Chain;
use antiphon_storage::object::SectionIndex;

use super::object_file::ObjectFile;

/// What a batch may unfold to, as for the broker's own lookups.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Prints the records of `id` in the object in `file`, and what the headers of its partitions have
/// against each other.
pub(super) fn run(file: &Path, id: &CorrelationId, profiles: &Profiles) -> Result<(), String> {
    let object = ObjectFile::open(file)?;
    let mut search = Search { id, profiles, records: 0, found: 0, damaged: 0 };
    for section in object.layout()?.sections() {
        search.section(&object, section)?;
    }
    println!("{} of {} records belong to {id}", search.found, search.records);
    match search.damaged {
        0 => Ok(()),
        damaged => Err(format!("{damaged} blocks or batches are damaged and were not searched")),
    }
}

struct Search<'a> {
    id: &'a CorrelationId,
    profiles: &'a Profiles,
    records: u64,
    found: u64,
    damaged: u64,
}

impl Search<'_> {
    fn section(&mut self, object: &ObjectFile, section: &SectionIndex) -> Result<(), String> {
        let partition = section.summary().partition;
        let mut survey = Survey::new();
        for block in section.blocks() {
            let body = object.block(block)?;
            if block.matches(&body) {
                self.block(partition, &body, &mut survey);
            } else {
                self.damaged += 1;
                println!("partition {partition} block {block:?}: checksum WRONG");
            }
        }
        print_survey(partition, &survey);
        Ok(())
    }

    fn block(&mut self, partition: PartitionId, body: &[u8], survey: &mut Survey) {
        for batch in Batches::whole(body) {
            let searched = match batch {
                Ok(batch) => self.batch(partition, batch, survey),
                Err(error) => Err(Chain(&error).to_string()),
            };
            if let Err(reason) = searched {
                self.damaged += 1;
                println!("partition {partition}: {reason}");
            }
        }
    }

    fn batch(
        &mut self,
        partition: PartitionId,
        batch: Batch<'_>,
        survey: &mut Survey,
    ) -> Result<(), String> {
        let header = batch.header;
        let damaged = |reason: String| format!("batch at offset {}: {reason}", header.base_offset);
        if compute_crc(batch.bytes) != header.crc {
            return Err(damaged("checksum WRONG".to_owned()));
        }
        // Markers of transactions have keys and headers of their own.
        if header.is_control() {
            return Ok(());
        }
        let open = OpenBatch::open(batch.bytes, DECOMPRESSED_BYTES_MAX)
            .map_err(|error| damaged(Chain(&error).to_string()))?;
        for record in open.records() {
            let record = record.map_err(|error| damaged(error.to_string()))?;
            self.record(partition, open.header(), record, survey);
        }
        Ok(())
    }

    fn record(
        &mut self,
        partition: PartitionId,
        header: &BatchHeader,
        record: Record<'_>,
        survey: &mut Survey,
    ) {
        self.records += 1;
        let detection = self.profiles.detect(record.headers(), record.key);
        let offset = record.offset(header);
        survey.observe(offset, &detection);
        if detection.readings.iter().any(|message| message.correlation == *self.id) {
            self.found += 1;
            let timestamp = record.timestamp(header);
            print!("partition {partition} offset {offset} timestamp {timestamp}");
            print_detection(self.id, &detection);
        }
    }
}

fn print_detection(id: &CorrelationId, detection: &Detection<'_>) {
    let of_id = || detection.readings.iter().filter(|message| message.correlation == *id);
    let profiles: Vec<_> = of_id().map(|message| message.profile.name()).collect();
    if let Some(message) = of_id().next() {
        println!(" role {} profile {}{}", message.role, profiles.join("|"), details(message));
    }
    if let Some(clash) = &detection.clash {
        println!("    clash: {clash}");
        return;
    }
    for misfit in of_id().flat_map(|message| &message.misfits) {
        println!("    misfit: {misfit}");
    }
}

fn details(message: &Message<'_>) -> String {
    let topic = message.reply_topic.map(|topic| format!(" reply topic {topic}"));
    let partition = message.reply_partition.map(|index| format!(" reply partition {index}"));
    let error = message.is_error.then(|| " error".to_owned());
    let end = message.ends_stream.then(|| " end of replies".to_owned());
    [topic, partition, error, end].into_iter().flatten().collect()
}

fn print_survey(partition: PartitionId, survey: &Survey) {
    for mixture in survey.mixtures() {
        println!("partition {partition} mixes encodings: {mixture}");
    }
    if let Some((offset, clash)) = survey.first_clash() {
        let count = survey.clashes();
        println!(
            "partition {partition} has {count} clashes, the first at offset {offset}: {clash}"
        );
    }
}
