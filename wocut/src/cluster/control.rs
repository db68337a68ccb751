//! How other processes talk to a master: one line of JSON asks, lines of JSON answer, the last one says how it ended.
//!
//! * `{"do":"status"}`: one `status` line.
//! * `{"do":"reload"}`, `{"do":"scale","workers":16}`, `{"do":"stop"}`: `news` lines as it goes on, `done` or `error`
//!   when it is over.
//! * `{"do":"hand-over"}`: `done`, and the master goes and leaves its workers to the one that asked.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    num::NonZeroU32,
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream as Stream},
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{machine::Cause, place::Place};
use crate::{
    error::{NotAttached, Told},
    sys::{peer, unix_socket},
};

/// A longer request is refused.
const LONGEST: u64 = 4096;
/// A longer answer is not read.
const LONGEST_ANSWER: u64 = 64 << 20;
/// How long a client may take to ask, and to take a line of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at once.
const CLIENTS: usize = 32;
/// Lines of an answer that wait for the client.
const LINES: usize = 256;

/// What is asked of a master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Replace all workers.
    Reload,
    /// Have so many workers.
    Scale {
        /// How many.
        workers: NonZeroU32,
    },
    /// End, with all workers.
    Stop,
    /// Say how it is.
    Status,
    /// Go, and leave the workers.
    HandOver,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Something on the way, for people.
    News(String),
    /// How it is.
    Status(Status),
    /// It is done: what changed.
    Done(String),
    /// It is not.
    Error(Told),
}

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The process of its master.
    pub master: u32,
    /// How many workers are wanted.
    pub wanted: u32,
    /// How many get new connections.
    pub serving: usize,
    /// The newest generation.
    pub generation: u64,
    /// Whether workers are being replaced.
    pub reloading: bool,
    /// All of them, by index.
    pub workers: Vec<WorkerStatus>,
}

/// How a worker is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its `WOCUT_WORKER`.
    pub index: u32,
    /// Which it is of all that this cluster had.
    pub id: u64,
    /// The generation that it was started in.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// Its port.
    pub port: u16,
    /// `starting`, `serving`, `draining`, `terminated` or `killed`.
    pub state: String,
    /// What it uses, in bytes.
    pub memory: u64,
    /// Why it is about to be retired.
    pub cause: Option<Cause>,
    /// What it says of itself.
    pub status: Option<String>,
}

/// A request, and where its answer goes. The answer has ended when this is dropped.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    lines: mpsc::Sender<Answer>,
}

impl Asked {
    /// Adds a line to the answer. One for a client that takes no lines is thrown away.
    pub fn answer(&self, answer: Answer) {
        let _gone = self.lines.try_send(answer);
    }

    /// Adds the last line, and waits until the client has it or is gone.
    pub async fn end(self, answer: Answer) {
        self.answer(answer);
        let _late = timeout(PATIENCE, self.lines.closed()).await;
    }
}

/// Listens on the control socket, and passes requests on. Runs until the other end is dropped.
pub async fn serve(listener: std::os::unix::net::UnixListener, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let clients = Arc::new(Semaphore::new(CLIENTS));
    while !asked.is_closed() {
        let Ok(client) = Arc::clone(&clients).acquire_owned().await else { break };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the client is gone: not for long, and not for those who are served.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            // A client that does not speak or listen is of no interest.
            let _ended = talk(stream, &asked).await;
            drop(client);
        });
    }
    Ok(())
}

/// Binds the control socket of a cluster whose lock is held.
pub fn bind(place: &Place) -> anyhow::Result<std::os::unix::net::UnixListener> {
    let path = place.socket();
    unix_socket::bind_path(&path, None).with_context(|| format!("listen on {}", path.display()))
}

async fn talk(mut stream: Stream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let user = peer::of(&stream)?.uid;
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mut line = Vec::new();
    let mut input = tokio::io::BufReader::new((&mut stream).take(LONGEST));
    timeout(PATIENCE, input.read_until(b'\n', &mut line)).await??;
    let (lines, mut answer) = mpsc::channel(LINES);
    match serde_json::from_slice(&line) {
        Ok(request) => asked.send(Asked { request, lines }).await.map_err(io::Error::other)?,
        Err(error) => {
            let told = Told::of(&anyhow::Error::from(error).context("read the request"));
            lines.try_send(Answer::Error(told)).map_err(io::Error::other)?;
            drop(lines);
        }
    }
    while let Some(answer) = answer.recv().await {
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        timeout(PATIENCE, stream.write_all(&text)).await??;
        if !matches!(answer, Answer::News(_)) {
            break;
        }
    }
    Ok(())
}

