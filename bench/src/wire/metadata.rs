//! Metadata v0: which brokers there are and who leads which partition.
//!
//! ```text
//! request   [topic STRING]                      empty = all topics
//! response  [node INT32, host STRING, port INT32]
//!           [error INT16, name STRING,
//!             [error INT16, index INT32, leader INT32, [replica INT32], [in-sync INT32]]]
//! ```

use super::codec::{Reader, Truncated, Writer};
use super::{Connection, RequestError};

const API_METADATA: i16 = 3;
const VERSION: i16 = 0;

/// A Metadata response, reduced to what a benchmark asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Addresses of the brokers.
    pub(crate) brokers: Vec<String>,
    /// The topics asked for.
    pub(crate) topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Kafka's error code, 0 for none.
    pub(crate) error: i16,
    /// Its name.
    pub(crate) name: String,
    /// Leader of each partition, -1 for none.
    pub(crate) leaders: Vec<i32>,
}

impl Topic {
    /// True once every one of `partitions` partitions has a leader.
    pub(crate) fn is_ready(&self, partitions: u32) -> bool {
        let led = self.leaders.iter().filter(|leader| **leader >= 0).count();
        self.error == 0 && led == self.leaders.len() && led >= partitions as usize
    }
}

impl Connection {
    /// Asks about `topics`. Asking about none asks about all of them, which is what a first
    /// metadata request of many clients does.
    pub(crate) fn metadata(&mut self, topics: &[String]) -> Result<Metadata, RequestError> {
        self.ask(API_METADATA, VERSION, |writer| encode(writer, topics), decode)
    }
}

fn encode(writer: &mut Writer, topics: &[String]) {
    writer.int32(topics.len() as i32);
    topics.iter().for_each(|topic| writer.string(topic));
}

fn decode(reader: &mut Reader<'_>) -> Result<Metadata, Truncated> {
    Ok(Metadata { brokers: reader.array(broker)?, topics: reader.array(topic)? })
}

fn broker(reader: &mut Reader<'_>) -> Result<String, Truncated> {
    let _node = reader.int32()?;
    let host = reader.string()?;
    Ok(format!("{host}:{}", reader.int32()?))
}

fn topic(reader: &mut Reader<'_>) -> Result<Topic, Truncated> {
    Ok(Topic { error: reader.int16()?, name: reader.string()?, leaders: reader.array(leader)? })
}

fn leader(reader: &mut Reader<'_>) -> Result<i32, Truncated> {
    let _error = reader.int16()?;
    let _index = reader.int32()?;
    let leader = reader.int32()?;
    let _replicas = reader.array(Reader::int32)?;
    let _in_sync = reader.array(Reader::int32)?;
    Ok(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One broker `h:9092`; topic `t` with partition 0 led by broker 1.
    const GOLDEN: &[u8] = &[
        0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b'h', 0, 0, 0x23, 0x84, // brokers
        0, 0, 0, 1, 0, 0, 0, 1, b't', 0, 0, 0, 1, // topics
        0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1,
    ];

    #[test]
    fn a_golden_response_decodes() {
        let metadata = decode(&mut Reader::new(GOLDEN)).unwrap();
        assert_eq!(metadata.brokers, ["h:9092"]);
        let topic = Topic { error: 0, name: "t".into(), leaders: vec![1] };
        assert!(topic.is_ready(1) && !topic.is_ready(2));
        assert_eq!(metadata.topics, [topic]);
    }

    #[test]
    fn every_cut_is_refused() {
        for length in 0..GOLDEN.len() {
            assert_eq!(decode(&mut Reader::new(&GOLDEN[..length])), Err(Truncated), "{length}");
        }
    }
}
