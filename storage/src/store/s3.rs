//! S3 and what speaks its protocol (MinIO, Ceph, R2), configured by the standard `AWS_*`
//! environment.
//!
//! Decisions:
//! - **Path style** (`endpoint/bucket/key`) unless `AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true`: custom
//!   endpoints seldom have a DNS name per bucket.
//! - **http is allowed when the endpoint is written as http://**; an https endpoint never falls
//!   back.
//! - **Payloads are signed over http and unsigned over https.** Over https TLS already protects the
//!   body and hashing 64 MiB with SHA-256 costs a core some 50-200 ms per object; over http the
//!   signature is all that ties the body to the credentials. `AWS_UNSIGNED_PAYLOAD` overrides.
//! - **Short timeouts, bounded retries** (see [`StoreOptions`]).
//! - **ring** is the TLS provider of the whole process; the first store that is opened installs it.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::error::OpenStoreError;
use super::open::{Store, StoreOptions};
use super::url::StoreUrl;

/// Attempts per request after the first, within the retry timeout.
const RETRIES_MAX: usize = 6;
/// Fewer for the catalog, which is tried again by those who use it; a wrong endpoint is then
/// reported within some seconds of the start.
const CATALOG_RETRIES_MAX: usize = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

pub(super) fn open(
    url: &StoreUrl,
    bucket: &str,
    prefix: &Path,
    options: &StoreOptions,
) -> Result<Store, OpenStoreError> {
    open_with(AmazonS3Builder::from_env(), url, bucket, prefix, options)
}

/// Opens the store with the settings in `from_env`.
pub(super) fn open_with(
    from_env: AmazonS3Builder,
    url: &StoreUrl,
    bucket: &str,
    prefix: &Path,
    options: &StoreOptions,
) -> Result<Store, OpenStoreError> {
    install_tls_provider();
    check_credentials(&from_env)?;
    let base = configure(from_env, bucket, options);
    let client = |timeout: Duration, retries| -> Result<Arc<dyn ObjectStore>, OpenStoreError> {
        let client = with_client_config(base.clone(), ClientConfigKey::Timeout, timeout)
            .with_retry(retry(retries, options))
            .build()
            .map_err(|source| OpenStoreError::Configuration { url: url.to_string(), source })?;
        Ok(Arc::new(PrefixStore::new(client, prefix.clone())))
    };
    let catalog = client(options.catalog_timeout, CATALOG_RETRIES_MAX)?;
    let uploads = client(options.upload_timeout, RETRIES_MAX)?;
    let history = client(options.history_timeout, RETRIES_MAX)?;
    Ok(Store::of_clients(url.clone(), endpoint_name(&base), [&catalog, &uploads, &history]))
}

fn configure(from_env: AmazonS3Builder, bucket: &str, options: &StoreOptions) -> AmazonS3Builder {
    let plain_http = endpoint(&from_env).is_some_and(|url| url.starts_with("http://"));
    let builder = from_env.with_bucket_name(bucket);
    let builder =
        with_client_config(builder, ClientConfigKey::ConnectTimeout, options.connect_timeout);
    let builder = match plain_http {
        true => builder.with_allow_http(true),
        false => builder,
    };
    match std::env::var_os("AWS_UNSIGNED_PAYLOAD") {
        Some(_) => builder,
        None => builder.with_unsigned_payload(!plain_http),
    }
}

/// Sets one client option and leaves those that the environment set (proxy, certificates) alone, as
/// handing in fresh client options would not.
fn with_client_config(
    builder: AmazonS3Builder,
    key: ClientConfigKey,
    value: Duration,
) -> AmazonS3Builder {
    builder.with_config(AmazonS3ConfigKey::Client(key), format!("{}ms", value.as_millis()))
}

fn retry(retries_max: usize, options: &StoreOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: BACKOFF_FIRST,
            max_backoff: BACKOFF_MAX,
            ..BackoffConfig::default()
        },
        max_retries: retries_max,
        retry_timeout: options.retry_timeout,
    }
}

/// The endpoint in force: the S3-specific setting wins, as it does in the client.
fn endpoint(builder: &AmazonS3Builder) -> Option<String> {
    builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint))
}

/// Without credentials the client would ask the metadata service of the cloud machine it believes
/// to run on, and fail in words that help nobody. On AWS that is right; with an endpoint of one's
/// own it is a forgotten setting.
fn check_credentials(from_env: &AmazonS3Builder) -> Result<(), OpenStoreError> {
    let has = |key| from_env.get_config_value(&key).is_some();
    let has_some = has(AmazonS3ConfigKey::AccessKeyId)
        || has(AmazonS3ConfigKey::WebIdentityTokenFile)
        || has(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || has(AmazonS3ConfigKey::ContainerCredentialsFullUri);
    let unsigned = from_env.get_config_value(&AmazonS3ConfigKey::SkipSignature);
    match endpoint(from_env) {
        Some(endpoint) if !has_some && unsigned.as_deref() != Some("true") => {
            Err(OpenStoreError::NoCredentials { endpoint })
        }
        _ => Ok(()),
    }
}

fn endpoint_name(builder: &AmazonS3Builder) -> String {
    endpoint(builder).unwrap_or_else(|| {
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
        format!("AWS S3 in {}", region.as_deref().unwrap_or("us-east-1"))
    })
}

/// Makes ring the process's TLS provider. A second call, or a provider that somebody else
/// installed, changes nothing.
fn install_tls_provider() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}
