//! Web servers in a network namespace, and wocut. All of it goes with the value.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lan::{self, Lan, SERVER};
use crate::say::say;

/// Where the service is.
pub(super) const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER), 80);

pub(super) struct Stage {
    wocut: PathBuf,
    lan: Lan,
    pages: PathBuf,
    servers: BTreeMap<u16, Child>,
}

impl Stage {
    /// Makes namespaces and servers.
    pub(super) fn set(wocut: PathBuf) -> Result<Self> {
        let id = std::process::id();
        let mut stage = Self {
            wocut,
            lan: Lan::make("demo")?,
            pages: std::env::temp_dir().join(format!("wocut-demo-{id}")),
            servers: BTreeMap::new(),
        };
        for port in 8001..=8004 {
            stage.serve(port)?;
        }
        Ok(stage)
    }

    /// Starts the server of a port, and waits until it listens.
    pub(super) fn serve(&mut self, port: u16) -> Result<()> {
        let pages = self.pages.join(port.to_string());
        fs::create_dir_all(&pages).context("make a folder for pages")?;
        fs::write(pages.join("index.html"), format!("{port}\n")).context("write a page")?;
        let mut python = Lan::command(&self.lan.server, "python3");
        python.args(["-m", "http.server", &port.to_string(), "--directory"]).arg(&pages);
        python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = python.spawn().context("start a web server")?;
        self.servers.insert(port, child);
        let address = SocketAddr::from((SERVER, port));
        let started = Instant::now();
        while !self.reaches(address)? {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("the web server on port {port} does not listen");
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Whether the client's namespace can connect there.
    fn reaches(&self, address: SocketAddr) -> Result<bool> {
        thread::scope(|scope| {
            let attempt = scope.spawn(|| {
                lan::enter(&self.lan.client)?;
                anyhow::Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
            });
            attempt.join().ok().context("a client thread ended early")?
        })
    }

    /// Takes the server of a port out, to be killed.
    pub(super) fn take(&mut self, port: u16) -> Result<Child> {
        self.servers.remove(&port).with_context(|| format!("no server on port {port}"))
    }

    pub(super) fn client(&self) -> &str {
        &self.lan.client
    }

    /// Runs wocut in the servers' namespace, and shows what it says.
    pub(super) fn wocut(&self, words: &[&str]) -> Result<()> {
        say(format_args!("$ wocut {}", words.join(" ")));
        let mut command = Command::new(&self.wocut);
        command.args(["--netns", &self.lan.server]).args(words);
        let status = command.status().context("run wocut")?;
        ensure!(status.success(), "wocut {}: {status}", words.join(" "));
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let detached = self.wocut(&["--quiet", "detach", "--all"]);
        for server in self.servers.values_mut() {
            let _ended_before = server.kill();
            let _status = server.wait();
        }
        let _absent = fs::remove_dir_all(&self.pages);
        if let Err(error) = detached {
            say(format_args!("take the service down: {error:#}"));
        }
    }
}
