//! The bill of materials: every crate that is in the command, with its version, licence and checksum, as `CycloneDX`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::VERSION;
use crate::cargo_tool::CargoTool;
use crate::command;
use crate::workspace::Workspace;

const TOOL: CargoTool = CargoTool::new("cargo-cyclonedx", "0.5.9");

/// The tool writes a file of this name beside the `Cargo.toml` of every member; git ignores them.
const NAME: &str = "wocut.cdx";

pub(super) fn write(workspace: &Workspace, folder: &Path, epoch: &str) -> Result<()> {
    let mut tool = Command::new(TOOL.program(workspace)?);
    tool.args(["cyclonedx", "--format=json", "--spec-version=1.5", "--target=x86_64-unknown-linux-musl"]);
    tool.args(["--override-filename", NAME]).env("SOURCE_DATE_EPOCH", epoch);
    command::run(tool.current_dir(&workspace.root))?;
    let made = workspace.root.join("wocut").join(NAME).with_added_extension("json");
    let text = fs::read_to_string(&made).with_context(|| format!("read {}", made.display()))?;
    // Where it was made is nobody's business.
    let text = text.replace(&format!("file://{}", workspace.root.display()), "file://");
    let file = folder.join(format!("wocut-{VERSION}.cdx.json"));
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))
}
