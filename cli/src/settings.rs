//! One set of settings from flags, environment, file and defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_broker::{BrokerOptions, Endpoint};
use antiphon_common::BrokerId;
use antiphon_storage::StorageOptions;
use antiphon_storage::store::StoreUrl;

use crate::args::{LogFormat, ServeArguments, WalKind};
use crate::memory::{self, MemoryPlan, Wishes};

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerOptions,
    pub(crate) storage: StorageOptions,
    pub(crate) memory: MemoryPlan,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreUrl,
    pub(crate) give_up_other_data_dir: bool,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

/// Resolves all settings; the error is one line for a person.
pub(crate) fn resolve(arguments: ServeArguments) -> Result<Settings, String> {
    let file = match &arguments.config {
        Some(path) => read_file(path)?,
        None => ServeArguments::default(),
    };
    let merged = merge(arguments, file);
    if merged.wal == Some(WalKind::Object) {
        return Err("--wal object is not built yet; use --wal file".to_owned());
    }
    let data_dir = merged.data_dir.clone().unwrap_or_else(|| PathBuf::from("antiphon-data"));
    let store = match &merged.store {
        Some(url) => url.parse().map_err(|error| format!("--store {error}"))?,
        None => StoreUrl::File(absolute(&data_dir)?.join("store")),
    };
    let memory = memory::plan(memory_wishes(&merged)?, memory::of_this_machine())?;
    let mut broker = broker_options(&merged)?;
    let mut storage = storage_options(&merged, &data_dir)?;
    give_memory(&memory, &mut broker, &mut storage);
    Ok(Settings {
        broker,
        storage,
        memory,
        store,
        data_dir,
        give_up_other_data_dir: merged.give_up_other_data_dir.unwrap_or(false),
        log: merged.log.unwrap_or_else(|| "info".to_owned()),
        log_format: merged.log_format.unwrap_or(LogFormat::Text),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_file(path: &Path) -> Result<ServeArguments, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--config {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
        format!("--config {}: {line}", path.display())
    })
}

fn merge(first: ServeArguments, second: ServeArguments) -> ServeArguments {
    ServeArguments {
        config: first.config,
        listen: first.listen.or(second.listen),
        advertise: first.advertise.or(second.advertise),
        http: first.http.or(second.http),
        data_dir: first.data_dir.or(second.data_dir),
        store: first.store.or(second.store),
        wal: first.wal.or(second.wal),
        broker_id: first.broker_id.or(second.broker_id),
        tail_memory: first.tail_memory.or(second.tail_memory),
        tail_cache_memory: first.tail_cache_memory.or(second.tail_cache_memory),
        cache_memory: first.cache_memory.or(second.cache_memory),
        request_memory: first.request_memory.or(second.request_memory),
        response_memory: first.response_memory.or(second.response_memory),
        hedge_reads: first.hedge_reads.or(second.hedge_reads),
        history_rate: first.history_rate.or(second.history_rate),
        background_rate: first.background_rate.or(second.background_rate),
        wal_disk: first.wal_disk.or(second.wal_disk),
        flush_interval: first.flush_interval.or(second.flush_interval),
        retention_interval: first.retention_interval.or(second.retention_interval),
        compaction_interval: first.compaction_interval.or(second.compaction_interval),
        default_partitions: first.default_partitions.or(second.default_partitions),
        auto_create_topics: first.auto_create_topics.or(second.auto_create_topics),
        group_initial_rebalance_delay_ms: first
            .group_initial_rebalance_delay_ms
            .or(second.group_initial_rebalance_delay_ms),
        give_up_other_data_dir: first.give_up_other_data_dir.or(second.give_up_other_data_dir),
        log: first.log.or(second.log),
        log_format: first.log_format.or(second.log_format),
    }
}

fn broker_options(merged: &ServeArguments) -> Result<BrokerOptions, String> {
    let listen = merged.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)));
    let mut options = BrokerOptions::new(listen);
    options.broker_id = BrokerId(merged.broker_id.unwrap_or(0));
    options.advertised = merged.advertise.as_deref().map(endpoint).transpose()?;
    options.http = http_address(merged.http.as_deref())?;
    options.default_partitions = merged.default_partitions.unwrap_or(1);
    options.auto_create_topics = merged.auto_create_topics.unwrap_or(true);
    if let Some(delay) = merged.group_initial_rebalance_delay_ms {
        options.initial_rebalance_delay = Duration::from_millis(delay);
    }
    if options.broker_id.0 < 0 {
        return Err("--broker-id must not be negative".to_owned());
    }
    if options.default_partitions < 1 {
        return Err("--default-partitions must be at least 1".to_owned());
    }
    Ok(options)
}

