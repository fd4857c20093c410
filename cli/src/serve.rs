//! Opening every part in order, running, stopping.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use antiphon_broker::config::TopicSettings;
use antiphon_broker::{Broker, BrokerParts, Chain, serve_http};
use antiphon_catalog::{OpenOptions, SlateCatalog, Snapshot};
use antiphon_common::{Environment, TopicId, scheduling};
use antiphon_storage::store::{Store, StoreOptions, StoreUrl, open_store};
use antiphon_storage::{FatalReport, LogConfig, Storage};
use object_store::path::Path as StorePath;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, error, info, warn};

use crate::args::ServeArguments;
use crate::data_dir::{self, DataDir};
use crate::memory::MemoryPlan;
use crate::settings::{self, Settings};
use crate::{EXIT_FATAL, logging};

/// Where the catalog lies in the store.
pub(crate) const CATALOG_PREFIX: &str = "catalog";
/// The niceness of history's threads: live traffic goes first.
const HISTORY_NICENESS: i32 = 10;
const HISTORY_THREADS: usize = 2;
/// File reads and name lookups; a local store's history reads are the main user.
const BLOCKING_THREADS_MAX: usize = 16;

/// Runs a broker until it is told to stop. An error is one line for a person, before anything runs.
pub(crate) fn run(arguments: ServeArguments) -> Result<(), String> {
    let settings = settings::resolve(arguments)?;
    logging::start(&settings.log, settings.log_format)?;
    report_memory(&settings.memory);
    // Every thread from here on has it, the log's writers included; history's give it back.
    if let Err(error) = scheduling::prefer_short_waits() {
        debug!(%error, "no short slices: busy neighbours will be felt");
    }
    let live = runtime("live", None)?;
    let history = runtime("history", Some(HISTORY_NICENESS))?;
    let outcome = live.block_on(serve(settings, &history));
    // Whatever still runs in the background has nothing left to say.
    history.shutdown_background();
    live.shutdown_background();
    outcome
}

fn report_memory(plan: &MemoryPlan) {
    let (sum_mib, machine_mib) = (plan.sum >> 20, plan.machine.map(|bytes| bytes >> 20));
    if plan.exceeds_machine() {
        warn!(sum_mib, machine_mib, "memory budgets exceed this machine; full, it will be killed");
    } else {
        debug!(sum_mib, machine_mib, "memory budgets");
    }
}

fn runtime(name: &'static str, niceness: Option<i32>) -> Result<Runtime, String> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(name).max_blocking_threads(BLOCKING_THREADS_MAX);
    if let Some(niceness) = niceness {
        builder.worker_threads(HISTORY_THREADS).on_thread_start(move || {
            // On Linux this concerns the calling thread. Failing only costs isolation.
            let _ = rustix::process::setpriority_process(None, niceness);
            let _ = scheduling::accept_usual_waits();
        });
    }
    builder.build().map_err(|error| format!("could not start threads: {error}"))
}

struct Sockets {
    kafka: TcpListener,
    http: Option<TcpListener>,
}

async fn serve(settings: Settings, history: &Runtime) -> Result<(), String> {
    // Signals first: one that comes while we open must not kill a half-opened store.
    let mut signals = Signals::new()?;
    let sockets = bind(&settings).await?;
    let broker = tokio::select! {
        opened = open(settings, history) => opened?,
        () = signals.next() => return Ok(()),
    };
    let (broker, data_dir) = broker;
    broker.load_groups();
    announce(&sockets, &data_dir)?;
    if let Some(http) = sockets.http {
        let served = serve_http(http, Arc::clone(&broker));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                error!(%error, "HTTP ended");
            }
        });
    }
    let serving = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.serve(sockets.kafka).await }
    });
    signals.next().await;
    info!("stopping: no new requests, then everything is uploaded");
    broker.stop();
    if let Err(error) = serving.await {
        error!(%error, "the Kafka listener ended badly");
    }
    tokio::select! {
        complete = stop_storage(&broker, history) => report_stop(complete),
        () = signals.next() => warn!("told to stop twice: what is not uploaded stays in the local log"),
    }
    drop(data_dir);
    Ok(())
}

fn report_stop(complete: bool) {
    if complete {
        info!("stopped; the store is complete");
    } else {
        warn!("stopped; some records are only in the local log, keep the data folder");
    }
}

async fn stop_storage(broker: &Arc<Broker>, history: &Runtime) -> bool {
    let storage = Arc::clone(broker.storage());
    let mut last = u64::MAX;
    let closing = history.spawn(async move {
        let progress = |left: u64| {
            if left < last {
                info!(left_bytes = left, "uploading");
                last = left;
            }
        };
        storage.close(progress).await
    });
    closing.await.unwrap_or(false)
}

async fn bind(settings: &Settings) -> Result<Sockets, String> {
    let options = &settings.broker;
    let kafka = Broker::bind(options).map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with --listen",
            options.listen
        )
    })?;
    let http = match options.http {
        None => None,
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
            format!("cannot serve HTTP on {address}: {error}; choose another address with --http, or `--http off`")
        })?),
    };
    Ok(Sockets { kafka, http })
}

