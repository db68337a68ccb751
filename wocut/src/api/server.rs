//! Starts and ends the API.

use std::{future::pending, io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    join,
    net::{TcpListener, UnixListener},
    select,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Api, Options, Ready, SetLog, Shared,
    access::Caller,
    connection::Common,
    daemon::Daemon,
    listen::{self, Listeners, Tcp},
    routes,
    slots::Slots,
};
use crate::{daemon::Handle, sys::peer};

/// After an accept failed, as it does when no file is left to be opened: others need the time to give some back.
const REST: Duration = Duration::from_millis(100);

/// The API, listened on and not yet answered.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    socket: PathBuf,
    common: Common,
    end: watch::Sender<bool>,
}

impl Server {
    /// Listens. Whoever connects waits until the server runs.
    pub fn bind(options: Options, handle: Handle, ready: Ready, set_log: SetLog) -> anyhow::Result<Self> {
        options.check()?;
        let access = listen::access(&options)?;
        let listeners = listen::all(&options, &access)?;
        let (end, ending) = watch::channel(false);
        let Options { socket, limits, .. } = options;
        let shared = Shared {
            daemon: Daemon::Live(handle),
            access,
            ready,
            set_log,
            limits,
            openapi: routes::description(),
            ending: ending.clone(),
            requests: super::gate::Counter::default(),
        };
        let common = Common { router: routes::router(Api::from(Arc::new(shared))), limits, ending };
        Ok(Self { listeners, socket, common, end })
    }

    /// Answers until `shutdown`, and then ends what is under way, within a time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { listeners: Listeners { unix, tcp }, socket, common, end } = self;
        let limits = common.limits;
        let slots = Slots::new(limits.connections, limits.of_one);
        let unix = UnixListener::from_std(unix).context("listen on the API's socket")?;
        let tcp = tcp.map(|Tcp { listener, tls }| anyhow::Ok((TcpListener::from_std(listener)?, tls)));
        let tcp = tcp.transpose().context("listen on the API's port")?;
        let mut connections = JoinSet::new();
        let mut more = JoinSet::new();
        let over_unix = accept_unix(&unix, &slots, &common, &mut connections);
        let over_tcp = async {
            match &tcp {
                Some((listener, tls)) => {
                    accept_tcp(listener, tls.as_ref(), &slots, &common, &mut more).await;
                }
                None => pending().await,
            }
        };
        select! {
            () = shutdown => {}
            _ = async { join!(over_unix, over_tcp) } => {}
        }
        // From here on, nobody gets in.
        drop((unix, tcp));
        let _gone = std::fs::remove_file(socket);
        end.send_replace(true);
        let all_ended = async {
            while connections.join_next().await.is_some() {}
            while more.join_next().await.is_some() {}
        };
        // Whoever is not done by then is cut off.
        let _late = timeout(limits.end, all_ended).await;
        Ok(())
    }
}

async fn accept_unix(listener: &UnixListener, slots: &Slots, common: &Common, connections: &mut JoinSet<()>) {
    loop {
        let stream = select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream),
            Some(_) = connections.join_next() => continue,
        };
        let known = stream.and_then(|stream| Ok((peer::of(&stream)?, stream)));
        let Some((peer, stream)) = taken(known).await else { continue };
        let caller = Caller::Unix(peer);
        let Some(slot) = slots.take(&caller) else { continue };
        let common = common.clone();
        connections.spawn(async move {
            common.serve(stream, caller).await;
            drop(slot);
        });
    }
}

async fn accept_tcp(
    listener: &TcpListener,
    tls: Option<&tokio_rustls::TlsAcceptor>,
    slots: &Slots,
    common: &Common,
    connections: &mut JoinSet<()>,
) {
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, address)) = taken(accepted).await else { continue };
        let caller = Caller::Tcp(address);
        let Some(slot) = slots.take(&caller) else { continue };
        let (common, tls) = (common.clone(), tls.cloned());
        connections.spawn(async move {
            match tls {
                Some(tls) => common.serve_tls(tls, stream, caller).await,
                None => common.serve(stream, caller).await,
            }
            drop(slot);
        });
    }
}

/// What was accepted. An error is no reason to end: the next client may have more luck.
async fn taken<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!("accept a connection to the API: {error}");
            sleep(REST).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::taken;

    #[tokio::test(start_paused = true)]
    async fn accept_that_fails_is_tried_again_after_a_rest() {
        let before = tokio::time::Instant::now();
        let no_file_left = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(taken(Err::<(), _>(no_file_left)).await, None);
        assert_eq!(before.elapsed(), super::REST);
        assert_eq!(taken(Ok(1)).await, Some(1));
    }
}
