//! `antiphon inspect catalog`: every row, without opening for writing.

use std::path::Path;
use std::sync::Arc;

use antiphon_broker::Chain;
use antiphon_catalog::Inspector;
use antiphon_storage::store::{StoreOptions, StoreUrl, open_store};
use object_store::path::Path as StorePath;

use crate::serve::CATALOG_PREFIX;

/// Prints the rows of the catalog in `store`, which is a URL or a data folder.
pub(super) fn run(store: &str, kind: Option<&str>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("could not start threads: {error}"))?;
    let outcome = runtime.block_on(print(store, kind));
    runtime.shutdown_background();
    outcome
}

async fn print(store: &str, kind: Option<&str>) -> Result<(), String> {
    let url = locate(store)?;
    let options = StoreOptions { create_folder: false, ..StoreOptions::default() };
    let store = open_store(&url, &options).map_err(|error| Chain(&error).to_string())?;
    let prefix = StorePath::from(CATALOG_PREFIX);
    let opened = Inspector::open(Arc::clone(&store.objects), &prefix).await;
    let inspector = opened.map_err(|error| Chain(&error).to_string())?;
    if kind.is_none() {
        println!("{:#?}", inspector.cluster());
    }
    let mut rows = 0_u64;
    let visited = inspector
        .visit(|entry| {
            let text = format!("{entry:?}");
            let wanted = kind.is_none_or(|kind| {
                let name = text.split('(').next().unwrap_or_default();
                name.eq_ignore_ascii_case(kind)
            });
            if wanted {
                rows += 1;
                println!("{text}");
            }
        })
        .await;
    visited.map_err(|error| Chain(&error).to_string())?;
    println!("{rows} rows");
    Ok(())
}

fn locate(text: &str) -> Result<StoreUrl, String> {
    let folder = Path::new(text);
    if !text.contains("://") {
        let store = folder.join("store");
        let folder = if store.is_dir() { store } else { folder.to_owned() };
        let absolute = std::path::absolute(&folder).map_err(|error| error.to_string())?;
        return Ok(StoreUrl::File(absolute));
    }
    text.parse().map_err(|error| format!("{error}"))
}
