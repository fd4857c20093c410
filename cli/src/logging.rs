//! Log lines on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::LogFormat;

/// What libraries say below these levels helps nobody who operates a broker.
const QUIET_LIBRARIES: &str =
    "slatedb=warn,slatedb_txn_obj=warn,object_store=warn,hyper=warn,reqwest=warn";

/// Starts logging. `filter` is as in `--log`.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let directives = format!("{QUIET_LIBRARIES},{filter}");
    let filter =
        EnvFilter::try_new(&directives).map_err(|error| format!("--log {filter}: {error}"))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
