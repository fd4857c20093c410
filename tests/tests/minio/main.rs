//! History in S3, against two servers that share no code: MinIO as users run it, and `s3s-fs` in
//! this process. What holds with both leans on neither one's quirks: create-if-absent, range reads,
//! listing, error answers.

mod idle;
mod load;
mod minio;
mod outages;
mod proxy;
mod roads;
mod s3s_server;
mod server;
mod suite;
