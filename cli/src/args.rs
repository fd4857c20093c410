//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use antiphon_reply::{CorrelationId, Profile};
use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Without a command, antiphon starts a broker with everything embedded: data in ./antiphon-data, Kafka \
on 127.0.0.1:9092, HTTP on 127.0.0.1:9080.

Every setting can come from a flag, from the environment (the name in brackets) or from a TOML file \
(--config; keys are the flags' names); the first of these wins. S3 stores read the standard AWS_* \
environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL for MinIO).

Exit codes: 0 clean stop, 1 refused to start, 2 wrong usage, 3 fatal fault while running.";

/// A Kafka-compatible broker whose history lives in object storage.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version, about, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker (also what happens without a command)
    Serve(ServeArguments),
    /// Look at what is stored, check it, change nothing
    #[command(subcommand)]
    Inspect(InspectTarget),
}

/// Which write-ahead log makes records durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WalKind {
    /// On this machine's disk, synced before every acknowledgement
    File,
    /// In the object store (not built yet)
    Object,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Settings of a broker. All are optional here; defaults come last, in `settings.rs`.
#[derive(Args, Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ServeArguments {
    /// TOML file with settings
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Where Kafka clients connect [default: 127.0.0.1:9092]
    #[arg(long, env = "ANTIPHON_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The address that clients are told to use [default: the listening address]
    #[arg(long, env = "ANTIPHON_ADVERTISE", value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,

    /// Where HTTP is served: /health/live, /health/ready, /metrics; `off` for none [default: 127.0.0.1:9080]
    #[arg(long, env = "ANTIPHON_HTTP", value_name = "ADDRESS:PORT")]
    pub(crate) http: Option<String>,

    /// The folder for the write-ahead log, and for the store if that is local [default: ./antiphon-data]
    #[arg(long, env = "ANTIPHON_DATA_DIR", value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where history lives: file://FOLDER, s3://BUCKET/PREFIX or memory:// [default: file://DATA-DIR/store]
    #[arg(long, env = "ANTIPHON_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,

    /// What makes records durable before they are acknowledged [default: file]
    #[arg(long, env = "ANTIPHON_WAL", value_enum)]
    pub(crate) wal: Option<WalKind>,

    /// This broker's id [default: 0]
    #[arg(long, env = "ANTIPHON_BROKER_ID", value_name = "ID")]
    pub(crate) broker_id: Option<i32>,

    /// Memory for records that are not in history yet, such as 256MiB [default: 256MiB, less on small machines]
    #[arg(long, env = "ANTIPHON_TAIL_MEMORY", value_name = "SIZE")]
    pub(crate) tail_memory: Option<String>,

    /// Memory for the newest records that are in history already; 0 for none [default: 1GiB, less on small machines]
    #[arg(long, env = "ANTIPHON_TAIL_CACHE_MEMORY", value_name = "SIZE")]
    pub(crate) tail_cache_memory: Option<String>,

    /// Memory for requests that are being received or handled [default: 256MiB, less on small machines]
    #[arg(long, env = "ANTIPHON_REQUEST_MEMORY", value_name = "SIZE")]
    pub(crate) request_memory: Option<String>,

    /// Memory for fetch answers that are being made or sent [default: 256MiB, less on small machines]
    #[arg(long, env = "ANTIPHON_RESPONSE_MEMORY", value_name = "SIZE")]
    pub(crate) response_memory: Option<String>,

    /// Memory for blocks of history [default: 64MiB, less on small machines]
    #[arg(long, env = "ANTIPHON_CACHE_MEMORY", value_name = "SIZE")]
    pub(crate) cache_memory: Option<String>,

    /// Whether reads of history from a bucket that are slow for their size are sent a second time [default: true]
    #[arg(long, env = "ANTIPHON_HEDGE_READS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) hedge_reads: Option<bool>,

    /// Bytes a second that reads of history may take from the store, such as 100MiB [default: no limit]
    #[arg(long, env = "ANTIPHON_HISTORY_RATE", value_name = "SIZE")]
    pub(crate) history_rate: Option<String>,

    /// Bytes a second that merging and compaction may move while producers are at work [default: 32MiB]
    #[arg(long, env = "ANTIPHON_BACKGROUND_RATE", value_name = "SIZE")]
    pub(crate) background_rate: Option<String>,

    /// Disk for the write-ahead log [default: 4GiB]
    #[arg(long, env = "ANTIPHON_WAL_DISK", value_name = "SIZE")]
    pub(crate) wal_disk: Option<String>,

    /// Seconds that a record stays out of the store at most while there is little traffic [default: 30]
    #[arg(long, env = "ANTIPHON_FLUSH_INTERVAL", value_name = "SECONDS")]
    pub(crate) flush_interval: Option<f64>,

    /// Seconds between two looks at retention [default: 300]
    #[arg(long, env = "ANTIPHON_RETENTION_INTERVAL", value_name = "SECONDS")]
    pub(crate) retention_interval: Option<f64>,

    /// Seconds between looks at what topics with cleanup.policy=compact have to compact [default: 15]
    #[arg(long, env = "ANTIPHON_COMPACTION_INTERVAL", value_name = "SECONDS")]
    pub(crate) compaction_interval: Option<f64>,

    /// Partitions of topics whose creator does not say [default: 1]
    #[arg(long, env = "ANTIPHON_DEFAULT_PARTITIONS", value_name = "COUNT")]
    pub(crate) default_partitions: Option<i32>,

    /// Whether clients create topics by using them [default: true]
    #[arg(long, env = "ANTIPHON_AUTO_CREATE_TOPICS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) auto_create_topics: Option<bool>,

    /// Milliseconds that a new consumer group waits for more members [default: 3000]
    #[arg(long, env = "ANTIPHON_GROUP_INITIAL_REBALANCE_DELAY_MS", value_name = "MS")]
    pub(crate) group_initial_rebalance_delay_ms: Option<u64>,

    /// Start although the last run did not end cleanly in another data folder; what that folder alone holds is given up
    #[arg(long, env = "ANTIPHON_GIVE_UP_OTHER_DATA_DIR", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) give_up_other_data_dir: Option<bool>,

    /// What to log, such as `info` or `antiphon_broker=debug,info` [default: info]
    #[arg(long, env = "ANTIPHON_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How log lines look [default: text]
    #[arg(long, env = "ANTIPHON_LOG_FORMAT", value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum InspectTarget {
    /// Segments and frames of a write-ahead log, every checksum verified
    Wal {
        /// The log's folder (DATA-DIR/wal), or a data folder
        folder: PathBuf,
        /// Print every frame, not only every segment
        #[arg(long)]
        frames: bool,
    },
    /// Sections and blocks of an object, every checksum verified
    Object {
        /// The object: a file
        file: PathBuf,
        /// Print every record batch
        #[arg(long)]
        batches: bool,
        /// Print only the records of this correlation id: its text, or its bytes as hex:... or b64:...
        #[arg(long, value_name = "ID", conflicts_with = "batches")]
        correlation: Option<CorrelationId>,
        /// Headers beside those of Spring, Nest, SmallRye and Zilla:
        /// `correlation=HEADER|@key[,reply-topic=HEADER][,reply-partition=HEADER][,error=HEADER][,end=HEADER]`
        #[arg(long, value_name = "FIELDS", requires = "correlation")]
        profile: Option<Profile>,
    },
    /// Rows of a catalog
    Catalog {
        /// The store: file://FOLDER or s3://BUCKET/PREFIX, or a data folder
        store: String,
        /// Print only rows of this kind, such as `topic`, `segment`, `object`
        #[arg(long)]
        kind: Option<String>,
    },
}
