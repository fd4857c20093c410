//! The subcommands: each turns its options into one [`Report`].

mod admin;
mod compare;
mod consume;
mod gets;
mod idle;
mod layer_wal;
mod options;
mod partitions;
mod produce;
mod progress;
mod replay;
mod replay_report;
mod roundtrip;
mod startup;

use std::io;

use clap::Subcommand;

use crate::client::ClientError;
use crate::compare::CompareError;
use crate::report::Report;
use crate::wire::RequestError;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Produce: as fast as possible, or at a fixed rate with honest latencies.
    Produce(produce::Options),
    /// Consume to the end and check that nothing is missing or repeated.
    Consume(consume::Options),
    /// Request and reply at a fixed rate through an echo worker.
    Roundtrip(roundtrip::Options),
    /// Start a broker repeatedly: time to first metadata, idle memory.
    Startup(startup::Options),
    /// Create many partitions, write one record to each and read all back.
    Partitions(partitions::Options),
    /// Live traffic quiet, and again while consumers replay a history at full speed.
    Replay(replay::Options),
    /// One endlessly replaying consumer, as `replay` starts them.
    #[command(hide = true)]
    ReplayClient(replay::client::Options),
    /// Turn the reports of a replay benchmark into tables and plots.
    ReplayReport(replay_report::Options),
    /// Read the objects of a bucket as fast as they come.
    Gets(gets::Options),
    /// Watch a counter while nobody does anything.
    Idle(idle::Options),
    /// The write-ahead log alone, and io_uring next to it.
    LayerWal(layer_wal::Options),
    /// Wait until a broker answers a metadata request.
    Wait(admin::WaitOptions),
    /// Delete the topics of a run.
    Delete(admin::DeleteOptions),
    /// Turn the reports of a comparison into one table of ratios.
    Compare(compare::Options),
}

impl Command {
    /// Runs the subcommand.
    pub fn run(self) -> Result<Report, Failure> {
        match self {
            Self::Produce(options) => produce::run(&options),
            Self::Consume(options) => consume::run(&options),
            Self::Roundtrip(options) => roundtrip::run(&options),
            Self::Startup(options) => startup::run(&options),
            Self::Partitions(options) => partitions::run(&options),
            Self::Replay(options) => replay::run(&options),
            Self::ReplayClient(options) => replay::client::run(&options),
            Self::ReplayReport(options) => replay_report::run(&options),
            Self::Gets(options) => gets::run(&options),
            Self::Idle(options) => idle::run(&options),
            Self::LayerWal(options) => layer_wal::run(&options),
            Self::Wait(options) => admin::wait(&options),
            Self::Delete(options) => admin::delete(&options),
            Self::Compare(options) => compare::run(&options),
        }
    }
}

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// librdkafka failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A hand-written request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The reports could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A bucket could not be read.
    #[error(transparent)]
    Bucket(#[from] object_store::Error),
    /// What was there to measure is not what the measurement needs.
    #[error("{0}")]
    Unusable(String),
    /// A file or process failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The broker under test did not come up.
    #[error("{command}: died, or gave no metadata at {address} within {seconds} s")]
    NotReady {
        /// What was started, or who was waited for.
        command: String,
        /// Where it should have answered.
        address: String,
        /// How long we waited.
        seconds: u64,
    },
    /// A worker thread panicked.
    #[error("a worker thread panicked")]
    Panicked,
}
