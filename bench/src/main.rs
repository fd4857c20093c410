//! `antiphon-bench`: one subcommand, one report on standard output.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use antiphon_bench::{Command, Failure};
use clap::Parser;

/// Load generator for any Kafka-compatible address.
#[derive(Debug, Parser)]
#[command(name = "antiphon-bench", version, about)]
struct Options {
    #[command(subcommand)]
    command: Command,

    /// Also write the report as JSON to this file.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "antiphon-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A report with problems (lost, repeated or failed records) is printed in full and then fails.
fn run(options: Options) -> Result<ExitCode, Failure> {
    let report = options.command.run()?;
    let _ = write!(std::io::stdout(), "{report}");
    if let Some(path) = options.json {
        report.write_json(&path)?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