/// Asks the master of a cluster. Each line before the last is passed on; the last one is returned, if it is no error.
pub fn ask(
    place: &Place,
    request: &Request,
    mut each: impl FnMut(Answer) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let name = place.name();
    let mut stream = match UnixStream::connect(place.socket()) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(NotAttached(format!("no cluster {name} runs in this network namespace")).into());
        }
        other => other.with_context(|| format!("ask the master of cluster {name}"))?,
    };
    // The others are answered when they are done, however long that takes.
    if matches!(request, Request::Status | Request::HandOver) {
        stream.set_read_timeout(Some(PATIENCE)).context("set a time for the answer")?;
    }
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text).with_context(|| format!("ask the master of cluster {name}"))?;
    for line in BufReader::new(stream.take(LONGEST_ANSWER)).lines() {
        let line = line.with_context(|| format!("hear the master of cluster {name}"))?;
        match serde_json::from_str(&line).context("read the answer of the master")? {
            Answer::Error(told) => return Err(told.into()),
            last @ (Answer::Done(_) | Answer::Status(_)) => return Ok(last),
            news @ Answer::News(_) => each(news)?,
        }
    }
    bail!("the master of cluster {name} ended before it was done")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
        path::Path,
    };

    use anyhow::anyhow;
    use tokio::{sync::mpsc, task::spawn_blocking};

    use super::{Answer, Asked, Place, Request, Told, ask, bind, serve};
    use crate::cluster::place::Lock;

    fn place(folder: &Path) -> (Place, Lock) {
        let place = Place::under(folder.join("cluster"), 7, "web".parse().unwrap());
        let lock = Lock::claim(&place).unwrap();
        (place, lock)
    }

    fn master(place: &Place) -> mpsc::Receiver<Asked> {
        let (asked, requests) = mpsc::channel(4);
        tokio::spawn(serve(bind(place).unwrap(), asked));
        requests
    }

    async fn said(place: &Place, text: &[u8]) -> String {
        let (path, text) = (place.socket(), text.to_vec());
        let talk = move || {
            let mut stream = UnixStream::connect(path).unwrap();
            // A master that has heard enough does not read the rest.
            let _heard = stream.write_all(&text);
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        };
        spawn_blocking(talk).await.unwrap()
    }

    #[test]
    fn requests_are_as_they_are_documented() {
        let json = |request: &Request| serde_json::to_string(request).unwrap();
        assert_eq!(json(&Request::HandOver), r#"{"do":"hand-over"}"#);
        let scale = Request::Scale { workers: 16.try_into().unwrap() };
        assert_eq!(json(&scale), r#"{"do":"scale","workers":16}"#);
        for bad in [r#"{"do":"scale","workers":0}"#, r#"{"do":"scale"}"#, r#"{"do":"eat"}"#, "[]", ""] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn answer_ends_with_what_was_done() {
        let folder = tempfile::tempdir().unwrap();
        let (place, _lock) = place(folder.path());
        let mut requests = master(&place);
        let client = spawn_blocking(move || {
            let mut news = Vec::new();
            let each = |answer| {
                news.push(answer);
                Ok(())
            };
            (ask(&place, &Request::Reload, each).unwrap(), news)
        });
        let asked = requests.recv().await.unwrap();
        assert_eq!(asked.request, Request::Reload);
        asked.answer(Answer::News("one".into()));
        asked.answer(Answer::Done("two".into()));
        drop(asked);
        assert_eq!(client.await.unwrap(), (Answer::Done("two".into()), vec![Answer::News("one".into())]));
    }

    #[tokio::test]
    async fn errors_come_with_their_code_and_a_master_that_ends_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (place, _lock) = place(folder.path());
        let mut requests = master(&place);
        let client = spawn_blocking(move || {
            let ask = || ask(&place, &Request::Stop, |_| Ok(())).unwrap_err().to_string();
            [ask(), ask()]
        });
        let asked = requests.recv().await.unwrap();
        asked.answer(Answer::Error(Told::of(&anyhow!("no"))));
        drop(asked);
        drop(requests.recv().await.unwrap());
        assert_eq!(client.await.unwrap(), ["no", "the master of cluster web ended before it was done"]);
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_others_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let (place, _lock) = place(folder.path());
        let mut requests = master(&place);
        let silent = UnixStream::connect(place.socket()).unwrap();
        assert!(said(&place, b"nonsense\n").await.contains("read the request"));
        assert!(said(&place, &vec![b'{'; 100_000]).await.len() < 1000);
        let client = spawn_blocking(move || ask(&place, &Request::Status, |_| Ok(())));
        requests.recv().await.unwrap().answer(Answer::Done("here".into()));
        assert_eq!(client.await.unwrap().unwrap(), Answer::Done("here".into()));
        drop(silent);
    }

    #[test]
    fn cluster_that_does_not_run_is_not_attached() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::under(folder.path().into(), 7, "web".parse().unwrap());
        let error = ask(&place, &Request::Status, |_| Ok(())).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 3);
    }
}
