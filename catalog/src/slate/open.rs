//! Opening for writing.
//!
//! The order matters: identity and format, and for a new data folder what the last run left, are read
//! before anything is fenced; what the last run left is checked in any case before anything is
//! written; and the new epoch is durable before anybody learns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_common::{BrokerEpoch, ClusterId, Environment, Lsn};
use slatedb::config::CloseOptions;
use slatedb::{Db, ErrorKind as DatabaseKind};
use tracing::debug;

use super::SlateCatalog;
use super::clock::DatabaseClock;
use super::database::Database;
use super::settings;
use super::state::State;
use super::transaction::{Effect, Transaction};
use super::upkeep::Upkeep;
use crate::inspect::{Entry, read_brokers, scan_entries};
use crate::{
    BrokerConfigRow, BrokerRow, CLUSTER_FORMAT_VERSION, CatalogError, ClusterRow, ConfigScope,
    OpenError, OpenOptions, RowKind, Snapshot, cluster,
};

const OPERATION: &str = "open";

pub(super) async fn open(options: OpenOptions) -> Result<(Arc<SlateCatalog>, Snapshot), OpenError> {
    let cluster = read_or_create_cluster(&options).await?;
    let db = open_database(&options).await?;
    match load(&db, &options).await {
        Ok(loaded) => start(db, options, cluster, loaded).await,
        Err(refusal) => {
            // Nothing was written; what matters is why, not how closing went.
            let quietly = CloseOptions { flush_type: None };
            db.close_with_options(quietly).await.ok();
            Err(refusal)
        }
    }
}

async fn read_or_create_cluster(options: &OpenOptions) -> Result<ClusterRow, OpenError> {
    let location = options.cluster_location();
    if let Some(found) = cluster::read(&*options.store, &location).await? {
        if options.look_first {
            look_at_data_folders(options).await?;
        }
        return Ok(found);
    }
    if !options.create_if_missing {
        return Err(OpenError::NotFound { location: options.prefix.to_string() });
    }
    let mut id = [0; 16];
    options.environment.entropy.fill(&mut id);
    let row = ClusterRow {
        format_version: CLUSTER_FORMAT_VERSION,
        cluster_id: ClusterId::from_bytes(id),
        created_at: options.environment.clock.now(),
    };
    cluster::create(&*options.store, &location, row).await
}

/// Checks the data folder without fencing anybody. What cannot be read now is left to the check after
/// opening, which reads it again anyway.
async fn look_at_data_folders(options: &OpenOptions) -> Result<(), OpenError> {
    match read_brokers(Arc::clone(&options.store), &options.prefix).await {
        Ok(brokers) => check_data_folder(&brokers, options),
        Err(error) => {
            debug!(%error, "data folders could not be compared before opening");
            Ok(())
        }
    }
}

async fn open_database(options: &OpenOptions) -> Result<Db, OpenError> {
    let opened = Db::builder(options.database_location(), Arc::clone(&options.store))
        .with_settings(settings::database())
        .with_db_cache(settings::cache(), 0)
        .with_system_clock(database_clock(&options.environment))
        .with_seed(options.environment.entropy.u64())
        .build()
        .await;
    opened.map_err(|source| match source.kind() {
        DatabaseKind::Unavailable => OpenError::Unavailable { source: source.into() },
        _ => OpenError::Load(CatalogError::from_database(OPERATION, source)),
    })
}

fn database_clock(environment: &Environment) -> Arc<DatabaseClock> {
    Arc::new(DatabaseClock::new(Arc::clone(&environment.clock)))
}

/// What the last run left.
struct Loaded {
    brokers: Vec<BrokerRow>,
    effects: Vec<Effect>,
    configs: Vec<BrokerConfigRow>,
}

async fn load(db: &Db, options: &OpenOptions) -> Result<Loaded, OpenError> {
    let mut loaded = Loaded { brokers: Vec::new(), effects: Vec::new(), configs: Vec::new() };
    let range = vec![RowKind::ALL[0].tag()]..vec![RowKind::FIRST_NOT_LOADED.tag()];
    scan_entries(db, OPERATION, range, |entry| match entry {
        Entry::Broker(row) => loaded.brokers.push(row),
        Entry::Topic(row) => loaded.effects.push(Effect::Topic(row)),
        Entry::Partition(row) => loaded.effects.push(Effect::Partition(row)),
        Entry::Counter(row) => loaded.effects.push(Effect::Counter(row)),
        Entry::TopicDeletion(row) => loaded.effects.push(Effect::TopicDeletion(row)),
        Entry::BrokerConfig(row) => loaded.configs.push(row),
        _ => {}
    })
    .await?;
    check_data_folder(&loaded.brokers, options)?;
    Ok(loaded)
}

