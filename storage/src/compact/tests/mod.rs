//! Compaction from end to end: a broker's storage over a store and a log in memory, against a model.

mod faults;
mod history;
mod kit;
mod properties;
