//! Where the API is listened on.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context as _;
use tokio_rustls::TlsAcceptor;

use super::{Options, access::Access, tls, token::Tokens};
use crate::host::RUN;
use crate::sys::{group, unix_socket};

/// Everything that is listened on.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<Tcp>,
}

/// Over TCP.
pub(super) struct Tcp {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp").field("listener", &self.listener).field("tls", &self.tls.is_some()).finish()
    }
}

/// Who may do what, as the options say.
pub(super) fn access(options: &Options) -> anyhow::Result<Access> {
    let writers = match &options.write_group {
        None => None,
        Some(name) => Some(found(name)?.with_context(|| format!("there is no group `{name}`"))?),
    };
    Ok(Access {
        readers: found(&options.group)?,
        writers,
        own: rustix::process::geteuid().as_raw(),
        tokens: options.token_file.as_deref().map(Tokens::read).transpose()?,
        trust_local: options.http_trust_local,
    })
}

fn found(name: &str) -> anyhow::Result<Option<u32>> {
    group::named(name).with_context(|| format!("look up group `{name}`"))
}

/// Listens on everything, or on nothing.
pub(super) fn all(options: &Options, access: &Access) -> anyhow::Result<Listeners> {
    let tcp = options.http.map(|address| tcp(address, options)).transpose()?;
    let path = &options.socket;
    let context = || format!("listen on {}", path.display());
    if access.readers.is_none() {
        tracing::warn!("there is no group `{}`: {} is for root alone", options.group, path.display());
    }
    let is_own = path.parent() == Some(Path::new(RUN));
    unix_socket::open_folder(path, access.readers, is_own).with_context(context)?;
    let unix = unix_socket::bind_path(path, access.readers).with_context(context)?;
    Ok(Listeners { unix, tcp })
}

fn tcp(address: SocketAddr, options: &Options) -> anyhow::Result<Tcp> {
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    let context = || format!("listen on {address}");
    let listener = TcpListener::bind(address).with_context(context)?;
    listener.set_nonblocking(true).with_context(context)?;
    Ok(Tcp { listener, tls })
}
