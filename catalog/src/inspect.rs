//! Looking at a catalog without opening it for writing: nothing is fenced, nothing is written.

use std::ops::Range;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::config::{DbReaderOptions, ScanOptions};
use slatedb::{DbIterator, DbReadOps, DbReader, DbReaderMode};

use crate::options::{cluster_location, database_location};
use crate::rows::Row;
use crate::slate::{BULK_READ, hexadecimal, prefix_range};
use crate::{
    BrokerConfigRow, BrokerRow, CatalogError, ClusterRow, CounterRow, DeletionRow, ObjectRow,
    OpenError, PartitionRow, ProducerRow, RowError, RowKind, SegmentRow, TopicDeletionRow,
    TopicRow, cluster,
};

const OPERATION: &str = "inspect";

/// One row of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the row that it names")]
pub enum Entry {
    Broker(BrokerRow),
    Topic(TopicRow),
    Partition(PartitionRow),
    Counter(CounterRow),
    BrokerConfig(BrokerConfigRow),
    TopicDeletion(TopicDeletionRow),
    Segment(SegmentRow),
    Object(ObjectRow),
    Deletion(DeletionRow),
    Producer(ProducerRow),
}

impl Entry {
    /// Which kind of row this is.
    pub const fn kind(&self) -> RowKind {
        match self {
            Self::Broker(_) => RowKind::Broker,
            Self::Topic(_) => RowKind::Topic,
            Self::Partition(_) => RowKind::Partition,
            Self::Counter(_) => RowKind::Counter,
            Self::BrokerConfig(_) => RowKind::BrokerConfig,
            Self::TopicDeletion(_) => RowKind::TopicDeletion,
            Self::Segment(_) => RowKind::Segment,
            Self::Object(_) => RowKind::Object,
            Self::Deletion(_) => RowKind::Deletion,
            Self::Producer(_) => RowKind::Producer,
        }
    }

    /// The row that `key` and `value` hold, or `None` if the key is of no known kind.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Result<Self, (RowKind, RowError)>> {
        let kind = RowKind::from_tag(*key.first()?)?;
        let decoded = match kind {
            RowKind::Broker => BrokerRow::decode(key, value).map(Self::Broker),
            RowKind::Topic => TopicRow::decode(key, value).map(Self::Topic),
            RowKind::Partition => PartitionRow::decode(key, value).map(Self::Partition),
            RowKind::Counter => CounterRow::decode(key, value).map(Self::Counter),
            RowKind::BrokerConfig => BrokerConfigRow::decode(key, value).map(Self::BrokerConfig),
            RowKind::TopicDeletion => TopicDeletionRow::decode(key, value).map(Self::TopicDeletion),
            RowKind::Segment => SegmentRow::decode(key, value).map(Self::Segment),
            RowKind::Object => ObjectRow::decode(key, value).map(Self::Object),
            RowKind::Deletion => DeletionRow::decode(key, value).map(Self::Deletion),
            RowKind::Producer => ProducerRow::decode(key, value).map(Self::Producer),
        };
        Some(decoded.map_err(|source| (kind, source)))
    }
}

/// A catalog, open for reading only, as it was when it was opened. Do not keep one for long: a
/// writer's garbage collection does not wait for it.
pub struct Inspector {
    cluster: ClusterRow,
    reader: DbReader,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Inspector {
    /// Opens the catalog under `prefix` for reading.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: &Path) -> Result<Self, OpenError> {
        let Some(cluster) = cluster::read(&*store, &cluster_location(prefix)).await? else {
            return Err(OpenError::NotFound { location: prefix.to_string() });
        };
        let reader = DbReader::builder(database_location(prefix), store)
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_options(DbReaderOptions {
                // A person waits for the answer: better an error than silence.
                object_store_max_retries: Some(5),
                ..DbReaderOptions::default()
            })
            .with_db_cache_disabled()
            .build()
            .await
            .map_err(|source| CatalogError::from_database(OPERATION, source))?;
        Ok(Self { cluster, reader })
    }

    /// The cluster's identity and format.
    pub fn cluster(&self) -> &ClusterRow {
        &self.cluster
    }

    /// Calls `visit` with every row, kind by kind in the order of their keys.
    pub async fn visit(&self, visit: impl FnMut(Entry) + Send) -> Result<(), CatalogError> {
        let [first, .., last] = RowKind::ALL;
        let all = vec![first.tag()]..vec![last.tag() + 1];
        scan_entries(&self.reader, OPERATION, all, visit).await
    }

    /// Stops reading.
    pub async fn close(self) -> Result<(), CatalogError> {
        let closed = self.reader.close().await;
        closed.map_err(|source| CatalogError::from_database(OPERATION, source))
    }
}

/// The rows of all brokers, read without opening for writing.
pub(crate) async fn read_brokers(
    store: Arc<dyn ObjectStore>,
    prefix: &Path,
) -> Result<Vec<BrokerRow>, OpenError> {
    let inspector = Inspector::open(store, prefix).await?;
    let mut brokers = Vec::new();
    let range = prefix_range(vec![RowKind::Broker.tag()]);
    let scanned = scan_entries(&inspector.reader, OPERATION, range, |entry| {
        if let Entry::Broker(row) = entry {
            brokers.push(row);
        }
    });
    scanned.await?;
    inspector.close().await?;
    Ok(brokers)
}

/// Calls `visit` with every row in `range`. Rows of kinds that this program does not know are left
/// out: whether that is right is decided by the format version, before this is called.
pub(crate) async fn scan_entries(
    rows: &impl DbReadOps,
    operation: &'static str,
    range: Range<Vec<u8>>,
    mut visit: impl FnMut(Entry) + Send,
) -> Result<(), CatalogError> {
    let failed = |source| CatalogError::from_database(operation, source);
    let options = ScanOptions { read_ahead_bytes: BULK_READ, ..ScanOptions::default() };
    let mut stored: DbIterator = rows.scan_with_options(range, &options).await.map_err(failed)?;
    while let Some(row) = stored.next().await.map_err(failed)? {
        match Entry::decode(&row.key, &row.value) {
            Some(Ok(entry)) => visit(entry),
            Some(Err((kind, source))) => {
                let key = hexadecimal(&row.key);
                return Err(CatalogError::CorruptRow { kind, key, source });
            }
            None => {}
        }
    }
    Ok(())
}
