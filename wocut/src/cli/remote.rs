//! The daemon of this network namespace, asked over its socket: it does for the members of a group what takes root.

use std::{
    env,
    io::{self, ErrorKind},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    runtime::{Builder, Runtime},
    select,
    time::timeout,
};

use super::printer::Printer;
use crate::{
    api::{ErrorBody, NETNS, SOCKET},
    departure::{Departure, Seen},
    error::{Told, one_line},
    host::Done,
    model::{Name, Wanted},
    status::Status,
    sys::netns::Netns,
    verb::Order,
};

/// Names another socket; empty: no daemon is asked.
const PLACE: &str = "WOCUT_SOCKET";
/// Until a daemon says where it works. One that is stopped is not waited for.
const HELLO: Duration = Duration::from_secs(2);
/// Until an answer is there, which is a little more than the daemon has.
const ANSWER: Duration = Duration::from_secs(40);
/// Bytes of an answer: more than the status of as many services as there can be.
const MOST: usize = 64 << 20;

/// A daemon that works here.
#[derive(Debug)]
pub(super) struct Remote {
    socket: PathBuf,
    runtime: Runtime,
}

impl Remote {
    /// The daemon of this namespace, if one runs and lets this user knock.
    pub(super) fn find(netns: &Netns, printer: &Printer) -> Option<Self> {
        let socket = env::var_os(PLACE).map_or_else(|| SOCKET.into(), PathBuf::from);
        let stream = UnixStream::connect(&socket).ok()?;
        let found = Self::new(socket).and_then(|remote| Ok((remote.netns(stream)?, remote)));
        match found {
            Ok((there, remote)) => (there == Some(netns.inode)).then_some(remote),
            Err(error) => {
                printer.note(&format!("going on without the daemon: {}", one_line(&error)));
                None
            }
        }
    }

    fn new(socket: PathBuf) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        Ok(Self { socket, runtime })
    }

    /// What is attached, and what the kernel counted.
    pub(super) fn status(&self, only: Option<&Name>) -> anyhow::Result<Status> {
        let path = only.map_or_else(|| "/_status".into(), |name| format!("/_status/{name}"));
        self.ask(&Method::GET, &path, &())
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> anyhow::Result<Wanted> {
        self.ask(&Method::GET, "/_wanted", &())
    }

    /// Has an order carried out.
    pub(super) fn carry_out(&self, order: &Order) -> anyhow::Result<Done> {
        self.ask(&Method::POST, "/_change", order)
    }

    /// Has a look at those who leave.
    pub(super) fn look(&self, departure: &Departure) -> anyhow::Result<Seen> {
        self.ask(&Method::POST, "/_open", departure)
    }

    /// Inode number of the network namespace that it works in, if it is one of wocut's that answers.
    fn netns(&self, stream: UnixStream) -> anyhow::Result<Option<u64>> {
        let (answer, _) = self.exchange(HELLO, stream, &Method::GET, "/_live", Bytes::new())?;
        Ok(answer.headers().get(NETNS).and_then(|inode| inode.to_str().ok()?.parse().ok()))
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = if method == Method::GET { Vec::new() } else { serde_json::to_vec(body)? };
        let stream = UnixStream::connect(&self.socket).with_context(|| self.what())?;
        let (answer, body) = self.exchange(ANSWER, stream, method, path, body.into())?;
        read(answer.status(), &body)
    }

    fn exchange(
        &self,
        within: Duration,
        stream: UnixStream,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(Response<()>, Bytes)> {
        let heard =
            async { timeout(within, exchange(stream, method, path, body)).await.map_err(|_| late())? };
        self.runtime.block_on(heard).with_context(|| self.what())
    }

    fn what(&self) -> String {
        format!("ask the daemon on {}", self.socket.display())
    }
}

fn late() -> anyhow::Error {
    io::Error::new(ErrorKind::TimedOut, "it took too long to answer").into()
}

/// One request, on a connection of its own.
async fn exchange(
    stream: UnixStream,
    method: &Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<(Response<()>, Bytes)> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri(path).header(HOST, "wocut").body(Full::new(body))?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::<Incoming>::new(body, MOST).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((Response::from_parts(head, ()), body.to_bytes()))
    };
    tokio::pin!(answer);
    // The connection does the work, and may end before the answer is looked at.
    select! {
        answer = &mut answer => return answer,
        _end = connection => {}
    }
    answer.await
}

/// What was asked for, or why not.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> anyhow::Result<T> {
    if status == StatusCode::OK {
        return serde_json::from_slice(body).context("read the daemon's answer");
    }
    let Ok(ErrorBody { error }) = serde_json::from_slice(body) else {
        bail!("the daemon answered {status}");
    };
    Err(error.told.map_or_else(
        || {
            let causes = vec!["the daemon refuses".into(), error.message];
            Told { exit_code: 1, causes, hint: error.hint, conflicts: Vec::new() }
        },
        |told| *told,
    ))?
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::read;
    use crate::error::Told;

    fn told(status: StatusCode, body: &str) -> anyhow::Error {
        read::<String>(status, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn refusal_is_told_as_a_command_tells_it() {
        let plain = r#""code":"forbidden","message":"user 7 may not","hint":"ask root","request_id":"1""#;
        let error = told(StatusCode::FORBIDDEN, &format!("{{\"error\":{{{plain}}}}}"));
        let heard = error.downcast_ref::<Told>().unwrap();
        assert_eq!((heard.exit_code, heard.hint.as_deref()), (1, Some("ask root")));
        assert_eq!(heard.causes, ["the daemon refuses", "user 7 may not"]);

        let own = r#""told":{"exit_code":4,"causes":["no service `web`"],"hint":null,"conflicts":[]}"#;
        let error = told(StatusCode::NOT_FOUND, &format!("{{\"error\":{{{plain},{own}}}}}"));
        assert_eq!(crate::error::exit_code(&error), 4);
        assert_eq!(crate::error::one_line(&error), "no service `web`");
    }

    #[test]
    fn answer_that_is_not_the_daemons_is_an_error() {
        assert_eq!(
            told(StatusCode::BAD_GATEWAY, "<html>").to_string(),
            "the daemon answered 502 Bad Gateway"
        );
        assert!(told(StatusCode::OK, "{").to_string().contains("read the daemon's answer"));
        assert_eq!(read::<String>(StatusCode::OK, b"\"web\"").unwrap(), "web");
    }
}
