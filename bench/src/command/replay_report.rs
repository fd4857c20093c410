//! `replay-report`: the reports that `bench/run replay` left in a directory, as tables and plots.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::compare::load;
use crate::replay::Summary;
use crate::report::{Report, read_facts};

/// Options of `replay-report`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Directory of reports named SYSTEM.replay.ROUND.json and raw.gets-CONSUMERS.ROUND.json.
    #[arg(long)]
    runs: PathBuf,

    /// The system that is judged; any other one is its peer.
    #[arg(long, default_value = "antiphon")]
    subject: String,

    /// Facts about versions, machine and settings, as a JSON object.
    #[arg(long)]
    facts: Option<PathBuf>,

    /// Writes PREFIX.json, PREFIX.md and PREFIX.svg.
    #[arg(long, value_name = "PREFIX")]
    output: Option<PathBuf>,
}

/// Runs `replay-report`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let facts = read_facts(options.facts.as_deref())?;
    let summary = Summary::new(&options.subject, facts, &load(&options.runs)?);
    if let Some(prefix) = &options.output {
        std::fs::write(prefix.with_extension("json"), summary.json())?;
        std::fs::write(prefix.with_extension("md"), summary.markdown())?;
        std::fs::write(prefix.with_extension("svg"), summary.svg())?;
    }
    Ok(summary.report())
}
