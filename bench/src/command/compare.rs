//! `compare`: the reports that `bench/run compare` left in a directory, as one table.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::compare::{Comparison, load};
use crate::report::{Report, read_facts};

/// Options of `compare`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Directory of reports named SYSTEM.WORKLOAD.ROUND.json.
    #[arg(long)]
    runs: PathBuf,

    /// The system that is judged.
    #[arg(long, default_value = "antiphon")]
    subject: String,

    /// The system it is compared with.
    #[arg(long, default_value = "kafka")]
    peer: String,

    /// Facts about versions, machine and settings, as a JSON object; goes into both outputs.
    #[arg(long)]
    facts: Option<PathBuf>,

    /// Writes PREFIX.json and PREFIX.md.
    #[arg(long, value_name = "PREFIX")]
    output: Option<PathBuf>,
}

/// Runs `compare`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let runs = load(&options.runs)?;
    let facts = read_facts(options.facts.as_deref())?;
    let comparison = Comparison::new(&options.subject, &options.peer, facts, &runs);
    if let Some(prefix) = &options.output {
        std::fs::write(prefix.with_extension("json"), comparison.json())?;
        std::fs::write(prefix.with_extension("md"), comparison.markdown())?;
    }
    Ok(comparison.report())
}