async fn open(settings: Settings, history: &Runtime) -> Result<(Arc<Broker>, DataDir), String> {
    let environment = Environment::system();
    // A bucket that cannot be reached must leave no trace here, so it is asked first.
    let early = match settings.store {
        StoreUrl::File(_) => None,
        _ => Some(reach(&settings.store).await?),
    };
    let data_dir = DataDir::open(&settings.data_dir, &*environment.entropy)
        .map_err(|error| error.to_string())?;
    let store = match early {
        Some(store) => store,
        None => reach(&settings.store).await?,
    };
    let catalog_options = catalog_options(&settings, &store, &data_dir, &environment);
    let path = data_dir.path.clone();
    // History's runtime owns what is opened here: the catalog's and storage's background work. Opening
    // itself happens on this thread: the log's writers inherit its niceness, and they serve live traffic.
    let opening = open_parts(settings, catalog_options, path, store, environment);
    let parts = belonging_to(history, opening).await?;
    Ok((Broker::new(parts), data_dir))
}

/// Polls `future` here; what it spawns belongs to `runtime`.
async fn belonging_to<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _inside = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}

fn catalog_options(
    settings: &Settings,
    store: &Store,
    data_dir: &DataDir,
    environment: &Environment,
) -> OpenOptions {
    let objects = Arc::clone(&store.objects);
    let prefix = StorePath::from(CATALOG_PREFIX);
    let broker_id = settings.broker.broker_id;
    OpenOptions {
        local: store.is_local(),
        look_first: data_dir.is_new,
        give_up_other_data_dir: settings.give_up_other_data_dir,
        ..OpenOptions::new(objects, prefix, broker_id, data_dir.id, environment.clone())
    }
}

async fn open_parts(
    settings: Settings,
    catalog_options: OpenOptions,
    data_path: PathBuf,
    store: Store,
    environment: Environment,
) -> Result<BrokerParts, String> {
    let data_dir_id = catalog_options.data_dir_id;
    let (catalog, snapshot) = SlateCatalog::open(catalog_options)
        .await
        .map_err(|error| format!("the catalog did not open: {}", Chain(&error)))?;
    let overtaken = snapshot.previous.as_ref().is_some_and(|last| last.data_dir_id != data_dir_id);
    if overtaken && data_dir::set_log_aside(&data_path).map_err(|error| error.to_string())? {
        info!(
            "another data folder has served this store since; this one's log is void, see wal.void"
        );
    }
    let mut storage_options = settings.storage;
    storage_options.on_fatal = FatalReport(Arc::new(|reason| {
        error!(reason, "cannot go on");
        std::process::exit(i32::from(EXIT_FATAL));
    }));
    let topics = topic_settings(&snapshot);
    let opened = Storage::open(
        storage_options,
        &environment,
        settings.broker.broker_id,
        catalog.clone(),
        &snapshot,
        store,
        |row| topics.get(&row.topic_id).cloned().unwrap_or_default(),
    );
    let (storage, recovered) = opened.await.map_err(|error| Chain(&error).to_string())?;
    info!(
        epoch = snapshot.broker_epoch.get(),
        topics = snapshot.topics.len(),
        partitions = snapshot.partitions.len(),
        recovered_batches = recovered.batches,
        previous_stop_clean = snapshot.previous_stop_clean,
        "opened"
    );
    storage.start().await;
    Ok(BrokerParts { options: settings.broker, environment, catalog, snapshot, storage })
}

/// What storage acts on, for each topic that exists.
fn topic_settings(snapshot: &Snapshot) -> HashMap<TopicId, Arc<LogConfig>> {
    let settings = snapshot.topics.iter().map(|topic| {
        let settings = TopicSettings::resolve(&topic.configs, &snapshot.cluster_configs);
        (topic.topic_id, settings.log)
    });
    settings.collect()
}

async fn reach(url: &StoreUrl) -> Result<Store, String> {
    let options = StoreOptions { create_folder: true, ..StoreOptions::default() };
    let store = open_store(url, &options).map_err(|error| Chain(&error).to_string())?;
    if !store.is_local() {
        store.probe().await.map_err(|error| error.to_string())?;
    }
    Ok(store)
}

/// The first screen: where it is and what to do next.
fn announce(sockets: &Sockets, data_dir: &DataDir) -> Result<(), String> {
    let bound = sockets.kafka.local_addr().map_err(|error| error.to_string())?;
    let http = sockets.http.as_ref().and_then(|socket| socket.local_addr().ok());
    let http_line = http.map_or_else(|| "off".to_owned(), |address| format!("http://{address}"));
    let metrics = http.map_or_else(String::new, |address| {
        format!(
            "  curl -s http://{address}/metrics                            look at its figures\n"
        )
    });
    let text = format!(
        "Antiphon is ready.\n\
         \x20 Kafka  {bound}\n\
         \x20 HTTP   {http_line}\n\
         \x20 Data   {}\n\
         Things to try, from another terminal:\n\
         \x20 echo hello | kcat -P -b {bound} -t greetings            produce a record\n\
         \x20 kcat -C -b {bound} -t greetings -o beginning -e         read it back\n\
         {metrics}\
         Ctrl-C stops it; everything is then in the store.\n",
        data_dir.path.display(),
    );
    let mut out = std::io::stdout().lock();
    // Nobody may be reading; that is no reason to stop.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

/// What an operator or a supervisor sends to stop a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
