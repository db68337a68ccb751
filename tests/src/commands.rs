//! Command lines for `wocut run` and `wocut cluster` to start: servers that listen where they are told to.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::daemon::interpreter;
use crate::host::words;
use crate::must::Must as _;

/// The servers' programs, in a folder of their own; dropping it removes them.
#[derive(Debug)]
pub struct Commands(TempDir);

impl Commands {
    /// Writes the programs down.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().must("make a folder for servers");
        let programs = [
            ("web.py", include_str!("web.py")),
            ("web.js", include_str!("web.js")),
            ("echo.py", include_str!("echo.py")),
            ("nginx.conf", include_str!("nginx.conf")),
            ("nginx.sh", include_str!("nginx.sh")),
        ];
        for (name, text) in programs {
            fs::write(folder.path().join(name), text).must("write a server");
        }
        Self(folder)
    }

    /// A threaded server: its version, and how it behaves.
    pub fn python(&self, arguments: &str) -> Vec<String> {
        self.line(&[interpreter(), "-I", "-S"], "web.py", arguments)
    }

    /// A server on one event loop.
    pub fn node(&self, version: &str) -> Vec<String> {
        self.line(&["node"], "web.js", version)
    }

    /// nginx with two workers.
    pub fn nginx(&self) -> Vec<String> {
        self.line(&["sh"], "nginx.sh", "{port}")
    }

    /// A server for datagrams.
    pub fn echo(&self) -> Vec<String> {
        self.line(&[interpreter(), "-I", "-S"], "echo.py", "")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn line(&self, program: &[&str], file: &str, arguments: &str) -> Vec<String> {
        let file = self.path().join(file);
        let file = file.to_str().must("name a server");
        [program, &[file], &words(arguments)].concat().into_iter().map(str::to_owned).collect()
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self::new()
    }
}
