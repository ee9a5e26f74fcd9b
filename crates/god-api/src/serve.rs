//! Accepts connections and serves them, with deadlines, until told to stop.

use crate::app::App;
use crate::removal;
use crate::routes::router;
use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 8192;
/// A request's head must have come by then; a connection that idles longer is closed.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// Requests under way may take this long after the stop.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Where a request comes from: the other end of its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves the interface on a listener until `shutdown` is done: then it accepts nothing more, ends streams, lets requests
/// under way end, and returns.
///
/// # Errors
/// Only what makes further accepting senseless; a connection's own errors end that connection.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let service = router(app.clone());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(64 << 10).max_headers(100);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    connections.spawn(removal::keep(app.clone()));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (stream, Peer(peer), place))
        };
        let (stream, peer, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(err) => {
                    tracing::warn!(%err, "a connection was not accepted");
                    // Out of descriptors, most likely: it passes when others close.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if let Err(err) = stream.set_nodelay(true) {
            tracing::debug!(%err, "answers on a connection may come late");
        }
        let service = Extension(peer).layer(service.clone());
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let closing = app.closing.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(err) = result {
                tracing::debug!(%err, "a connection broke");
            }
            drop(place);
        });
    }
    app.closing.cancel();
    connections.close();
    if tokio::time::timeout(LAST_CALL, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut at the stop");
    }
    app.audit.flush().await;
    Ok(())
}
