//! CreateTopics v4 and DeleteTopics v3.
//!
//! ```text
//! create   [name STRING, partitions INT32, replication INT16, [assignment], [config]]
//!          timeout_ms INT32, validate_only INT8
//!       -> throttle_ms INT32, [name STRING, error INT16, message STRING]
//! delete   [name STRING], timeout_ms INT32
//!       -> throttle_ms INT32, [name STRING, error INT16]
//! ```

use std::thread;
use std::time::Duration;

use antiphon_common::Clock;

use super::codec::{Reader, Truncated, Writer};
use super::{Connection, REQUEST_TIMEOUT, RequestError};

const API_CREATE_TOPICS: i16 = 19;
const API_DELETE_TOPICS: i16 = 20;
const CREATE_VERSION: i16 = 4;
const DELETE_VERSION: i16 = 3;

const NO_ERROR: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const REQUEST_TIMED_OUT: i16 = 7;
const TOPIC_ALREADY_EXISTS: i16 = 36;

const READY_POLL: Duration = Duration::from_millis(2);

impl Connection {
    /// Creates `topics` where they do not exist yet and waits until every partition has a leader.
    pub(crate) fn create_topics(
        &mut self,
        clock: &dyn Clock,
        topics: &[String],
        partitions: u32,
        replication: i16,
    ) -> Result<(), RequestError> {
        let results = self.ask(
            API_CREATE_TOPICS,
            CREATE_VERSION,
            |writer| encode_create(writer, topics, partitions, replication),
            decode_create,
        )?;
        accept(results, TOPIC_ALREADY_EXISTS)?;
        self.await_leaders(clock, topics, partitions)
    }

    /// Deletes `topics`; one that does not exist is as good as deleted.
    pub(crate) fn delete_topics(&mut self, topics: &[String]) -> Result<(), RequestError> {
        let results = self.ask(
            API_DELETE_TOPICS,
            DELETE_VERSION,
            |writer| encode_delete(writer, topics),
            decode_delete,
        )?;
        accept(results, UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn await_leaders(
        &mut self,
        clock: &dyn Clock,
        topics: &[String],
        partitions: u32,
    ) -> Result<(), RequestError> {
        let deadline = clock.monotonic() + REQUEST_TIMEOUT;
        loop {
            let metadata = self.metadata(topics)?;
            let waiting = metadata.topics.iter().find(|topic| !topic.is_ready(partitions));
            let Some(topic) = waiting else { return Ok(()) };
            if clock.monotonic() > deadline {
                let what = format!("{} never had {partitions} leaders", topic.name);
                return Err(RequestError::Refused { what, code: REQUEST_TIMED_OUT });
            }
            thread::sleep(READY_POLL);
        }
    }
}

fn accept(results: Vec<(String, i16)>, tolerated: i16) -> Result<(), RequestError> {
    let refused = |code| code != NO_ERROR && code != tolerated;
    match results.into_iter().find(|(_, code)| refused(*code)) {
        Some((what, code)) => Err(RequestError::Refused { what, code }),
        None => Ok(()),
    }
}

fn encode_create(writer: &mut Writer, topics: &[String], partitions: u32, replication: i16) {
    writer.int32(topics.len() as i32);
    for topic in topics {
        writer.string(topic);
        writer.int32(partitions as i32);
        writer.int16(replication);
        writer.int32(0); // no manual assignment
        writer.int32(0); // no config
    }
    writer.int32(REQUEST_TIMEOUT.as_millis() as i32);
    writer.int8(0); // do it, do not only validate
}

fn decode_create(reader: &mut Reader<'_>) -> Result<Vec<(String, i16)>, Truncated> {
    let _throttle_ms = reader.int32()?;
    reader.array(|reader| {
        let result = (reader.string()?, reader.int16()?);
        let _message = reader.string()?;
        Ok(result)
    })
}

fn encode_delete(writer: &mut Writer, topics: &[String]) {
    writer.int32(topics.len() as i32);
    topics.iter().for_each(|topic| writer.string(topic));
    writer.int32(REQUEST_TIMEOUT.as_millis() as i32);
}

fn decode_delete(reader: &mut Reader<'_>) -> Result<Vec<(String, i16)>, Truncated> {
    let _throttle_ms = reader.int32()?;
    reader.array(|reader| Ok((reader.string()?, reader.int16()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_response_decodes_with_a_null_message() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 36, 0xff, 0xff];
        assert_eq!(decode_create(&mut Reader::new(&bytes)), Ok(vec![("t".into(), 36)]));
        assert_eq!(decode_create(&mut Reader::new(&bytes[..14])), Err(Truncated));
    }

    #[test]
    fn only_the_tolerated_error_passes() {
        assert!(accept(vec![("t".into(), TOPIC_ALREADY_EXISTS)], TOPIC_ALREADY_EXISTS).is_ok());
        let refused = accept(vec![("t".into(), 37)], TOPIC_ALREADY_EXISTS);
        assert!(matches!(refused, Err(RequestError::Refused { code: 37, .. })));
    }
}
