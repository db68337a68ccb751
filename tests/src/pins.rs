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
    links().iter().filter_map(|link| link["id"].as_u64()).collect()
}

/// The numbers of the links that attach an `sk_lookup` program to a namespace, pinned or not: one a program.
pub fn lookup_links(netns: &Netns) -> Vec<u64> {
    let inode = netns.inode();
    let here = |link: &&Value| link["attach_type"] == "sk_lookup" && link["netns_ino"] == inode;
    links().iter().filter(here).filter_map(|link| link["id"].as_u64()).collect()
}

/// The numbers of the programs that use the maps of a namespace, whoever holds them.
pub fn program_ids(netns: &Netns) -> Vec<u64> {
    let map =
        run(Command::new("bpftool").args(["-j", "map", "show", "pinned"]).arg(netns.pins().join("services")));
    let map: Value = serde_json::from_str(&map).must("read bpftool's map");
    let shown = run(Command::new("bpftool").args(["-j", "prog", "show"]));
    let programs: Vec<Value> = serde_json::from_str(&shown).must("read bpftool's programs");
    let uses = |program: &&Value| program["map_ids"].as_array().is_some_and(|ids| ids.contains(&map["id"]));
    programs.iter().filter(uses).filter_map(|program| program["id"].as_u64()).collect()
}

fn links() -> Vec<Value> {
    let shown = run(Command::new("bpftool").args(["-j", "link", "show"]));
    serde_json::from_str(&shown).must("read bpftool's links")
}

/// The rows of a pinned map, each with `key` and `value` as their types name the fields.
pub fn dump(netns: &Netns, map: &str) -> Vec<Value> {
    let shown =
        run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(netns.pins().join(map)));
    let rows: Vec<Value> = serde_json::from_str(&shown).must("read bpftool's rows");
    rows.into_iter().map(|row| row["formatted"].clone()).collect()
}

/// The keys of a pinned map, in order.
pub fn dump_keys(netns: &Netns, map: &str) -> Vec<String> {
    let shown =
        run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(netns.pins().join(map)));
    let rows: Vec<Value> = serde_json::from_str(&shown).must("read bpftool's rows");
    let mut keys: Vec<String> = rows.iter().map(|row| row["key"].to_string()).collect();
    keys.sort();
    keys
}
