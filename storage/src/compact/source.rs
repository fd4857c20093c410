//! Reading segments from end to end, a piece at a time, as merging does.

use std::sync::Arc;

use antiphon_catalog::SegmentRow;
use object_store::ObjectStore;

use super::error::CompactError;
use crate::cold::ColdReadError;
use crate::merge::{Piece, pieces_of, read_piece};
use crate::object::BatchSlice;
use crate::traffic::{Traffic, TrafficClass};

/// Reads whole segments within the budgets of compaction.
#[derive(Clone, Debug)]
pub(super) struct Source {
    store: Arc<dyn ObjectStore>,
    traffic: Arc<Traffic>,
}

impl Source {
    pub(super) fn new(store: Arc<dyn ObjectStore>, traffic: Arc<Traffic>) -> Self {
        Self { store, traffic }
    }

    /// The pieces of a segment, in order.
    pub(super) async fn pieces_of(&self, row: &SegmentRow) -> Result<Vec<Piece>, CompactError> {
        pieces_of(&*self.store, row).await.map_err(|source| failed(row, source))
    }

    /// The batches of a piece, whose blocks were checked.
    pub(super) async fn read(
        &self,
        row: &SegmentRow,
        piece: &Piece,
    ) -> Result<Vec<BatchSlice>, CompactError> {
        let _turn = self.traffic.admit(TrafficClass::Compaction, piece.bytes()).await;
        let read = read_piece(&*self.store, row, piece).await;
        read.map_err(|source| failed(row, source))
    }
}

fn failed(row: &SegmentRow, source: ColdReadError) -> CompactError {
    CompactError::Read { partition: row.partition_id, source }
}