fn storage_options(merged: &ServeArguments, data_dir: &Path) -> Result<StorageOptions, String> {
    let mut options = StorageOptions::new(data_dir);
    options.hedge_reads = merged.hedge_reads.unwrap_or(true);
    if let Some(rate) = &merged.history_rate {
        options.traffic.history_rate = Some(bytes("--history-rate", rate, 1 << 20)?);
    }
    if let Some(rate) = &merged.background_rate {
        options.traffic.background_rate = bytes("--background-rate", rate, 1 << 20)?;
    }
    if let Some(size) = &merged.wal_disk {
        options.wal_bytes_max = bytes("--wal-disk", size, 256 << 20)?;
    }
    if let Some(seconds) = merged.flush_interval {
        options.flush_interval = duration("--flush-interval", seconds)?;
    }
    if let Some(seconds) = merged.retention_interval {
        options.retention_interval = duration("--retention-interval", seconds)?;
    }
    if let Some(seconds) = merged.compaction_interval {
        options.compaction_interval = duration("--compaction-interval", seconds)?;
    }
    Ok(options)
}

fn memory_wishes(merged: &ServeArguments) -> Result<Wishes, String> {
    let wish = |flag, size: &Option<String>, least| {
        size.as_deref().map(|size| bytes(flag, size, least)).transpose()
    };
    Ok(Wishes {
        tail: wish("--tail-memory", &merged.tail_memory, 16 << 20)?,
        tail_cache: wish("--tail-cache-memory", &merged.tail_cache_memory, 0)?,
        requests: wish("--request-memory", &merged.request_memory, 4 << 20)?,
        responses: wish("--response-memory", &merged.response_memory, 4 << 20)?,
        cache: wish("--cache-memory", &merged.cache_memory, 4 << 20)?,
    })
}

fn give_memory(plan: &MemoryPlan, broker: &mut BrokerOptions, storage: &mut StorageOptions) {
    let budgets = plan.budgets;
    storage.tail_bytes_max = budgets.tail;
    storage.tail_cache_bytes_max = budgets.tail_cache;
    storage.cold_cache_bytes = budgets.cache;
    broker.limits.request_bytes_max = usize::try_from(budgets.requests).unwrap_or(usize::MAX);
    broker.limits.response_bytes_max = usize::try_from(budgets.responses).unwrap_or(usize::MAX);
}

fn http_address(text: Option<&str>) -> Result<Option<SocketAddr>, String> {
    match text {
        None => Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9080)))),
        Some("off") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("--http {text}: expected ADDRESS:PORT or `off`")),
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = || format!("--advertise {text}: expected HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok(Endpoint { host: host.to_owned(), port })
}

fn duration(flag: &str, seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(10) => Ok(duration),
        _ => Err(format!("{flag} {seconds}: expected seconds, at least 0.01")),
    }
}

/// A size such as `256MiB`, `1GiB`, `4096` (bytes).
fn bytes(flag: &str, text: &str, least: u64) -> Result<u64, String> {
    let wrong = || format!("{flag} {text}: expected a size such as 256MiB or 4GiB");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
    if bytes < least {
        return Err(format!("{flag} {text}: must be at least {} MiB", least >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("--x", "256MiB", 0), Ok(256 << 20));
        assert_eq!(bytes("--x", "4G", 0), Ok(4 << 30));
        assert_eq!(bytes("--x", "4096", 0), Ok(4096));
        for wrong in ["", "MiB", "1.5GiB", "-1", "1 parsec", "99999999999TiB"] {
            assert!(bytes("--x", wrong, 0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flag_beats_the_file() {
        let file: ServeArguments =
            toml::from_str("listen = '127.0.0.1:1'\ndefault-partitions = 3").unwrap();
        let flags =
            ServeArguments { listen: Some("127.0.0.1:2".parse().unwrap()), ..Default::default() };
        let merged = merge(flags, file);
        assert_eq!(merged.listen.map(|address| address.port()), Some(2));
        assert_eq!(merged.default_partitions, Some(3));
    }

    #[test]
    fn a_file_with_unknown_keys_is_refused() {
        assert!(toml::from_str::<ServeArguments>("lissen = '127.0.0.1:1'").is_err());
    }

    #[test]
    fn addresses_to_advertise_have_host_and_port() {
        assert_eq!(endpoint("broker.example:9092").unwrap().port, 9092);
        assert_eq!(endpoint("[::1]:9092").unwrap().host, "::1");
        for wrong in ["broker", "broker:", ":9092", "broker:0", "broker:99999"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
