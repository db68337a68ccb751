//! An archive to unpack in `/usr`: the static command, with what a package has beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{VERSION, musl, pages};
use crate::workspace::Workspace;
use crate::{command, sysroot};

/// Files of the checkout, and their places.
const FILES: [(&str, &str); 9] = [
    ("wocut/dist/wocut.service", "lib/systemd/system/wocut.service"),
    ("wocut/dist/wocut@.service", "lib/systemd/system/wocut@.service"),
    ("wocut/dist/sysusers.conf", "lib/sysusers.d/wocut.conf"),
    ("wocut/dist/tmpfiles.conf", "lib/tmpfiles.d/wocut.conf"),
    ("LICENSE-APACHE", "share/doc/wocut/LICENSE-APACHE"),
    ("LICENSE-MIT", "share/doc/wocut/LICENSE-MIT"),
    ("wocut/CHANGELOG.md", "share/doc/wocut/CHANGELOG.md"),
    ("wocut/dist/alerts.yml", "share/doc/wocut/examples/alerts.yml"),
    ("wocut/dist/grafana.json", "share/doc/wocut/examples/grafana.json"),
];

pub(super) fn pack(workspace: &Workspace, wocut: &Path, dist: &Path, epoch: &str) -> Result<()> {
    let tree = workspace.target.join("dist-tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    copy(wocut, &tree.join("bin/wocut"))?;
    for (file, place) in FILES {
        copy(&workspace.root.join(file), &tree.join(place))?;
    }
    let docs = ("wocut/docs", "share/doc/wocut");
    command::run(
        Command::new("cp").arg("--recursive").args([workspace.root.join(docs.0), tree.join(docs.1)]),
    )?;
    pages::man(wocut, &tree.join("share/man"))?;
    for shell in pages::SHELLS {
        pages::complete(wocut, &shell, &tree.join(shell.place))?;
    }
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--gzip",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
    ]);
    tar.arg(format!("--mtime=@{epoch}")).arg("--file");
    tar.arg(dist.join(format!("wocut-{VERSION}-{}.tar.gz", musl::TARGET)));
    command::run(tar.arg("--directory").arg(&tree).args(["bin", "lib", "share"]))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    sysroot::make_parent(to)?;
    fs::copy(from, to).map(drop).with_context(|| format!("copy {}", from.display()))
}
