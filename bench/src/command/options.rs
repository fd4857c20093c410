//! Options that several subcommands share.

use std::time::Duration;

use clap::Args;

use crate::client::Config;
use crate::wire::{Connection, RequestError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which broker, and what else to tell the client.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Bootstrap addresses, comma-separated.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT,...")]
    pub(crate) brokers: String,

    /// Process id of the broker on this machine, to measure its CPU and memory.
    #[arg(long, value_name = "PID")]
    pub(crate) broker_pid: Option<u32>,

    /// An extra librdkafka property; may be repeated and wins over everything else.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) properties: Vec<(String, String)>,
}

impl Target {
    /// The configuration that every client of the run starts from.
    pub(crate) fn config(&self) -> Config {
        Config::new(&self.brokers)
    }

    /// A connection for hand-written requests.
    pub(crate) fn connect(&self) -> Result<Connection, RequestError> {
        Connection::open(&self.brokers, CONNECT_TIMEOUT)
    }
}

/// Which topics.
#[derive(Args, Clone, Debug)]
pub(crate) struct Topics {
    /// The topic; with several, the prefix of their names.
    #[arg(long, default_value = "bench")]
    pub(crate) topic: String,

    /// How many topics.
    #[arg(long, default_value_t = 1)]
    pub(crate) topics: u32,

    /// Partitions of each topic.
    #[arg(long, default_value_t = 4)]
    pub(crate) partitions: u32,

    /// Replicas of each partition, where topics are created.
    #[arg(long, default_value_t = 1)]
    pub(crate) replication: i16,
}

impl Topics {
    /// `NAME`, or `NAME-0`, `NAME-1`, ... when there are several.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.topics {
            0 | 1 => vec![self.topic.clone()],
            many => (0..many).map(|index| format!("{}-{index}", self.topic)).collect(),
        }
    }
}

/// `1500`, `64KiB`, `2GiB`: a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        unit => return Err(format!("unknown unit {unit:?}: use B, KiB, MiB or GiB")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than 2^64 bytes"))
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_bytes("1500"), Ok(1500));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        assert!(parse_bytes("2GB").is_err() && parse_bytes("GiB").is_err());
        assert!(parse_bytes("99999999999999GiB").is_err());
    }

    #[test]
    fn one_topic_keeps_its_name() {
        let topics =
            |count| Topics { topic: "t".into(), topics: count, partitions: 1, replication: 1 };
        assert_eq!(topics(1).names(), ["t"]);
        assert_eq!(topics(2).names(), ["t-0", "t-1"]);
    }
}
