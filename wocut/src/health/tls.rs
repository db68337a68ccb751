//! A connection that nobody else can read, to someone who is who they should be.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::{Failure, Target};
use crate::model::Tls;

type Connector = Result<TlsConnector, rustls::Error>;

/// Reads the roots of this host at the first use: a few milliseconds, once.
static VERIFYING: LazyLock<Connector> = LazyLock::new(|| verifying(native_roots()));
static BELIEVING: LazyLock<Connector> = LazyLock::new(believing);

/// The same connection under TLS. `host` is the name that the request has, if it has one.
pub(super) async fn wrap(
    stream: TcpStream,
    tls: &Tls,
    host: Option<&str>,
    target: &Target,
) -> Result<TlsStream<TcpStream>, Failure> {
    let connector = if tls.verify { &*VERIFYING } else { &*BELIEVING };
    let connector = connector.as_ref().map_err(|error| Failure::Unasked(io::Error::other(error.clone())))?;
    connector.connect(name(tls, host, target), stream).await.map_err(Failure::Tls)
}

/// The name that the certificate has to be for.
fn name(tls: &Tls, host: Option<&str>, target: &Target) -> ServerName<'static> {
    let given = tls.server_name.as_ref().map(|name| name.as_server_name().clone());
    let host = || ServerName::try_from(host?.to_owned()).ok();
    given.or_else(host).unwrap_or_else(|| ServerName::from(target.address))
}

/// Roots that cannot be read are as good as none, and the handshake says so.
fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn verifying(roots: RootCertStore) -> Connector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into())
}

fn believing() -> Connector {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Believing(provider)));
    Ok(Arc::new(builder.with_no_client_auth()).into())
}

/// Takes every certificate, and still wants the key that belongs to it.
#[derive(Debug)]
struct Believing(Arc<CryptoProvider>);

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A server with a certificate for `a.example`, that its roots are.
#[cfg(test)]
pub(super) mod server {
    use std::sync::Arc;

    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            RootCertStore, ServerConfig,
            crypto::ring,
            pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        },
    };

    pub(in super::super) fn acceptor() -> (TlsAcceptor, RootCertStore) {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(vec![certificate], key).unwrap();
        (TlsAcceptor::from(Arc::new(config)), roots)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{join, net::TcpListener};

    use super::{Target, name, server, verifying, wrap};
    use crate::{health::tcp, model::Tls};

    fn tls(verify: bool, server_name: Option<&str>) -> Tls {
        Tls { verify, server_name: server_name.map(|name| name.parse().unwrap()) }
    }

    #[test]
    fn name_is_the_given_one_or_the_hosts_or_the_address() {
        let target = Target::at(([127, 0, 0, 1], 443).into());
        let said = |tls: &Tls, host| name(tls, host, &target).to_str().into_owned();
        assert_eq!(said(&tls(true, Some("b.example")), Some("a.example")), "b.example");
        assert_eq!(said(&tls(true, None), Some("a.example")), "a.example");
        assert_eq!(said(&tls(true, None), Some("::1")), "::1");
        assert_eq!(said(&tls(true, None), Some("not..a.name")), "127.0.0.1");
        assert_eq!(said(&tls(true, None), None), "127.0.0.1");
    }

    #[tokio::test]
    async fn certificate_of_nobody_known_is_refused_unless_it_is_not_looked_at() {
        let (acceptor, _) = server::acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        for verify in [true, false] {
            let serve = async { drop(acceptor.accept(listener.accept().await.unwrap().0).await) };
            let (tls, host) = (tls(verify, None), Some("a.example"));
            let stream = tcp::connect(&target).await.unwrap();
            let (outcome, ()) = join!(wrap(stream, &tls, host, &target), serve);
            match outcome {
                Ok(_) => assert!(!verify),
                Err(failure) => assert!(verify && failure.to_string().contains("UnknownIssuer"), "{failure}"),
            }
        }
    }

    #[tokio::test]
    async fn certificate_is_for_the_name_that_is_asked_for() {
        let (acceptor, roots) = server::acceptor();
        let connector = verifying(roots).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        for (asked, good) in [("a.example", true), ("b.example", false)] {
            let serve = async { drop(acceptor.accept(listener.accept().await.unwrap().0).await) };
            let stream = tcp::connect(&target).await.unwrap();
            let name = name(&tls(true, Some(asked)), None, &target);
            let (outcome, ()) = join!(connector.connect(name, stream), serve);
            assert_eq!(outcome.is_ok(), good, "{asked}");
        }
    }
}
