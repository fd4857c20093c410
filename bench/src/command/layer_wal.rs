//! `layer-wal`: the write-ahead log without a broker, with one setting changed at a time, and next to
//! it the same pattern with bare threads and with io_uring.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::layer::{Load, Table, Variant, drive, ring_refusal};
use crate::report::{Report, read_facts};

/// Options of `layer-wal`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A folder for the logs, on the disk that is to be measured. Created, and emptied after each run.
    #[arg(long)]
    directory: PathBuf,

    /// One short round.
    #[arg(long)]
    quick: bool,

    /// Rounds; all variants take turns within each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// How long each variant is loaded in each round.
    #[arg(long, default_value_t = 2000, value_name = "MILLISECONDS")]
    milliseconds: u64,

    /// Only variants whose name contains this, such as `io_uring`.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Facts about versions and machine, as a JSON object.
    #[arg(long)]
    facts: Option<PathBuf>,

    /// Writes PREFIX.json and PREFIX.md.
    #[arg(long, value_name = "PREFIX")]
    output: Option<PathBuf>,
}

impl Options {
    fn plan(&self) -> (Vec<Load>, u32, Duration) {
        if self.quick {
            (Load::few(), 1, Duration::from_millis(300))
        } else {
            (Load::all(), self.rounds.max(1), Duration::from_millis(self.milliseconds))
        }
    }

    fn wants(&self, variant: &Variant) -> bool {
        self.only.as_ref().is_none_or(|text| variant.label().contains(text.as_str()))
    }
}

/// Runs `layer-wal`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let mut table = Table::new(read_facts(options.facts.as_deref())?);
    let mut variants = Variant::all();
    variants.retain(|variant| options.wants(variant));
    if let Some(error) = ring_refusal() {
        variants.retain(|variant| !matches!(variant, Variant::Ring { .. }));
        table.problem(format!("io_uring_setup: {error}"));
    }
    let (loads, rounds, length) = options.plan();
    for load in loads {
        measure(&mut table, &variants, load, rounds, |variant| {
            drive(variant, load, &options.directory.join("log"), length)
        });
    }
    if let Some(prefix) = &options.output {
        std::fs::write(prefix.with_extension("json"), table.json())?;
        std::fs::write(prefix.with_extension("md"), table.markdown())?;
    }
    let mut report = Report::new("layer-wal");
    report.text = Some(table.markdown());
    Ok(report)
}

/// A variant that fails is a problem of the table; the others still count.
fn measure(
    table: &mut Table,
    variants: &[Variant],
    load: Load,
    rounds: u32,
    mut run: impl FnMut(Variant) -> std::io::Result<crate::layer::Measured>,
) {
    let mut measured: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for _round in 0..rounds {
        for (index, variant) in variants.iter().enumerate() {
            match run(*variant) {
                Ok(metrics) => measured.entry(index).or_default().push(metrics),
                Err(error) => table.problem(format!("{}: {error}", variant.label())),
            }
        }
    }
    for (index, rounds) in &measured {
        table.add(variants[*index], load, rounds);
    }
}
