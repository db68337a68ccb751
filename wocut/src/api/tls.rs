//! TLS for clients that come over TCP.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Reads certificates and their key.
pub(super) fn acceptor(cert: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let context = || format!("read certificates {}", cert.display());
    let chain = CertificateDer::pem_file_iter(cert).with_context(context)?.collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(context)?;
    if chain.is_empty() {
        bail!("read certificates {}: no certificate is in it", cert.display());
    }
    let context = || format!("read private key {}", key.display());
    let mode = fs::metadata(key).with_context(context)?.permissions().mode();
    if mode & 0o007 != 0 {
        bail!("read private key {}: it is open to everybody (mode {:03o})", key.display(), mode & 0o777);
    }
    let key = PrivateKeyDer::from_pem_file(key).with_context(context)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the certificate with its key")?;
    config.alpn_protocols = vec![b"http/1.1".into()];
    Ok(Arc::new(config).into())
}
