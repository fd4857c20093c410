//! A store that remembers what was asked of it and misbehaves on demand. For tests.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How a put goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// It never reaches the store.
    RequestLost,
    /// It does, and nobody hears of it.
    ReplyLost,
    /// S3's 409: another conditional write was under way, nothing landed.
    Conflict,
    /// The credentials do not allow it.
    Denied,
}

/// The wrapper.
#[derive(Debug)]
pub(crate) struct WatchedStore {
    inner: Arc<dyn ObjectStore>,
    gets: watch::Sender<Vec<Range<u64>>>,
    /// GETs that start here or later wait.
    held_from: watch::Sender<u64>,
    put_faults: Mutex<VecDeque<PutFault>>,
    puts: Mutex<usize>,
    ignores_create: bool,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            gets: watch::Sender::new(Vec::new()),
            held_from: watch::Sender::new(u64::MAX),
            put_faults: Mutex::default(),
            puts: Mutex::default(),
            ignores_create: false,
        }
    }

    /// Overwrites where it is told to create, like an S3 imitation that does not know the header.
    pub(crate) fn ignoring_create(inner: Arc<dyn ObjectStore>) -> Self {
        Self { ignores_create: true, ..Self::new(inner) }
    }

    /// The next puts fail like this, one after another.
    pub(crate) fn fail_puts(&self, faults: impl IntoIterator<Item = PutFault>) {
        self.put_faults.lock().extend(faults);
    }

    pub(crate) fn puts(&self) -> usize {
        *self.puts.lock()
    }

    /// The ranges of all GETs so far, in the order in which they arrived.
    pub(crate) fn gets(&self) -> Vec<Range<u64>> {
        self.gets.borrow().clone()
    }

    /// Waits until `condition` holds of the GETs that have arrived.
    pub(crate) async fn until_gets(&self, condition: impl FnMut(&Vec<Range<u64>>) -> bool) {
        self.gets.subscribe().wait_for(condition).await.unwrap();
    }

    /// Lets GETs that start at `position` or later wait, until this is called with a later one.
    pub(crate) fn hold_gets_from(&self, position: u64) {
        self.held_from.send_replace(position);
    }

    fn lost() -> object_store::Error {
        object_store::Error::Generic { store: "watched", source: "the connection broke".into() }
    }
}

impl fmt::Display for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watched {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for WatchedStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        *self.puts.lock() += 1;
        if self.ignores_create {
            options.mode = PutMode::Overwrite;
        }
        let (name, fault) = (path.to_string(), self.put_faults.lock().pop_front());
        match fault {
            None => self.inner.put_opts(path, payload, options).await,
            Some(PutFault::RequestLost) => Err(Self::lost()),
            Some(PutFault::ReplyLost) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(Self::lost())
            }
            Some(PutFault::Conflict) => {
                Err(object_store::Error::AlreadyExists { path: name, source: "conflict".into() })
            }
            Some(PutFault::Denied) => {
                Err(object_store::Error::PermissionDenied { path: name, source: "denied".into() })
            }
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(GetRange::Bounded(range)) = options.range.clone() {
            let start = range.start;
            self.gets.send_modify(|gets| gets.push(range));
            self.held_from.subscribe().wait_for(|from| start < *from).await.unwrap();
        }
        self.inner.get_opts(path, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
