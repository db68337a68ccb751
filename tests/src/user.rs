//! A user of the server who is not root.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::host::{Host, words};
use crate::must::Must as _;
use crate::serve::Serve;
use crate::watch::Watched;
use crate::wocut::{self, Outcome};

/// `nobody`, in some groups, beside a daemon.
#[derive(Debug)]
pub struct User<'h> {
    host: &'h Host,
    socket: PathBuf,
    groups: &'static str,
    folder: TempDir,
}

impl<'h> User<'h> {
    /// The number that the daemon's log knows the user by.
    pub const UID: u32 = 65534;

    /// In groups that have these names, separated by commas.
    pub fn of(host: &'h Host, serve: &Serve, groups: &'static str) -> Self {
        let folder = tempfile::tempdir().must("make a folder for wocut");
        wocut::copy_for_all(folder.path());
        Self { host, socket: serve.path("api.sock"), groups, folder }
    }

    /// Runs `wocut` with arguments separated by blanks.
    #[track_caller]
    pub fn wocut(&self, arguments: &str) -> Outcome {
        wocut::run(self.command(), &words(arguments))
    }

    /// Starts `wocut`, to read what it keeps printing.
    pub fn watch(&self, arguments: &str) -> Watched {
        Watched::start(self.command(), &words(arguments))
    }

    fn command(&self) -> Command {
        let mut command = self.host.lan.server.command("setpriv");
        let id = Self::UID;
        command.args([&format!("--reuid={id}"), &format!("--regid={id}")]);
        command.args(["--groups", self.groups, "--inh-caps=-all"]).arg(self.folder.path().join("wocut"));
        command.env("WOCUT_SOCKET", &self.socket);
        command
    }
}
