//! What a caller should do about an error, whatever its cause.

/// The prescriptive kind of an error. Every error enum that crosses a crate boundary maps each of
/// its variants to one of these in an exhaustive match, and callers branch on the kind, not on the
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing is wrong with the request; the same call may succeed later.
    Retry,
    /// A newer owner exists. This process must stop acting as the owner; retrying cannot help.
    Fenced,
    /// The request itself is wrong and will never succeed.
    Invalid,
    /// Stored bytes do not say what they should. A person must look.
    Corrupt,
    /// The component is shutting down or has shut down.
    Closed,
    /// A defect or an environment fault that fits none of the above.
    Internal,
}

impl ErrorKind {
    /// Whether repeating the same call, unchanged, can succeed.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Retry)
    }
}
