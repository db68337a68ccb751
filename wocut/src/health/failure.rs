//! Why a check got no good answer, in words for the log.

use std::{error::Error as _, io};

use crate::model::{Pattern, Period, Statuses};

/// Why a check got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// All of the timeout went by.
    #[error("no answer within {0}")]
    Timeout(Period),
    /// There was no connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// There was a connection, and it ended too early.
    #[error("connection lost: {0}")]
    Lost(io::Error),
    /// The instance ended the connection instead of answering.
    #[error("connection closed before an answer")]
    Closed,
    /// No secret could be agreed on, or the instance is not who it should be.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// What it says is not HTTP.
    #[error("no answer in HTTP: {0}")]
    Http(String),
    /// A status code that is not a good one.
    #[error("answered {got}, not {wanted}")]
    Status {
        /// What came.
        got: u16,
        /// What had to.
        wanted: Statuses,
    },
    /// A body that is not a good one.
    #[error("answered with a body that is not like `{0}`")]
    Body(Pattern),
    /// Something else than what was expected.
    #[error("answered `{got}`, not `{wanted}`")]
    Answer {
        /// What came, or the beginning of it.
        got: String,
        /// What had to.
        wanted: Pattern,
    },
    /// The program ended with another number than 0.
    #[error("exited with {0}")]
    Exit(i32),
    /// The program was killed.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// There is no such program, or it may not be run.
    #[error("cannot start the program: {0}")]
    Start(io::Error),
    /// This host had nothing left to ask with. It says nothing of the instance.
    #[error("cannot ask: {0}")]
    Unasked(io::Error),
}

impl Failure {
    /// Whether the instance was not even asked: no answer of any kind, so it does not count.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Unasked(_))
    }

    pub(super) fn of_connect(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(code) if OURS.contains(&code) => Self::Unasked(error),
            _ => Self::Connect(error),
        }
    }

    pub(super) fn of_start(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) if OURS.contains(&code) => Self::Unasked(error),
            _ => Self::Start(error),
        }
    }

    pub(super) fn of_talk(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Lost(error),
        }
    }

    /// The error and what is behind it, on one line.
    pub(super) fn of_http(error: &hyper::Error) -> Self {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(behind) = cause {
            words = format!("{words}: {behind}");
            cause = behind.source();
        }
        Self::Http(words)
    }

    /// Of what came, the first 60 bytes.
    pub(super) fn of_answer(got: &[u8], wanted: &Pattern) -> Self {
        const SHOWN: usize = 60;
        let more = if got.len() > SHOWN { "…" } else { "" };
        let got = format!("{}{more}", got[..got.len().min(SHOWN)].escape_ascii());
        Self::Answer { got, wanted: wanted.clone() }
    }
}

/// Descriptors, memory, processes and ports that the whole host, or this process, has too few of.
const OURS: [i32; 6] =
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EADDRNOTAVAIL];

#[cfg(test)]
mod tests {
    use std::io;

    use super::Failure;

    #[test]
    fn what_this_host_lacks_is_not_held_against_the_instance() {
        for code in super::OURS {
            assert!(Failure::of_connect(io::Error::from_raw_os_error(code)).is_ours());
            assert!(Failure::of_start(io::Error::from_raw_os_error(code)).is_ours());
        }
        for code in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENOENT] {
            assert!(!Failure::of_connect(io::Error::from_raw_os_error(code)).is_ours());
            assert!(!Failure::of_start(io::Error::from_raw_os_error(code)).is_ours());
        }
    }

    #[test]
    fn hostile_answer_is_cut_and_shown_as_escapes() {
        let answer = [b"\x1b[2J\n".as_slice(), &[b'x'; 100]].concat();
        let said = Failure::of_answer(&answer, &"220*".parse().unwrap()).to_string();
        assert!(said.starts_with("answered `\\x1b[2J\\nxxx") && said.ends_with("x…`, not `220*`"), "{said}");
    }
}
