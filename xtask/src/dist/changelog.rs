//! `wocut/CHANGELOG.md`: what users get, a section a version.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use crate::workspace::Workspace;

const FILE: &str = "wocut/CHANGELOG.md";
const DEBIAN: &str = "wocut/dist/debian/changelog";

/// Whether this version is described.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    notes(workspace)?;
    let debian = read(workspace, DEBIAN)?;
    ensure!(
        debian.starts_with(&format!("wocut ({VERSION}-")),
        "{DEBIAN} does not begin with version {VERSION}"
    );
    Ok(())
}

/// Writes what is new in this version.
pub(super) fn write_notes(workspace: &Workspace, folder: &Path) -> Result<()> {
    let file = folder.join("NOTES.md");
    fs::write(&file, notes(workspace)?).with_context(|| format!("write {}", file.display()))
}

fn notes(workspace: &Workspace) -> Result<String> {
    let text = read(workspace, FILE)?;
    section(&text, VERSION).with_context(|| format!("{FILE} has no section [{VERSION}] with a date"))
}

fn read(workspace: &Workspace, file: &str) -> Result<String> {
    fs::read_to_string(workspace.root.join(file)).with_context(|| format!("read {file}"))
}

/// The section `## [VERSION] - DATE`, up to the next one.
fn section(text: &str, version: &str) -> Option<String> {
    let head = format!("## [{version}] - ");
    let section = text.lines().skip_while(|line| !line.starts_with(&head));
    let mut lines = section.enumerate().take_while(|(at, line)| *at == 0 || !line.starts_with("## "));
    let lines: Vec<_> = lines.by_ref().map(|(_, line)| line).collect();
    (lines.len() > 1).then(|| lines.join("\n").trim_end().to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::section;

    const TEXT: &str =
        "# Changelog\n\n## [0.2.0] - 2027-01-01\n\n* new\n\n## [0.1.0] - 2026-01-01\n\n* old\n";

    #[test]
    fn notes_are_the_section_of_the_version() {
        assert_eq!(section(TEXT, "0.2.0").unwrap(), "## [0.2.0] - 2027-01-01\n\n* new\n");
        assert_eq!(section(TEXT, "0.1.0").unwrap(), "## [0.1.0] - 2026-01-01\n\n* old\n");
    }

    #[test]
    fn a_version_without_a_section_or_a_date_is_missed() {
        assert_eq!(section(TEXT, "0.3.0"), None);
        assert_eq!(section("## [0.3.0]\n\n* new\n", "0.3.0"), None);
    }
}
