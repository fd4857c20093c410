//! `antiphon`: the composition root and the operator's commands.
//!
//! ```text
//!   args.rs      flags, environment and config file become one set of settings
//!   data_dir.rs  the folder: who it belongs to, which format, one process at a time
//!   serve.rs     opens every part in order, runs until told to stop, stops gracefully
//!   inspect/     looks at the log, objects and the catalog without changing anything
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

mod args;
mod data_dir;
mod inspect;
mod logging;
mod memory;
mod serve;
mod settings;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;

/// Stopped as asked.
const EXIT_CLEAN: u8 = 0;
/// Refused to start, or a command failed; one line on standard error says why.
const EXIT_REFUSED: u8 = 1;
/// A fault while running after which this process must not go on.
const EXIT_FATAL: u8 = 3;

fn main() -> ExitCode {
    // clap ends the process with 2 on wrong usage.
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => serve::run(arguments.serve),
        Some(Command::Serve(serve)) => serve::run(serve),
        Some(Command::Inspect(target)) => inspect::run(target),
    };
    match outcome {
        Ok(()) => ExitCode::from(EXIT_CLEAN),
        Err(reason) => {
            eprintln!("antiphon: {reason}");
            ExitCode::from(EXIT_REFUSED)
        }
    }
}
