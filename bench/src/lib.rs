//! Load generator and broker comparison for any Kafka-compatible address.
//!
//! ```text
//! command/*   one file per subcommand: options in, one Report out
//!   |- client/   librdkafka behind a small safe wall: Config, Producer, Consumer
//!   |- wire/     the few requests that are better written by hand: Metadata, topics
//!   |- pace      when an open-loop record is due
//!   |- latency   histogram and percentiles
//!   |- process   what a process cost: CPU and memory from /proc
//!   |- series, metrics_page   counters watched over time; a broker's own figures
//!   `- report    the numbers of one run, as a table and as JSON
//! compare/    many reports of two systems -> medians, ratios, bars
//! replay/     many reports of a replay benchmark -> medians, bars, plots
//! plot/       charts as SVG
//! layer/      one layer of the broker alone: the write-ahead log
//! ```
//!
//! Two rules decide whether a number here means anything:
//!
//! 1. *Latency is measured from the moment a record was due*, not from the moment a delayed client
//!    got around to sending it (Tene, "How NOT to measure latency", 2015). Only `--rate` and
//!    `roundtrip` do that; a closed loop's latency is mostly its own queue.
//! 2. *The client shares the machine.* On few cores its CPU time is part of every throughput, so
//!    each report carries the CPU seconds of both sides.

#![warn(missing_docs)]

mod client;
mod command;
mod compare;
mod latency;
mod layer;
mod metrics_page;
mod pace;
mod plot;
mod process;
mod replay;
mod report;
mod series;
mod wire;

pub use command::{Command, Failure};
pub use report::Report;