/// Refuses to start without the folder that holds acknowledged records which are nowhere else. Every
/// broker's row counts, not only ours: a store has one owner, and whoever opens it under another
/// broker id takes the same partitions over.
fn check_data_folder(brokers: &[BrokerRow], options: &OpenOptions) -> Result<(), OpenError> {
    let elsewhere = |row: &&BrokerRow| !row.clean_stop && row.data_dir_id != options.data_dir_id;
    match brokers.iter().find(elsewhere) {
        Some(row) if !options.give_up_other_data_dir => {
            let (expected, found) = (row.data_dir_id, options.data_dir_id);
            Err(OpenError::OtherDataFolder { expected, found })
        }
        _ => Ok(()),
    }
}

async fn start(
    db: Db,
    options: OpenOptions,
    cluster: ClusterRow,
    loaded: Loaded,
) -> Result<(Arc<SlateCatalog>, Snapshot), OpenError> {
    let Loaded { brokers, effects, configs } = loaded;
    let (ours, others): (Vec<_>, Vec<_>) =
        brokers.into_iter().partition(|row| row.broker_id == options.broker_id);
    let previous = ours.into_iter().next();
    let broker = next_run(previous.as_ref(), &options);
    let mut state = State::new(broker.clone());
    state.apply(effects);
    state.check()?;
    let snapshot = snapshot(&state, cluster, previous, &configs);
    let database = Arc::new(Database::new(db.clone()));
    let upkeep = Upkeep {
        db,
        store: Arc::clone(&options.store),
        location: options.database_location(),
        local: options.local,
        table_written: database.table_written(),
        clock: database_clock(&options.environment),
    };
    let catalog = SlateCatalog {
        database,
        state: Arc::new(tokio::sync::Mutex::new(state)),
        broker_id: options.broker_id,
        broker_epoch: broker.epoch,
        environment: options.environment,
        deletion_grace: options.deletion_grace,
        operation_limit: options.operation_limit,
        upkeep: tokio::spawn(upkeep.run()).abort_handle(),
    };
    let mut transaction = Transaction::default();
    transaction.put_broker(broker);
    // What was given up is given up; nobody has to say so at every start.
    let given_up = |row: &BrokerRow| !row.clean_stop && row.data_dir_id != options.data_dir_id;
    for row in others.into_iter().filter(given_up) {
        transaction.put(&BrokerRow { clean_stop: true, ..row });
    }
    let turn = catalog.turn().await;
    catalog.commit(OPERATION, turn, transaction).await?;
    Ok((Arc::new(catalog), snapshot))
}

/// This run's row: the next epoch, and no clean stop until there is one.
fn next_run(previous: Option<&BrokerRow>, options: &OpenOptions) -> BrokerRow {
    let epoch = previous.map_or(0, |row| row.epoch.get().saturating_add(1));
    BrokerRow {
        broker_id: options.broker_id,
        epoch: BrokerEpoch(epoch),
        flushed_lsn: previous.map_or(Lsn::ZERO, |row| row.flushed_lsn),
        clean_stop: false,
        data_dir_id: options.data_dir_id,
    }
}

fn snapshot(
    state: &State,
    cluster: ClusterRow,
    previous: Option<BrokerRow>,
    configs: &[BrokerConfigRow],
) -> Snapshot {
    let configs_of = |scope| -> BTreeMap<_, _> {
        let rows = configs.iter().filter(|row| row.scope == scope);
        rows.map(|row| (row.name.clone(), row.value.clone())).collect()
    };
    Snapshot {
        cluster,
        broker_id: state.broker.broker_id,
        broker_epoch: state.broker.epoch,
        flushed_lsn: state.broker.flushed_lsn,
        previous_stop_clean: previous.as_ref().is_none_or(|row| row.clean_stop),
        previous,
        topics: state.topics().cloned().collect(),
        partitions: state.partitions().cloned().collect(),
        cluster_configs: configs_of(ConfigScope::Cluster),
        broker_configs: configs_of(ConfigScope::Broker(state.broker.broker_id)),
        unfinished_deletions: state.deletions(),
    }
}
