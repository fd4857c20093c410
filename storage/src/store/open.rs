//! Opening a store: from a URL to clients.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::error::OpenStoreError;
use super::s3;
use super::url::StoreUrl;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Whether to create the folder of a `file://` store. Off by default: a mistyped path should be
    /// an error and not an empty store.
    pub create_folder: bool,
    /// How long one catalog request may take, retries aside. Default 10 s.
    pub catalog_timeout: Duration,
    /// How long one upload of a whole object may take. Default 60 s: 64 MiB at 1.1 MB/s.
    pub upload_timeout: Duration,
    /// How long one ranged read may take. Default 20 s: 8 MiB at 0.4 MB/s.
    pub history_timeout: Duration,
    /// How long to wait for a connection. Default 3 s.
    pub connect_timeout: Duration,
    /// How long requests are retried after server errors, from the first attempt on. Default 20 s;
    /// the client's own default of 180 s would hold a broker's threads through a whole outage.
    pub retry_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create_folder: false,
            catalog_timeout: Duration::from_secs(10),
            upload_timeout: Duration::from_secs(60),
            history_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(3),
            retry_timeout: Duration::from_secs(20),
        }
    }
}

/// An open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// For the catalog and whatever else is small and must not wait.
    pub objects: Arc<dyn ObjectStore>,
    /// For reading history: its own connections, see the module's page.
    pub history: Arc<dyn ObjectStore>,
    /// For whole objects on their way up.
    pub(super) uploads: Arc<dyn ObjectStore>,
    /// The folder behind a `file://` store.
    files: Option<Arc<LocalFileSystem>>,
    url: StoreUrl,
    endpoint: String,
}

impl Store {
    /// A new, empty store in memory.
    pub fn in_memory() -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Self::of_clients(StoreUrl::Memory, "memory".to_owned(), [&objects, &objects, &objects])
    }

    pub(super) fn of_clients(
        url: StoreUrl,
        endpoint: String,
        [objects, uploads, history]: [&Arc<dyn ObjectStore>; 3],
    ) -> Self {
        Self {
            objects: Arc::clone(objects),
            history: Arc::clone(history),
            uploads: Arc::clone(uploads),
            files: None,
            url,
            endpoint,
        }
    }

    /// The same store with every client wrapped, for counting, slowing down or breaking requests.
    /// The result no longer counts as local: reads go through the wrapper too.
    #[must_use]
    pub fn wrapped(&self, wrap: impl Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self {
            objects: wrap(Arc::clone(&self.objects)),
            history: wrap(Arc::clone(&self.history)),
            uploads: wrap(Arc::clone(&self.uploads)),
            files: None,
            url: self.url.clone(),
            endpoint: self.endpoint.clone(),
        }
    }

    /// Whether objects are files that this process can read by itself.
    pub fn is_local(&self) -> bool {
        self.files.is_some()
    }

    /// The file system behind a local store, which knows which file a key is.
    pub fn local_files(&self) -> Option<&Arc<LocalFileSystem>> {
        self.files.as_ref()
    }

    /// Where the store is, as the operator wrote it.
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Which server or folder is behind it, for messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// Opens the store at `url`. Sends nothing yet: [`Store::probe`] finds out whether it works.
pub fn open_store(url: &StoreUrl, options: &StoreOptions) -> Result<Store, OpenStoreError> {
    match url {
        StoreUrl::Memory => Ok(Store::in_memory()),
        StoreUrl::File(folder) => open_folder(url, folder, options.create_folder),
        StoreUrl::S3 { bucket, prefix } => s3::open(url, bucket, prefix, options),
    }
}

fn open_folder(url: &StoreUrl, folder: &FilePath, create: bool) -> Result<Store, OpenStoreError> {
    let failed = |source| OpenStoreError::Folder { folder: folder.to_owned(), source };
    if create {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if !folder.try_exists().map_err(failed)? {
        return Err(OpenStoreError::NoFolder { folder: folder.to_owned() });
    }
    let files = LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| failed(std::io::Error::other(error)))?
        .with_fsync(true);
    let files = Arc::new(files);
    let objects: Arc<dyn ObjectStore> = Arc::clone(&files) as _;
    let endpoint = folder.display().to_string();
    let store = Store::of_clients(url.clone(), endpoint, [&objects, &objects, &objects]);
    Ok(Store { files: Some(files), ..store })
}
