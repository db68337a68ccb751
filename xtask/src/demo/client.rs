//! Clients in the other namespace: one connection, one request, one answer, and again.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use crate::lan;

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Answers by who gave them.
    pub(super) answers: BTreeMap<String, u64>,
    /// Connections that were refused or timed out.
    pub(super) unconnected: u64,
    /// Connections that were made and got no answer.
    pub(super) unanswered: u64,
}

impl Tally {
    pub(super) fn total(&self) -> u64 {
        self.answers.values().sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.unconnected + self.unanswered
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (instance, count) in &other.answers {
            *self.answers.entry(instance.clone()).or_default() += count;
        }
        self.unconnected += other.unconnected;
        self.unanswered += other.unanswered;
    }
}

/// Connects as long as there is more to do. The thread stays in the namespace: it should be one of its own.
pub(super) fn run(netns: &str, service: SocketAddr, more: &(dyn Fn() -> bool + Sync)) -> Result<Tally> {
    lan::enter(netns)?;
    let mut tally = Tally::default();
    while more() {
        let Ok(stream) = TcpStream::connect_timeout(&service, Duration::from_secs(5)) else {
            tally.unconnected += 1;
            continue;
        };
        match answer(stream) {
            Some(instance) => *tally.answers.entry(instance).or_default() += 1,
            None => tally.unanswered += 1,
        }
    }
    Ok(tally)
}

/// Each server's page is its port.
fn answer(mut stream: TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (_, page) = response.split_once("\r\n\r\n")?;
    (!page.trim().is_empty()).then(|| page.trim().to_owned())
}
