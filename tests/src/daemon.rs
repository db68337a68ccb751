//! Real daemons that know nothing of wocut.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::must::{Must as _, check};
use crate::netns::Netns;
use crate::sockets::accept_queue;
use crate::tool::run;
use crate::wait::wait_until;

/// How a Python daemon listens.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the daemon's, and independent of the others"
)]
#[derive(Clone, Copy, Debug)]
pub struct Listen<'a> {
    /// The port, which is also the name that the daemon gives itself.
    pub port: u16,
    /// The address; `::` takes IPv4 as well.
    pub address: &'a str,
    /// The accept queue.
    pub backlog: u32,
    /// The number that the daemon answers with, if it is not the port.
    pub label: Option<u16>,
    /// Whether a listener on an IPv6 address takes IPv6 alone (`IPV6_V6ONLY`).
    pub v6only: bool,
    /// Whether it is an MPTCP listener.
    pub mptcp: bool,
    /// Whether others may listen there as well (`SO_REUSEPORT`).
    pub reuseport: bool,
    /// Whether a daemon for UDP makes a socket for each client, connected to it.
    pub connected: bool,
}

impl Listen<'_> {
    /// On every address, with the usual queue.
    pub fn on(port: u16) -> Self {
        Self {
            port,
            address: "::",
            backlog: 1024,
            label: None,
            v6only: false,
            mptcp: false,
            reuseport: false,
            connected: false,
        }
    }

    /// The arguments of the Python daemons.
    fn arguments(self) -> impl Iterator<Item = String> {
        let label = self.label.unwrap_or(self.port);
        let words = [self.port.to_string(), self.backlog.to_string(), self.address.into(), label.to_string()];
        let options = [
            (self.v6only, "v6only"),
            (self.mptcp, "mptcp"),
            (self.reuseport, "reuseport"),
            (self.connected, "connected"),
        ];
        words.into_iter().chain(options.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.into()))
    }
}

/// The Python daemon for TCP.
const STREAMS: &str = include_str!("instance.py");
/// The Python daemon for UDP.
const DATAGRAMS: &str = include_str!("datagrams.py");

/// A running daemon; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// The daemon ends when this closes, even if the test is killed.
    _stdin: Option<ChildStdin>,
    folder: Option<TempDir>,
    end: Signal,
}

impl Daemon {
    /// A Python daemon on a port, once it listens.
    pub fn python(netns: &Netns, port: u16) -> Self {
        Self::python_with(netns, Listen::on(port))
    }

    /// A Python daemon that listens as given, once it does.
    pub fn python_with(netns: &Netns, listen: Listen<'_>) -> Self {
        let (daemon, stdout) = Self::start_python(netns, STREAMS, listen);
        ready(stdout);
        daemon
    }

    /// Python daemons on many ports, started together.
    pub fn pythons(netns: &Netns, ports: impl IntoIterator<Item = u16>) -> Vec<Self> {
        Self::start_pythons(netns, STREAMS, ports)
    }

    /// Python daemons for UDP on many ports, started together.
    pub fn udp(netns: &Netns, ports: impl IntoIterator<Item = u16>) -> Vec<Self> {
        Self::start_pythons(netns, DATAGRAMS, ports)
    }

    /// A Python daemon for UDP that is bound as given, once it is.
    pub fn udp_with(netns: &Netns, listen: Listen<'_>) -> Self {
        let (daemon, stdout) = Self::start_python(netns, DATAGRAMS, listen);
        ready(stdout);
        daemon
    }

    /// Starts a prepared command, which is then the daemon.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().must("start a daemon");
        Self { child, _stdin: None, folder: None, end: Signal::TERM }
    }

    fn start_pythons(netns: &Netns, script: &str, ports: impl IntoIterator<Item = u16>) -> Vec<Self> {
        let (daemons, outputs): (Vec<_>, Vec<_>) =
            ports.into_iter().map(|port| Self::start_python(netns, script, Listen::on(port))).unzip();
        outputs.into_iter().for_each(ready);
        daemons
    }

    /// A Python script that says "ready" and ends with its stdin, once it is ready.
    pub fn script(netns: &Netns, script: &str, arguments: &[&str]) -> Self {
        let (daemon, stdout) = Self::start_script(netns, script, arguments.iter().map(ToString::to_string));
        ready(stdout);
        daemon
    }

    fn start_python(netns: &Netns, script: &str, listen: Listen<'_>) -> (Self, ChildStdout) {
        Self::start_script(netns, script, listen.arguments())
    }

    fn start_script(
        netns: &Netns,
        script: &str,
        arguments: impl Iterator<Item = String>,
    ) -> (Self, ChildStdout) {
        Self::start_piped(python(netns, script).args(arguments))
    }

    fn start_piped(command: &mut Command) -> (Self, ChildStdout) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().must("start a daemon");
        let stdout = child.stdout.take().must("read the daemon's output");
        let stdin = child.stdin.take();
        (Self { child, _stdin: stdin, folder: None, end: Signal::KILL }, stdout)
    }

    /// Starts a prepared command, which says "ready" and ends with its standard input, once it has said so.
    pub fn start_ready(command: &mut Command) -> Self {
        let (daemon, stdout) = Self::start_piped(command);
        ready(stdout);
        daemon
    }

    /// nginx with two workers, each with a listener of its own (`SO_REUSEPORT`), once it listens.
    pub fn nginx(netns: &Netns, port: u16) -> Self {
        let folder = tempfile::tempdir().must("make a folder for nginx");
        let config = include_str!("nginx.conf").replace("PORT", &port.to_string());
        fs::write(folder.path().join("nginx.conf"), config).must("write nginx.conf");
        let mut command = netns.command("nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).spawn().must("start nginx");
        let daemon = Self { child, _stdin: None, folder: Some(folder), end: Signal::TERM };
        wait_until("nginx listens", Duration::from_secs(10), || accept_queue(netns, port).is_some());
        daemon
    }

    /// A file in its folder, whose folder is made if it is not there.
    pub fn file(&self, name: &str) -> PathBuf {
        let file = self.folder.as_ref().must("have a folder").path().join(name);
        fs::create_dir_all(file.parent().must("be in a folder")).must("make a folder for the daemon");
        file
    }

    /// Ends the daemon with `kill -9` and waits until it is gone.
    pub fn kill(mut self) {
        self.end = Signal::KILL;
    }

    /// Stops the daemon (`SIGSTOP`) and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED).must("wait for the daemon to stop");
        check(stopped.is_some_and(|(_, status)| status.stopped()), || format!("not stopped but {stopped:?}"));
    }

    /// Lets a stopped daemon go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Makes a Python daemon shut its listener (`shutdown(2)`), without closing it, and waits until the kernel has none.
    pub fn shut(&self, netns: &Netns, port: u16) {
        self.signal(Signal::USR1);
        wait_until("the listener is shut", Duration::from_secs(5), || accept_queue(netns, port).is_none());
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).must("send a signal to the daemon");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), self.end);
        drop(self.child.wait());
    }
}

fn ready(stdout: ChildStdout) {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).must("read the daemon's output");
    check(line == "ready\n", || format!("the daemon did not start: {line:?}"));
}

/// A Python program in a namespace, for arguments to follow.
pub fn python(netns: &Netns, script: &str) -> Command {
    let mut command = netns.command(interpreter());
    command.args(["-I", "-S", "-c", script]);
    command
}

/// The interpreter itself: what is in `PATH` may be a slow script around it.
pub(crate) fn interpreter() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let script = "import sys; print(sys.executable, end='')";
        run(Command::new("python3").args(["-c", script]))
    })
}
