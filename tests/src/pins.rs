//! What wocut has pinned, as `bpftool` shows it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::must::Must as _;
use crate::netns::Netns;
use crate::tool::{output, run};

/// A pinned link.
#[derive(Debug)]
pub struct Link {
    /// The kernel's number for it.
    pub id: u64,
    /// `bpftool -j link show` of it.
    pub shown: Value,
}

/// The links among the pins of a namespace.
pub fn pinned_links(netns: &Netns) -> Vec<Link> {
    let pins = fs::read_dir(netns.pins()).into_iter().flatten().flatten();
    let show = |pin: fs::DirEntry| {
        let shown = output(Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(pin.path()));
        // It fails for what is not a link.
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        Some(Link { id: shown["id"].as_u64()?, shown })
    };
    pins.filter_map(show).collect()
}

/// The numbers of all links on this machine.
pub fn link_ids() -> Vec<u64> {
    let shown = run(Command::new("bpftool").args(["-j", "link", "show"]));
    let links: Vec<Value> = serde_json::from_str(&shown).must("read bpftool's links");
    links.iter().filter_map(|link| link["id"].as_u64()).collect()
}

/// The rows of a pinned map, each with `key` and `value` as their types name the fields.
pub fn dump(netns: &Netns, map: &str) -> Vec<Value> {
    let shown =
        run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(netns.pins().join(map)));
    let rows: Vec<Value> = serde_json::from_str(&shown).must("read bpftool's rows");
    rows.into_iter().map(|row| row["formatted"].clone()).collect()
}
