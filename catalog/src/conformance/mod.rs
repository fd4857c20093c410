//! What every implementation of [`Catalog`] must do, as tests.
//!
//! A [`Fixture`] is one empty catalog that can be opened again and again; every case gets a fresh
//! one. [`crate::catalog_conformance!`] makes one test of each case. Cases name the numbered
//! guarantee of the contract that they check.

mod flushing;
mod lifecycle;
mod merging;
mod observed_store;
mod removal;
mod samples;
mod topics;

use std::sync::Arc;

use antiphon_common::ManualClock;
use async_trait::async_trait;

pub use flushing::*;
pub use lifecycle::*;
pub use merging::*;
pub use observed_store::ObservedStore;
pub use removal::*;
pub use samples::*;
pub use topics::*;

use crate::{Catalog, OpenError, Snapshot};

/// One catalog's place, where it can be opened again and again.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the catalog for writing as [`BROKER`], as a process that just started would, whatever
    /// became of those before it. The local data folder is always the same.
    async fn open(&self) -> Result<(Arc<dyn Catalog>, Snapshot), OpenError>;

    /// The clock of every catalog that this opens.
    fn clock(&self) -> Arc<ManualClock>;
}

/// Makes one test of every conformance case. `$fixture` is an expression that makes a new
/// [`Fixture`] with an empty place.
#[macro_export]
macro_rules! catalog_conformance {
    ($fixture:expr) => {
        $crate::catalog_conformance!(@cases $fixture;
            first_start_is_epoch_zero,
            every_open_raises_the_epoch,
            a_crash_loses_nothing_that_returned,
            a_second_open_fences_the_first,
            a_clean_stop_is_remembered_until_the_next_open,
            identities_are_never_reused,
            producer_id_blocks_do_not_overlap,
            concurrent_changes_all_happen,
            names_are_unique,
            a_topic_grows_and_never_shrinks,
            configs_are_replaced,
            broker_configs_are_kept_by_scope,
            a_flush_becomes_history,
            a_flush_with_a_gap_or_overlap_is_refused,
            a_repeated_flush_changes_nothing,
            a_half_known_flush_is_refused,
            an_object_of_another_epoch_is_refused,
            a_flush_leaves_out_deleted_partitions,
            a_gap_below_the_log_start_is_allowed,
            epochs_and_producers_follow_the_flush,
            the_segment_that_holds_an_offset_is_found,
            a_merge_replaces_its_inputs,
            a_merge_whose_inputs_are_gone_is_refused,
            a_merge_that_does_not_cover_is_refused,
            a_settled_end_is_remembered,
            an_objects_live_bytes_are_counted,
            removing_segments_queues_their_objects,
            an_object_in_use_elsewhere_is_kept,
            a_log_start_never_goes_back,
            a_deleted_object_is_forgotten,
            a_deleted_topic_leaves_nothing,
            large_removals_finish,
        );
    };
    (@cases $fixture:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::conformance::$case(&$fixture).await;
            }
        )*
    };
}
