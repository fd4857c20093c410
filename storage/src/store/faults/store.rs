//! The wrapper.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::body::{damage, is_damage, shifted};
use super::plan::{Fate, FaultPlan, Outage};
use super::rule::{Fault, Operation};

/// A store whose requests meet the fate that a [`FaultPlan`] has for them.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    plan: FaultPlan,
}

impl FaultyStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }

    /// Lets a request arrive, if it does. What is returned is still to happen to its reply.
    async fn arrive(&self, operation: Operation, path: &Path) -> Result<Option<(Fault, u64)>> {
        arrive(&self.plan, operation, path).await
    }

    /// Lets the reply leave, if it does.
    fn depart<T>(
        &self,
        operation: Operation,
        path: &Path,
        fault: Option<(Fault, u64)>,
        reply: T,
    ) -> Result<T> {
        self.plan.applied(operation, path);
        match fault {
            Some((Fault::ReplyLost, _)) => Err(broken("the reply is lost")),
            _ => Ok(reply),
        }
    }
}

async fn arrive(
    plan: &FaultPlan,
    operation: Operation,
    path: &Path,
) -> Result<Option<(Fault, u64)>> {
    let Fate { delay, fault } = plan.fate(operation, path);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    pass_outage(plan).await?;
    let not_found = || Error::NotFound { path: path.to_string(), source: "not there yet".into() };
    match fault {
        Some((Fault::RequestLost, _)) => Err(broken("the request is lost")),
        Some((Fault::Unavailable, _)) => Err(broken("503 Service Unavailable: SlowDown")),
        Some((Fault::Throttled, _)) => Err(broken("429 Too Many Requests")),
        Some((Fault::Full, _)) => Err(broken("507 Insufficient Storage")),
        Some((Fault::Stale, _)) if operation != Operation::List => Err(not_found()),
        fault => Ok(fault),
    }
}

async fn pass_outage(plan: &FaultPlan) -> Result<()> {
    let mut outage = plan.outage();
    let now = *outage.borrow_and_update();
    match now {
        Outage::None => Ok(()),
        Outage::Refuses => Err(broken("connection refused")),
        Outage::Hangs(limit) => {
            let over = outage.wait_for(|outage| *outage == Outage::None);
            match tokio::time::timeout(limit, over).await {
                Ok(Ok(_)) => Ok(()),
                _ => Err(broken("timed out")),
            }
        }
    }
}

/// What the S3 client makes of a connection that broke, and of 5xx answers after its retries.
pub(super) fn broken(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
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
        let fault = self.arrive(Operation::Put, path).await?;
        let reply = self.inner.put_opts(path, payload, options).await?;
        self.depart(Operation::Put, path, fault, reply)
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let fault = self.arrive(operation, path).await?;
        if let Some((Fault::WrongRange, _)) = fault {
            return shifted(&*self.inner, path, options).await;
        }
        let reply = self.inner.get_opts(path, options).await?;
        let reply = self.depart(operation, path, fault, reply)?;
        match fault {
            Some((fault, number)) if is_damage(fault) => damage(reply, fault, number).await,
            _ => Ok(reply),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.arrive(Operation::Put, path).await?;
        let reply = self.inner.put_multipart_opts(path, options).await?;
        self.depart(Operation::Put, path, fault, reply)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, plan) = (Arc::clone(&self.inner), self.plan.clone());
        let deleted = paths.then(move |path| {
            let one = Self::new(Arc::clone(&inner), plan.clone());
            async move { one.delete_one(path?).await }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, plan) = (prefix.cloned().unwrap_or_default(), self.plan.clone());
        let inner = self.inner.list(Some(&prefix));
        let listed = stream::once(async move {
            match arrive(&plan, Operation::List, &prefix).await {
                Ok(fault) => list_with(inner, fault),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        });
        listed.flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let fault = self.arrive(Operation::List, &path).await?;
        let mut reply = self.inner.list_with_delimiter(prefix).await?;
        if let Some((Fault::Stale, _)) = fault {
            reply.objects.pop();
        }
        self.depart(Operation::List, &path, fault, reply)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.arrive(Operation::Copy, to).await?;
        self.inner.copy_opts(from, to, options).await?;
        self.depart(Operation::Copy, to, fault, ())
    }
}

impl FaultyStore {
    async fn delete_one(&self, path: Path) -> Result<Path> {
        let fault = self.arrive(Operation::Delete, &path).await?;
        let asked = path.clone();
        let one = stream::once(async { Ok(asked) }).boxed();
        let reply = self.inner.delete_stream(one).next().await;
        let reply = reply.unwrap_or_else(|| Err(broken("nothing came back")))?;
        self.depart(Operation::Delete, &path, fault, reply)
    }
}

/// A listing that breaks off in the middle, or one that is older than some of what it lists.
fn list_with(
    inner: BoxStream<'static, Result<ObjectMeta>>,
    fault: Option<(Fault, u64)>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    match fault {
        Some((Fault::ReplyLost, number)) => {
            let end = stream::iter([Err(broken("the listing broke off"))]);
            inner.take(number as usize % 8).chain(end).boxed()
        }
        Some((Fault::Stale, number)) => {
            let unseen = number as usize % 4;
            let numbered = inner.enumerate();
            let seen = numbered.filter(move |(at, _)| futures::future::ready(at % 4 != unseen));
            seen.map(|(_, meta)| meta).boxed()
        }
        _ => inner,
    }
}
