//! What the suite needs to know of an S3 server.

use std::fmt::Debug;

use antiphon_tests::BrokerSetup;

pub(crate) const ACCESS_KEY: &str = "antiphon";
pub(crate) const SECRET_KEY: &str = "antiphon-tests";
pub(crate) const BUCKET: &str = "history";

/// A running S3 server with one empty bucket, [`BUCKET`].
pub(crate) trait Server: Debug {
    /// What it listens on.
    fn endpoint(&self) -> String;

    /// A broker whose store is in the bucket.
    fn broker(&self, name: &str) -> BrokerSetup {
        self.broker_in(name, BUCKET)
    }

    /// A broker whose store is in a bucket of this name.
    fn broker_in(&self, name: &str, bucket: &str) -> BrokerSetup {
        setup(&self.endpoint(), name, bucket)
    }
}

/// A broker that reaches its bucket by this way, which may be a detour.
pub(crate) fn broker_at(endpoint: &str, name: &str) -> BrokerSetup {
    setup(endpoint, name, BUCKET)
}

fn setup(endpoint: &str, name: &str, bucket: &str) -> BrokerSetup {
    BrokerSetup::named(name)
        .flag("--store", format!("s3://{bucket}/some/prefix"))
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_REGION", "us-east-1")
}
