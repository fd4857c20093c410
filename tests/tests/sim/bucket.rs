//! A bucket that misbehaves: requests that are lost, replies that are lost after the request was
//! applied, slow requests, bits that flip on the way back, and outages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon_storage::store::OBJECTS_PREFIX;
use antiphon_wal::Wal;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::dice::Dice;
use super::disk::SimWal;

/// How often a kind of request goes wrong, per mille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) request_lost: u64,
    pub(crate) reply_lost: u64,
    pub(crate) slow: u64,
    pub(crate) flipped: u64,
}

/// What goes wrong, now and for whom.
#[derive(Debug)]
pub(crate) struct Weather {
    /// For each of the two their own, so that the catalog's requests, whose order the seed does not
    /// decide, change nothing for the others.
    history_dice: Dice,
    catalog_dice: Dice,
    /// Of objects with records.
    pub(crate) history: Rates,
    /// Of the catalog's files.
    pub(crate) catalog: Rates,
    pub(crate) outage: bool,
    /// A deliberate defect: the log that forgets its frames as soon as an object was put.
    pub(crate) trims_early: Option<Arc<SimWal>>,
}

impl Weather {
    pub(crate) fn new(mut dice: Dice) -> Self {
        Self {
            history_dice: dice.fork(),
            catalog_dice: dice.fork(),
            history: Rates::default(),
            catalog: Rates::default(),
            outage: false,
            trims_early: None,
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn clear(&mut self) {
        (self.history, self.catalog, self.outage) = (Rates::default(), Rates::default(), false);
    }

    fn fate(&mut self, path: &Path, write: bool) -> Fate {
        let (rates, dice) = match is_history(path) {
            true => (self.history, &mut self.history_dice),
            false => (self.catalog, &mut self.catalog_dice),
        };
        Fate {
            delay: dice.chance(rates.slow).then(|| dice.between(20, 3000)),
            request_lost: self.outage || dice.chance(rates.request_lost),
            reply_lost: dice.chance(rates.reply_lost),
            flipped: (!write && dice.chance(rates.flipped)).then(|| dice.next()),
        }
    }
}

struct Fate {
    delay: Option<u64>,
    request_lost: bool,
    reply_lost: bool,
    flipped: Option<u64>,
}

impl Fate {
    async fn arrive(&self) -> Result<()> {
        if let Some(delay) = self.delay {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if self.request_lost { Err(lost("the request is lost")) } else { Ok(()) }
    }

    fn depart<T>(&self, reply: T) -> Result<T> {
        if self.reply_lost { Err(lost("the reply is lost")) } else { Ok(reply) }
    }
}

fn lost(what: &'static str) -> Error {
    Error::Generic { store: "sim", source: what.into() }
}

fn is_history(path: &Path) -> bool {
    path.as_ref().starts_with(OBJECTS_PREFIX)
}

/// The wrapper.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) weather: Arc<Mutex<Weather>>,
}

impl FaultyStore {
    fn fate(&self, path: &Path, write: bool) -> Fate {
        self.weather.lock().fate(path, write)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty store")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.fate(path, true);
        fate.arrive().await?;
        let reply = self.inner.put_opts(path, payload, options).await?;
        if let Some(wal) = self.weather.lock().trims_early.clone()
            && is_history(path)
        {
            wal.trim(wal.durable());
        }
        fate.depart(reply)
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fate = self.fate(path, false);
        fate.arrive().await?;
        let head = options.head;
        let reply = fate.depart(self.inner.get_opts(path, options).await?)?;
        match fate.flipped {
            Some(bit) if is_history(path) && !head => flip(reply, bit).await,
            _ => Ok(reply),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fate(path, true).arrive().await?;
        self.inner.put_multipart_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, weather) = (Arc::clone(&self.inner), Arc::clone(&self.weather));
        let deleted = paths.then(move |path| {
            let (inner, weather) = (Arc::clone(&inner), Arc::clone(&weather));
            async move {
                let path = path?;
                let fate = weather.lock().fate(&path, true);
                fate.arrive().await?;
                let one = futures::stream::once(async { Ok(path) }).boxed();
                let reply = inner.delete_stream(one).next().await;
                fate.depart(reply.unwrap_or_else(|| Err(lost("nothing came back")))?)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let anywhere = Path::default();
        let fate = self.fate(prefix.unwrap_or(&anywhere), false);
        if fate.request_lost {
            return futures::stream::once(async { Err(lost("the request is lost")) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let anywhere = Path::default();
        self.fate(prefix.unwrap_or(&anywhere), false).arrive().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fate = self.fate(to, true);
        fate.arrive().await?;
        fate.depart(self.inner.copy_opts(from, to, options).await?)
    }
}

/// The same reply with one bit of its body turned over.
async fn flip(reply: GetResult, bit: u64) -> Result<GetResult> {
    let (meta, range, attributes) =
        (reply.meta.clone(), reply.range.clone(), reply.attributes.clone());
    let mut body = BytesMut::from(&reply.bytes().await?[..]);
    flip_bit(&mut body, bit);
    let body: Bytes = body.freeze();
    let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(body) }).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
}

/// Turns over one bit of `body`, which one `bit` says.
pub(crate) fn flip_bit(body: &mut [u8], bit: u64) {
    let position = (bit / 8) as usize % body.len().max(1);
    if let Some(byte) = body.get_mut(position) {
        *byte ^= 1 << (bit % 8);
    }
}
