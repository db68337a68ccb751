//! Whether links of pages lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::must::Must as _;

/// The pages in a folder and in those below it.
pub fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).must("read a folder of pages").flatten().map(|entry| entry.path());
    let mut pages: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect();
    pages.sort();
    pages
}

/// The links of a page to files that are not there, or to parts that they do not have.
pub fn dead(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).must("read a page");
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let dead = |link: &&str| {
        let (file, part) = link.split_once('#').unwrap_or((link, ""));
        let to = if file.is_empty() { page.to_owned() } else { page.with_file_name(file) };
        !to.exists() || !part.is_empty() && !parts(&to).any(|name| name == part)
    };
    let dead = links.filter(|link| !link.starts_with("http")).filter(dead);
    dead.map(|link| format!("{}: {link}", page.display())).collect()
}

/// The names of a page's parts, as links have them.
fn parts(page: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(page).unwrap_or_default();
    let name = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|&c| c.is_alphanumeric() || c == '-' || c == '_').collect()
    };
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '));
    headings.map(|heading| name(heading.trim())).collect::<Vec<String>>().into_iter()
}
