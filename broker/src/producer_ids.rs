//! Handing out producer ids (KIP-98) from blocks that the catalog reserves.

use antiphon_catalog::{Catalog, CatalogError};
use antiphon_common::ProducerId;
use tokio::sync::Mutex;

/// Ids that one reservation takes: a restart loses at most this many, and a catalog commit is
/// paid once for as many producers (Kafka's block size, too).
const BLOCK: u32 = 1_000;

#[derive(Debug, Default)]
struct Block {
    next: i64,
    left: u32,
}

/// The source of producer ids.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Block>,
}

impl ProducerIds {
    /// An id that nobody ever had.
    pub(crate) async fn next(&self, catalog: &dyn Catalog) -> Result<ProducerId, CatalogError> {
        let mut block = self.block.lock().await;
        if block.left == 0 {
            let first = catalog.allocate_producer_ids(BLOCK).await?;
            *block = Block { next: first.0, left: BLOCK };
        }
        let id = ProducerId(block.next);
        block.next += 1;
        block.left -= 1;
        Ok(id)
    }
}
