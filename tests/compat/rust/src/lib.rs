//! What every client writes and must read back, and how a story reports its steps.
//!
//! Record `i` goes to partition `i % 3` and so gets offset `i / 3`; its key, value, header and
//! timestamp all tell `i`, so that any mix-up of records, partitions or offsets shows. The first
//! 300 records come 60 per codec; the 60 from 300 on are written after the broker's restart.

use std::error::Error;
use std::future::Future;
use std::ops::Range;

/// Partitions of every story's topic.
pub const PARTITIONS: i32 = 3;
/// Records written before the restart.
pub const BEFORE_RESTART: i64 = 300;
/// Records in the end.
pub const TOTAL: i64 = 360;
/// What the group commits in each partition: the first half.
pub const COMMITTED_OFFSET: i64 = 50;
/// The first record past the committed half.
pub const FIRST_UNCOMMITTED: i64 = COMMITTED_OFFSET * PARTITIONS as i64;
/// The record whose timestamp the stories seek.
pub const SOUGHT: i64 = 150;
/// Settings that every client that can gives its topic.
pub const TOPIC_CONFIG: [(&str, &str); 2] =
    [("retention.ms", "864000000"), ("max.message.bytes", "1500000")];

const RECORDS_PER_CODEC: i64 = 60;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// What a step may end with.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// One record in the terms all clients share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: String,
    pub value: String,
    pub header_n: String,
}

/// The command line of a story: `PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS`.
#[derive(Debug)]
pub struct Ledger {
    pub phase: String,
    pub bootstrap: String,
    pub topic: String,
    pub base_ms: i64,
}

impl Ledger {
    pub fn from_args(client: &str) -> Outcome<Self> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [phase, bootstrap, prefix, base_ms] = args.as_slice() else {
            return Err("usage: PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS".into());
        };
        Ok(Self {
            phase: phase.clone(),
            bootstrap: bootstrap.clone(),
            topic: format!("{prefix}-{client}"),
            base_ms: base_ms.parse()?,
        })
    }

    pub fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    pub fn timestamp_ms(&self, i: i64) -> i64 {
        self.base_ms + i * 1000
    }

    pub fn record(&self, i: i64) -> Record {
        Record {
            partition: (i % i64::from(PARTITIONS)) as i32,
            offset: i / i64::from(PARTITIONS),
            timestamp_ms: self.timestamp_ms(i),
            key: format!("k-{i}"),
            value: format!("v-{i}"),
            header_n: i.to_string(),
        }
    }

    /// `got` must be exactly the records of `range`, in order within each partition.
    pub fn expect(&self, got: &[Record], range: Range<i64>) -> Outcome {
        for partition in 0..PARTITIONS {
            let ours = range.clone().map(|i| self.record(i)).filter(|r| r.partition == partition);
            let theirs = got.iter().filter(|r| r.partition == partition);
            for (want, have) in ours.zip(theirs) {
                expect_eq("record", have, &want)?;
            }
        }
        expect_eq("number of records", &(got.len() as i64), &(range.end - range.start))
    }
}

/// Runs of records that share a codec, in order.
pub fn by_codec(range: Range<i64>) -> impl Iterator<Item = (&'static str, Range<i64>)> {
    let end = range.end;
    range.step_by(RECORDS_PER_CODEC as usize).map(move |start| {
        let codec = CODECS[(start / RECORDS_PER_CODEC) as usize % CODECS.len()];
        (codec, start..end.min(start + RECORDS_PER_CODEC))
    })
}

/// An equality that fails with both sides.
pub fn expect_eq<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, wanted: &T) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{what}: wanted {wanted:?}, got {got:?}").into())
}

/// One line of verdict; a story ends at its first broken step, since the rest builds on it.
pub async fn step<T>(name: &str, work: impl Future<Output = Outcome<T>>) -> T {
    match work.await {
        Ok(value) => {
            println!("ok {name}");
            value
        }
        Err(error) => {
            println!("FAIL {name}: {error}");
            std::process::exit(1);
        }
    }
}
