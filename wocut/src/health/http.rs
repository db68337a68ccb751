//! Whether an instance answers a request.

use std::pin::pin;

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Failure, Target, tcp, tls};
use crate::model::{HttpHost, HttpRequest, Tls};

/// Bytes that are read of a body, and of all headers together.
const MAX: usize = 64 * 1024;

pub(super) async fn ask(request: &HttpRequest, target: &Target) -> Result<(), Failure> {
    talk(request, target, tcp::connect(target).await?).await
}

pub(super) async fn ask_secretly(request: &HttpRequest, tls: &Tls, target: &Target) -> Result<(), Failure> {
    let host = request.host.as_ref().map(HttpHost::name);
    let stream = tls::wrap(tcp::connect(target).await?, tls, host, target).await?;
    talk(request, target, stream).await
}

async fn talk(
    wanted: &HttpRequest,
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), Failure> {
    let handshake = http1::Builder::new().max_buf_size(MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| Failure::of_http(&error))?;
    let request = request(wanted, target)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| Failure::of_http(&error))?;
        judge(wanted, answer).await
    };
    // The connection does the work, and may end before the answer is looked at. It is dropped when the answer is there.
    let mut answer = pin!(answer);
    tokio::select! {
        answer = &mut answer => return answer,
        _end = connection => {}
    }
    answer.await
}

fn request(wanted: &HttpRequest, target: &Target) -> Result<Request<Empty<Bytes>>, Failure> {
    let place = || HeaderValue::try_from(target.place().to_string());
    let host = wanted.host.as_ref().map_or_else(place, |host| Ok(host.as_value().clone()));
    let error = |error: hyper::http::Error| Failure::Http(error.to_string());
    Request::builder()
        .method(wanted.method.as_method())
        .uri(Uri::from(wanted.path.as_uri().clone()))
        .header(HOST, host.map_err(|cause| error(cause.into()))?)
        .header(USER_AGENT, HeaderValue::from_static(concat!("wocut/", env!("CARGO_PKG_VERSION"))))
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::new())
        .map_err(error)
}

async fn judge(wanted: &HttpRequest, answer: Response<Incoming>) -> Result<(), Failure> {
    let got = answer.status().as_u16();
    if !wanted.status.contains(got) {
        return Err(Failure::Status { got, wanted: wanted.status.clone() });
    }
    let Some(pattern) = &wanted.body else { return Ok(()) };
    let body = read(answer.into_body()).await.map_err(|error| Failure::of_http(&error))?;
    if pattern.matches(&body) { Ok(()) } else { Err(Failure::Body(pattern.clone())) }
}

/// All of a body, or the beginning of a long one.
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(MAX - bytes.len())]);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        join,
        net::TcpListener,
    };

    use super::{
        super::{Failure, Target, ask, patient, tls::server},
        MAX,
    };
    use crate::model::{Check, CheckKind, HttpRequest, Tls};

    /// Reads one request and says this. Returns what was read.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") && stream.read_buf(&mut read).await.unwrap() > 0 {}
        // Who does not want all of it hangs up.
        drop(stream.write_all(answer).await);
        String::from_utf8(read).unwrap()
    }

    async fn asked(request: HttpRequest, answer: &[u8]) -> (Result<(), Failure>, String, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let check = patient(CheckKind::Http(request));
        let served = async { serve(listener.accept().await.unwrap().0, answer).await };
        let (outcome, read) = join!(ask(&check, &target), served);
        (outcome, read, target)
    }

    #[tokio::test]
    async fn request_is_as_the_check_has_it() {
        let (outcome, read, target) = asked(HttpRequest::default(), b"HTTP/1.1 204 No\r\n\r\n").await;
        outcome.unwrap();
        assert!(read.starts_with("GET / HTTP/1.1\r\n"), "{read}");
        assert!(read.contains(&format!("host: {}\r\n", target.place())), "{read}");
        let request = HttpRequest {
            method: "OPTIONS".parse().unwrap(),
            path: "/a?b=c".parse().unwrap(),
            host: "a.example".parse().ok(),
            ..HttpRequest::default()
        };
        let (outcome, read, _) = asked(request, b"HTTP/1.0 200 OK\r\n\r\n").await;
        outcome.unwrap();
        assert!(read.starts_with("OPTIONS /a?b=c HTTP/1.1\r\nhost: a.example\r\n"), "{read}");
        assert!(read.contains("connection: close\r\n"), "{read}");
    }

    #[tokio::test]
    async fn wrong_answers_are_told() {
        let body = HttpRequest { body: "*ok*".parse().ok(), ..HttpRequest::default() };
        for (request, answer, said) in [
            (HttpRequest::default(), "HTTP/1.1 500 No\r\n\r\n", "answered 500, not 200-399"),
            (HttpRequest::default(), "220 mail\r\n", "no answer in HTTP: "),
            (HttpRequest::default(), "", "no answer in HTTP: "),
            (body.clone(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", "body that is not like `*ok*`"),
            (body, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "no answer in HTTP: "),
        ] {
            let failure = asked(request, answer.as_bytes()).await.0.unwrap_err().to_string();
            assert!(failure.contains(said), "{answer:?}: {failure}");
        }
    }

    #[tokio::test]
    async fn body_is_read_up_to_a_limit() {
        let like = |pattern: &str| HttpRequest { body: pattern.parse().ok(), ..HttpRequest::default() };
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\no\n\r\n1\r\nk\r\n0\r\n\r\n";
        asked(like("o%0Ak"), chunked.as_bytes()).await.0.unwrap();
        let long = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'x'; MAX], b"late"].concat();
        asked(like("*x"), &long).await.0.unwrap();
        asked(like("*late"), &long).await.0.unwrap_err();
    }

    #[tokio::test]
    async fn silence_ends_at_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let usual = patient(CheckKind::Http(HttpRequest::default()));
        let check = Check { timeout: "20ms".parse().unwrap(), ..usual };
        assert_eq!(ask(&check, &target).await.unwrap_err().to_string(), "no answer within 20ms");
    }

    #[tokio::test]
    async fn the_same_works_under_tls() {
        let (acceptor, _) = server::acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let request = HttpRequest { body: "ok".parse().ok(), ..HttpRequest::default() };
        let tls = Tls { verify: false, server_name: None };
        let check = patient(CheckKind::Https { request, tls });
        let served = async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            serve(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
        };
        let (outcome, read) = join!(ask(&check, &target), served);
        outcome.unwrap();
        assert!(read.starts_with("GET / HTTP/1.1\r\n"), "{read}");
    }
}
