//! What `wocut serve` takes for its API.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;

/// The API's Unix socket, unless another one is named.
pub(crate) const SOCKET: &str = "/run/wocut/api.sock";

/// Where the API is, and for whom.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The API's Unix socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,
    /// Group that may use the socket, and read
    #[arg(long, value_name = "NAME", default_value = "wocut")]
    pub group: String,
    /// Group that may change things over the socket; without it only root may
    #[arg(long, value_name = "NAME")]
    pub write_group: Option<String>,
    /// Serve the API over TCP as well; beyond loopback it takes tokens and TLS
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Tokens for TCP, a line `sha256:HEX [read|write] [NAME]` for each
    #[arg(long, value_name = "FILE", requires = "http", conflicts_with = "http_trust_local")]
    pub token_file: Option<PathBuf>,
    /// Certificates for TCP, in PEM
    #[arg(long, value_name = "FILE", requires = "http", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Their private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let every local user change things over TCP without a token
    #[arg(long, requires = "http")]
    pub http_trust_local: bool,
    /// What a client may cost
    #[arg(skip)]
    pub limits: Limits,
}

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a request's header, or the next one, and a TLS handshake are there.
    pub header: Duration,
    /// Until a body is there.
    pub body: Duration,
    /// Until a request is answered. Events go on for as long as they are read.
    pub answer: Duration,
    /// Until a client takes some of an answer.
    pub write: Duration,
    /// For what is under way when the daemon ends.
    pub end: Duration,
    /// Bytes of a body.
    pub body_size: usize,
    /// Bytes of a header.
    pub header_size: usize,
    /// Fields of a header.
    pub header_fields: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Of those, from one address, or of one user other than root.
    pub of_one: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            write: Duration::from_secs(10),
            end: Duration::from_secs(5),
            body_size: 1 << 20,
            header_size: 16 << 10,
            header_fields: 64,
            connections: 256,
            of_one: 64,
        }
    }
}

impl Options {
    /// Refuses what would let strangers in.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(http) = self.http else { return Ok(()) };
        let is_safe = self.token_file.is_some() && self.tls_cert.is_some() && self.tls_key.is_some();
        if !http.ip().to_canonical().is_loopback() && !is_safe {
            bail!("serve the API on {http}: beyond loopback it takes --token-file, --tls-cert and --tls-key");
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            bail!("serve the API on {http}: --tls-cert and --tls-key go together");
        }
        if self.http_trust_local && self.token_file.is_some() {
            bail!("serve the API on {http}: with --token-file nobody is trusted without a token");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Options;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn check(line: &str) -> Result<(), String> {
        let words = std::iter::once("wocut").chain(line.split_ascii_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.options.check().map_err(|error| error.to_string())
    }

    #[test]
    fn strangers_take_tokens_and_tls() {
        let tls = "--tls-cert c --tls-key k";
        for (line, good) in [
            ("", true),
            ("--http 127.0.0.1:9090", true),
            ("--http 127.0.0.1:9090 --http-trust-local", true),
            ("--http [::1]:9090", true),
            ("--http 0.0.0.0:9090", false),
            ("--http [::]:9090 --http-trust-local", false),
            ("--http 192.0.2.1:9090 --token-file t", false),
            (&format!("--http 192.0.2.1:9090 {tls}"), false),
            (&format!("--http 192.0.2.1:9090 {tls} --token-file t"), true),
            ("--http 127.0.0.1:9090 --tls-cert c", false),
            ("--http 127.0.0.1:9090 --token-file t --http-trust-local", false),
            ("--token-file t", false),
        ] {
            assert_eq!(check(line).is_ok(), good, "{line}: {:?}", check(line));
        }
    }
}
