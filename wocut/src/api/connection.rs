//! One connection.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::{Limits, access::Caller, patience::Patience};

/// What is read at once; whatever a header may have fits twice.
const BUFFER: usize = 64 << 10;

/// What all connections have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) ending: watch::Receiver<bool>,
}

impl Common {
    /// Answers requests until the client goes, takes too long, or the daemon ends.
    pub(super) async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller) {
        let Limits { header, write, header_fields, header_size, .. } = self.limits;
        let io = TokioIo::new(Patience::new(stream, write));
        let router = self.router;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(caller.clone());
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            // What is a little too long is told so in the shape of the API; the rest is cut off.
            .max_headers(4 * header_fields)
            .max_buf_size(BUFFER.max(2 * header_size))
            .serve_connection(io, service);
        pin!(connection);
        let ended = select! {
            ended = connection.as_mut() => ended,
            () = over(&mut self.ending) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection to the API ended: {error}");
        }
    }

    /// The same, in TLS.
    pub(super) async fn serve_tls(
        self,
        tls: TlsAcceptor,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        caller: Caller,
    ) {
        let within: Duration = self.limits.header;
        match timeout(within, tls.accept(Patience::new(stream, within))).await {
            Ok(Ok(stream)) => self.serve(stream, caller).await,
            Ok(Err(error)) => tracing::debug!(?caller, "no TLS: {error}"),
            Err(_) => tracing::debug!(?caller, "no TLS: it took too long"),
        }
    }
}

/// Waits until the daemon ends.
pub(super) async fn over(ending: &mut watch::Receiver<bool>) {
    // Whoever would say so may be gone, which says it as well.
    let _said = ending.wait_for(|ending| *ending).await.is_ok();
}
