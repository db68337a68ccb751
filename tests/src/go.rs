//! A server written in Go, built when a test first needs it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::must::Must as _;
use crate::need::{self, Missing, mptcp};
use crate::netns::Netns;
use crate::tool::run;

/// The first Go that listens with MPTCP without being told.
const MPTCP_BY_DEFAULT: u32 = 24;
/// The first one that can be told so from outside.
const MPTCP_BY_VARIABLE: u32 = 21;

/// Needs Go, and a kernel with MPTCP.
pub fn available() -> Result<(), Missing> {
    mptcp()?;
    need::go().map(drop)
}

/// Starts a Go server on a port, once it listens, with MPTCP: "http" or "lines".
pub fn server(netns: &Netns, port: u16, kind: &str) -> Daemon {
    static VERSION: OnceLock<u32> = OnceLock::new();
    let mut command = netns.command(program());
    command.args([&port.to_string(), kind]);
    match *VERSION.get_or_init(|| need::go().must("ask Go for its version")) {
        MPTCP_BY_DEFAULT.. => {}
        MPTCP_BY_VARIABLE.. => {
            command.env("GODEBUG", "multipathtcp=1");
        }
        _ => {
            command.arg("mptcp");
        }
    }
    Daemon::start_ready(&mut command)
}

/// The server, built once in a run of the tests.
fn program() -> PathBuf {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().must("make a folder for Go");
        fs::write(folder.path().join("server.go"), include_str!("server.go")).must("write server.go");
        // Not the home's, which root may not have; and what Go has compiled of its own once is there the next time.
        let cache = std::env::temp_dir().join("wocut-test-go");
        let mut go = Command::new("go");
        go.args(["build", "-o", "server", "server.go"]).env("GOCACHE", &cache).env("CGO_ENABLED", "0");
        run(go.env("GOPATH", cache.join("path")).current_dir(&folder));
        folder
    });
    folder.path().join("server")
}
