//! A SYN flood from addresses that nobody has.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::daemon::interpreter;
use crate::lan::Lan;
use crate::must::Must as _;
use crate::netns::Netns;
use crate::wait::wait_until;

/// No flood lasts longer, whatever becomes of the test.
const LONGEST: &str = "10";

/// A flood under way; dropping it ends it.
#[derive(Debug)]
pub struct Flood(Child);

impl Flood {
    /// Sends from the client of a lan to a port of its server, and waits until the server answers with SYN cookies.
    pub fn start(lan: &Lan, to: SocketAddr) -> Self {
        // The server's answers get to the client, which drops them.
        lan.server
            .ip(&format!("route replace 10.10.0.0/16 via {}", lan.client_address(crate::lan::Family::V4)));
        lan.client.ip("route replace blackhole 10.10.0.0/16");
        let mut command = lan.client.command(interpreter());
        command.args(["-I", "-S", "-c", include_str!("flood.py")]);
        command.args([to.ip().to_string(), to.port().to_string(), LONGEST.to_owned()]);
        let before = cookies_sent(&lan.server);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().must("start a flood");
        let flood = Self(child);
        goes_on(lan, before);
        flood
    }

    /// Fails the test unless it is going on still, then ends it; gives how many packets it was.
    #[track_caller]
    pub fn stop(mut self, lan: &Lan) -> u64 {
        goes_on(lan, cookies_sent(&lan.server));
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0
            .stdout
            .take()
            .must("have the flood's output")
            .read_to_string(&mut text)
            .must("read the flood's output");
        text.trim().parse().must("read how many packets the flood was")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until the server has sent more cookies than so many.
fn goes_on(lan: &Lan, before: u64) {
    wait_until("the flood is answered with cookies", Duration::from_secs(5), || {
        cookies_sent(&lan.server) > before + 100
    });
}

/// How many SYN cookies a namespace has sent.
pub fn cookies_sent(netns: &Netns) -> u64 {
    netstat(netns, "SyncookiesSent")
}

/// How many valid SYN cookies have come back to a namespace.
pub fn cookies_received(netns: &Netns) -> u64 {
    netstat(netns, "SyncookiesRecv")
}

/// One of the namespace's counters of TCP, which stand in two lines, the names and the numbers.
fn netstat(netns: &Netns, name: &str) -> u64 {
    let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/netstat").must("read netstat"));
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = lines.next().zip(lines.next()).must("find the counters of TCP");
    let mut both = names.split_whitespace().zip(numbers.split_whitespace());
    both.find(|(found, _)| *found == name).and_then(|(_, number)| number.parse().ok()).must(name)
}
