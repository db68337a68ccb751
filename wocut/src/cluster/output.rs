//! Where the output of workers goes.
//!
//! Workers outlive the master. So what they write to may not end with it: a pipe that the master reads would end them
//! with SIGPIPE when it is killed, or hold them when it is stopped. The lines of a worker go through a small process of
//! their own instead, which lives as long as anybody holds the other end, and reads on when nobody takes its lines.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::Stdio,
};

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::process::Command;

use super::lines::Lines;
use crate::{model::Name, sys::inherited};

/// The hidden command that passes lines on, with the prefix as its argument.
pub const RELAY: &str = "__relay";
/// What is written to a pipe at once is not mixed with what others write: `PIPE_BUF`.
const AT_ONCE: usize = 4096;
const JOURNAL: &str = "/run/systemd/journal/stdout";

/// Where the output of workers goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// To where the master's goes, each line with `NAME[INDEX]: ` before it.
    #[default]
    Prefix,
    /// To where the master's goes, as it is.
    Inherit,
    /// To the journal, as NAME-INDEX.
    Journal,
}

impl Output {
    /// Fails where it cannot be opened for any worker.
    pub fn probe(self) -> anyhow::Result<()> {
        if self == Self::Journal { journal(Path::new(JOURNAL), "wocut").map(drop) } else { Ok(()) }
    }

    /// Opens it for one worker. None: what the master has. Needs a tokio runtime, which reaps relays.
    pub fn open(self, name: &Name, index: u32) -> anyhow::Result<Option<OwnedFd>> {
        match self {
            Self::Inherit => Ok(None),
            Self::Prefix => {
                let program = env::current_exe().context("find the program of this process")?;
                // On Linux this one can be started though its file has been replaced.
                let program = if program.exists() { program } else { "/proc/self/exe".into() };
                let words = [RELAY.into(), format!("{name}[{index}]: ").into()];
                relay_through(program.as_path(), &words).map(Some)
            }
            Self::Journal => journal(Path::new(JOURNAL), &format!("{name}-{index}")).map(Some),
        }
    }
}

/// Starts a relay. Returns what a worker is to have as its standard output and error.
fn relay_through(program: &Path, words: &[OsString]) -> anyhow::Result<OwnedFd> {
    inherited::close_on_exec();
    let (reader, writer) = io::pipe().context("make a pipe for a worker's output")?;
    let relay = Command::new(program).args(words).stdin(Stdio::from(reader)).spawn();
    // It is left alone, and reaped by the runtime when it has ended.
    drop(relay.context("start a relay for a worker's output")?);
    Ok(writer.into())
}

/// Standard output and error of that name in the journal: sd-daemon's `sd_journal_stream_fd(3)`.
fn journal(path: &Path, identifier: &str) -> anyhow::Result<OwnedFd> {
    let context = || format!("open the journal at {} (systemd-journald makes it)", path.display());
    let mut stream = UnixStream::connect(path).with_context(context)?;
    stream.shutdown(std::net::Shutdown::Read).with_context(context)?;
    // Identifier, unit, priority `info`, whether `<3>` before a line is its priority, and where else it goes: nowhere.
    let header = format!("{identifier}\n\n6\n1\n0\n0\n0\n");
    stream.write_all(header.as_bytes()).with_context(context)?;
    Ok(stream.into())
}

/// What the hidden command does: passes standard input on to standard output until it ends.
pub fn relay(prefix: &str) -> anyhow::Result<()> {
    // Ctrl-C and the end of a terminal are for the master. Fails where this is a session's first already.
    let _first = rustix::process::setsid();
    // Nor is what systemd sends to all of a unit: it ends with its worker.
    let heard = std::sync::Arc::default();
    for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(number, std::sync::Arc::clone(&heard)).context("ignore signals")?;
    }
    let input = io::stdin();
    copy(prefix, input.lock(), io::stdout().lock()).context("read a worker's output")
}

fn copy(prefix: &str, mut input: impl io::Read, mut output: impl io::Write) -> io::Result<()> {
    let mut lines = Lines::new(prefix);
    let mut buffer = [0; 16 << 10];
    let mut batch = Vec::new();
    loop {
        let length = match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let mut give = |line: &[u8]| {
            if batch.len() + line.len() > AT_ONCE {
                pass_on(&mut output, &mut batch);
            }
            batch.extend_from_slice(line);
        };
        if length == 0 {
            lines.end(&mut give);
        } else {
            lines.feed(&buffer[..length], &mut give);
        }
        pass_on(&mut output, &mut batch);
        if length == 0 {
            return Ok(());
        }
    }
}

/// What cannot be written is thrown away: a worker does not wait for it, and does not end because of it.
fn pass_on(output: &mut impl io::Write, batch: &mut Vec<u8>) {
    let _unheard = output.write_all(batch).and_then(|()| output.flush());
    batch.clear();
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{self, Cursor, Read as _, Write as _},
        os::unix::net::UnixListener,
        path::Path,
    };

    use super::{copy, journal, relay_through};

    /// Takes nothing.
    struct Closed;

    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_passed_on_with_the_prefix() {
        let mut output = Vec::new();
        copy("web[3]: ", Cursor::new("one\ntwo"), &mut output).unwrap();
        assert_eq!(output, b"web[3]: one\nweb[3]: two\n");
    }

    #[test]
    fn relay_reads_on_when_nobody_takes_its_lines() {
        let text = "line\n".repeat(100_000);
        let mut input = Cursor::new(&text);
        copy("", &mut input, Closed).unwrap();
        assert_eq!(input.position(), u64::try_from(text.len()).unwrap());
    }

    #[tokio::test]
    async fn worker_writes_into_a_relay() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("lines");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let words = ["-c", "exec cat > \"$0\"", fifo.to_str().unwrap()].map(Into::into);
        let output = relay_through(Path::new("/bin/sh"), &words).unwrap();
        let mut worker = File::from(output);
        worker.write_all(b"hello").unwrap();
        drop(worker);
        let mut text = String::new();
        File::open(&fifo).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn journal_knows_whose_lines_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        let error = journal(&path, "web-3").unwrap_err();
        assert!(error.to_string().contains("systemd-journald"), "{error}");

        let listener = UnixListener::bind(&path).unwrap();
        let mut worker = File::from(journal(&path, "web-3").unwrap());
        worker.write_all(b"hello\n").unwrap();
        drop(worker);
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "web-3\n\n6\n1\n0\n0\n0\nhello\n");
    }
}
