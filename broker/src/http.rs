//! HTTP for operators: `/health/live`, `/health/ready`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::broker::Broker;

/// Prometheus' text format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the broker stops.
pub async fn serve_http(socket: TcpListener, broker: Arc<Broker>) -> std::io::Result<()> {
    let mut stop = broker.stopping();
    let router = Router::new()
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(broker);
    let stopped = async move {
        let _ = stop.wait_for(|stopping| *stopping).await;
    };
    axum::serve(socket, router).with_graceful_shutdown(stopped).await
}

async fn ready(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    if *broker.stopping().borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    (StatusCode::OK, "ready\n")
}

async fn metrics(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], broker.metrics_page())
}
