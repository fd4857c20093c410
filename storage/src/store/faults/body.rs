//! Damage to the body of a reply.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, Result};

use super::rule::Fault;
use super::store::broken;

/// Whether a fault damages bodies, rather than losing requests.
pub(super) fn is_damage(fault: Fault) -> bool {
    use Fault::{BrokenBody, FlippedBit, TruncatedBody, WrongRange};
    matches!(fault, TruncatedBody | BrokenBody | WrongRange | FlippedBit)
}

/// The same reply with its body damaged; what it says about itself stays.
pub(super) async fn damage(reply: GetResult, fault: Fault, number: u64) -> Result<GetResult> {
    let (meta, range, attributes) =
        (reply.meta.clone(), reply.range.clone(), reply.attributes.clone());
    let body = reply.bytes().await?;
    let half = body.slice(..body.len() / 2);
    let parts = match fault {
        Fault::TruncatedBody => vec![Ok(half)],
        Fault::BrokenBody => vec![Ok(half), Err(broken("the body broke off"))],
        Fault::FlippedBit => vec![Ok(with_bit_flipped(&body, number))],
        _ => vec![Ok(body)],
    };
    let payload = GetResultPayload::Stream(stream::iter(parts).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
}

fn with_bit_flipped(body: &Bytes, number: u64) -> Bytes {
    let mut body = BytesMut::from(&body[..]);
    let position = (number / 8) as usize % body.len().max(1);
    if let Some(byte) = body.get_mut(position) {
        *byte ^= 1 << (number % 8);
    }
    body.freeze()
}

/// What a server answers that reads from one byte too far: where the object ends there, the last
/// bytes of it, so that the length is right all the same.
pub(super) async fn shifted(
    inner: &dyn ObjectStore,
    path: &Path,
    options: GetOptions,
) -> Result<GetResult> {
    let right = inner.get_opts(path, options.clone()).await?;
    let length = right.range.end - right.range.start;
    let start = if right.range.end < right.meta.size {
        right.range.start + 1
    } else {
        right.range.start.saturating_sub(1)
    };
    let moved = GetOptions { range: Some(GetRange::Bounded(start..start + length)), ..options };
    let wrong = inner.get_opts(path, moved).await?;
    Ok(GetResult { payload: wrong.payload, ..right })
}
