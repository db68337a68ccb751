//! Real sockets, and clients that do not behave.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{oneshot, watch},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::{Stage, short, user};
use crate::{
    api::{Limits, Options, Server, access::Caller, connection::Common, fixture, tls},
    daemon::Handle,
    host::Host,
};

fn common(stage: &Stage) -> Common {
    Common { router: stage.router.clone(), limits: stage.limits, ending: stage.end.subscribe() }
}

/// The other end of a connection that is served.
fn connect(stage: &Stage) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    tokio::spawn(common(stage).serve(far, user(0, 0)));
    near
}

/// Sends, and reads until the other end is done.
async fn talk(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), sent: &[u8]) -> String {
    // Who is cut off may not be able to send all of it.
    let _sent = stream.write_all(sent).await;
    let mut heard = Vec::new();
    let _heard = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

const LIVE: &[u8] = b"GET /_live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn connection_is_kept_and_closed_when_asked() {
    let stage = Stage::web();
    let twice = [&b"GET /_live HTTP/1.1\r\nHost: x\r\n\r\n"[..], LIVE].concat();
    let heard = talk(&mut connect(&stage), &twice).await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 2, "{heard}");
}

#[tokio::test]
async fn client_that_sends_a_header_forever_is_cut_off() {
    let stage = Stage::of(fixture::wanted(), short());
    let heard = talk(&mut connect(&stage), b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(!heard.contains("200 OK"), "{heard}");
}

#[tokio::test]
async fn client_that_says_nothing_is_cut_off() {
    let stage = Stage::of(fixture::wanted(), short());
    let heard = talk(&mut connect(&stage), b"").await;
    assert!(!heard.contains("200 OK"), "{heard}");
}

#[tokio::test]
async fn client_that_sends_a_body_forever_is_told() {
    let stage = Stage::of(fixture::wanted(), short());
    let slow = b"PUT /web HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    let heard = talk(&mut connect(&stage), slow).await;
    assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("\"code\":\"timeout\""), "{heard}");
}

#[tokio::test]
async fn body_of_a_gigabyte_is_not_read() {
    let stage = Stage::web();
    let announced = b"PUT /web HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n";
    let heard = talk(&mut connect(&stage), announced).await;
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");

    let mut endless = b"PUT /web HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..200 {
        endless.extend(b"4000\r\n");
        endless.extend([b' '; 0x4000]);
        endless.extend(b"\r\n");
    }
    let heard = talk(&mut connect(&stage), &endless).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 413"), "{heard}");
}

#[tokio::test]
async fn flood_of_header_fields_is_refused() {
    let stage = Stage::web();
    for (fields, shape) in [(100, true), (10_000, false)] {
        let flood = "X-Flood: x\r\n".repeat(fields);
        let heard = talk(&mut connect(&stage), format!("GET / HTTP/1.1\r\n{flood}\r\n").as_bytes()).await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431"), "{heard}");
        assert_eq!(heard.contains("headers_too_large"), shape, "{heard}");
    }
}

#[tokio::test]
async fn events_end_with_the_daemon() {
    let stage = Stage::web();
    let mut stream = connect(&stage);
    stream.write_all(b"GET /_events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    while !heard.contains(": listening") {
        let mut some = [0; 512];
        let read = stream.read(&mut some).await.unwrap();
        assert_ne!(read, 0, "{heard}");
        heard.push_str(std::str::from_utf8(&some[..read]).unwrap());
    }
    assert!(heard.contains("text/event-stream"), "{heard}");
    stage.end.send_replace(true);
    stream.read_to_string(&mut heard).await.unwrap();
}

async fn served_in_tls(stage: &Stage, cert: &str, key: &str) -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    let [cert_path, key_path] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert_path, cert).unwrap();
    std::fs::write(&key_path, key).unwrap();
    let open = tls::acceptor(&cert_path, &key_path).map(|_| ()).unwrap_err().to_string();
    assert!(open.contains("open to everybody"), "{open}");
    std::fs::set_permissions(&key_path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let acceptor = tls::acceptor(&cert_path, &key_path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let common = common(stage);
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(common.clone().serve_tls(acceptor.clone(), stream, Caller::Tcp(from)));
        }
    });
    address
}

#[tokio::test]
async fn tls_is_spoken_and_plain_text_is_not() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let stage = Stage::of(fixture::wanted(), Limits { header: Duration::from_secs(5), ..short() });
    let address = served_in_tls(&stage, &certified.cert.pem(), &certified.signing_key.serialize_pem()).await;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certified.cert.der().to_vec())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let heard = talk(&mut stream, LIVE).await;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");

    let mut plain = TcpStream::connect(address).await.unwrap();
    let _sent = plain.write_all(LIVE).await;
    let mut heard = Vec::new();
    let _heard = plain.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP/"), "{heard:?}");
}

/// Whether a new client is answered, sooner or later: a place is given back a little after its client is gone.
async fn is_answered(socket: &Path) -> bool {
    for _ in 0..1000 {
        let heard = talk(&mut UnixStream::connect(socket).await.unwrap(), LIVE).await;
        if heard.starts_with("HTTP/1.1 200") {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn server_answers_on_its_socket_and_leaves_none_behind() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let options = Options {
        socket: socket.clone(),
        group: "no-such-group-of-wocut".into(),
        write_group: None,
        http: Some("127.0.0.1:0".parse().unwrap()),
        token_file: None,
        tls_cert: None,
        tls_key: None,
        http_trust_local: false,
        limits: Limits { connections: 2, ..Limits::default() },
    };
    let handle = || Handle::new(Host::enter(None).unwrap(), None).unwrap();
    let bind = |options: &Options| {
        let set_log = Box::new(|_: &str| Ok(()));
        Server::bind(options.clone(), handle(), watch::channel(true).1, set_log)
    };
    let server = bind(&options).unwrap();
    assert!(bind(&options).unwrap_err().root_cause().to_string().contains("another process answers"));

    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move {
        let _stopped = stopped.await;
    }));
    let mut kept = UnixStream::connect(&socket).await.unwrap();
    for _ in 0..20 {
        assert!(is_answered(&socket).await, "a place is given back");
    }
    let mut other = UnixStream::connect(&socket).await.unwrap();
    let _sent = other.write_all(b"GET /_live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    while other.read(&mut [0; 15]).await.is_ok_and(|read| read == 0) {
        other = UnixStream::connect(&socket).await.unwrap();
        let _sent = other.write_all(b"GET /_live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    assert_eq!(talk(&mut UnixStream::connect(&socket).await.unwrap(), LIVE).await, "", "all are taken");

    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(!socket.exists());
    assert_eq!(talk(&mut kept, b"").await, "");
}
