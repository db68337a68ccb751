//! docs/benchmarks.md, its plots and README's table, from the results: the same results give the same bytes.

mod bars;
mod dots;
mod goals;
mod lines;
mod page;
mod plots;
mod svg;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::results::Results;
use crate::say::say;
use crate::workspace::Workspace;

const FOLDER: &str = "wocut/docs/benchmarks";
const RESULTS: &str = "wocut/docs/benchmarks/results.json";
const PAGE: &str = "wocut/docs/benchmarks.md";
const README: &str = "README.md";

/// README's table is between these.
const BEGIN: &str = "<!-- from results.json, by `cargo xtask bench --report` -->\n";
const END: &str = "<!-- until here -->\n";

/// A generated file: its path in the checkout, and its text.
struct Generated {
    path: String,
    text: String,
}

/// Writes everything that is made from the results, and keeps those.
pub(super) fn write(workspace: &Workspace, file: &Path) -> Result<()> {
    let json = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let results = Results::parse(&json).with_context(|| format!("read {}", file.display()))?;
    let folder = workspace.root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for Generated { path, text } in generate(workspace, &results)? {
        fs::write(workspace.root.join(&path), text).with_context(|| format!("write {path}"))?;
        say(format_args!("wrote {path}"));
    }
    Ok(())
}

/// Whether the checked-in files are what the checked-in results give.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let json = fs::read_to_string(workspace.root.join(RESULTS)).with_context(|| format!("read {RESULTS}"))?;
    let results = Results::parse(&json).with_context(|| format!("read {RESULTS}"))?;
    for Generated { path, text } in generate(workspace, &results)? {
        let present = fs::read_to_string(workspace.root.join(&path)).unwrap_or_default();
        ensure!(
            present == text,
            "{path} is not what {RESULTS} gives\nhint: run cargo xtask bench --report {RESULTS} and commit {path}"
        );
    }
    say(format_args!("{PAGE}, its plots and README's table are what {RESULTS} gives"));
    Ok(())
}

fn generate(workspace: &Workspace, results: &Results) -> Result<Vec<Generated>> {
    let readme = fs::read_to_string(workspace.root.join(README)).context("read README.md")?;
    let readme = with_table(&readme, &tables::main(results)).context("find the place of README's table")?;
    let plots = plots::all(results)
        .into_iter()
        .map(|(name, text)| Generated { path: format!("{FOLDER}/{name}.svg"), text });
    let texts = [(RESULTS, results.json()?), (PAGE, page::page(results)), (README, readme)];
    Ok(texts.into_iter().map(|(path, text)| Generated { path: path.into(), text }).chain(plots).collect())
}

fn with_table(readme: &str, table: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, table, END, after].concat())
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, with_table};

    #[test]
    fn only_the_table_of_a_readme_is_replaced() {
        let readme = ["above\n", BEGIN, "old\n", END, "below\n"].concat();
        let expected = ["above\n", BEGIN, "new\n", END, "below\n"].concat();
        assert_eq!(with_table(&readme, "new\n"), Some(expected));
        assert_eq!(with_table("no marks\n", "new\n"), None);
    }
}
