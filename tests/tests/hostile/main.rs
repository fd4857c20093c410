//! Hostile clients: bytes that are no request, requests that lie, clients that stand still, record
//! batches that are not what they claim.
//!
//! Whatever they send, each is answered with an error or cut off, and nobody else notices: after
//! every class of attack another connection produces and reads, the process is the same, its memory
//! is within 64 MiB of what it was, its descriptors are back, and its log holds no panic.

mod batches;
mod names;
mod shapes;
mod siege;
mod slow;
mod wire;
