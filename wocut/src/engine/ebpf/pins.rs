//! What the engine keeps in the BPF file system, under one directory a network namespace.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aya::{
    maps::{Array, Map, MapData},
    programs::ProgramInfo,
};
use wocut_common::{ABI_VERSION, Settings, maps};

use super::{tables, tc};
use crate::sys::{
    bpf::{detach_link, pinned_program, program_name, target_of_link},
    netns::{Netns, current_inode},
};

/// The programs, each pinned under its name.
pub(super) const LOOKUP: &str = "lookup";
pub(super) const ACCOUNT: &str = "account";
pub(super) const REGISTER: &str = "register";
/// In its place where the kernel is too new for it.
pub(super) const SCAN: &str = "scan";
/// The links that keep `lookup` on the namespace and `account` on the cgroup.
pub(super) const LOOKUP_LINK: &str = "lookup_link";
pub(super) const ACCOUNT_LINK: &str = "account_link";

/// The maps in place are laid out by another version of wocut.
#[derive(Debug, thiserror::Error)]
#[error("{} is of another version of wocut: its layout is version {found}, this one's is {ABI_VERSION}", .pins.display())]
pub struct OtherVersion {
    pub(crate) pins: PathBuf,
    pub(crate) found: u32,
}

/// What is pinned where our link should be runs somebody else's program.
#[derive(Debug, thiserror::Error)]
#[error("{} runs program `{found}`, which is not wocut's", .pin.display())]
pub struct Foreign {
    pub(crate) pin: PathBuf,
    pub(crate) found: String,
}

/// A service is wanted on this engine, and nothing of it is pinned.
#[derive(Debug, thiserror::Error)]
#[error("{} is gone: somebody removed what wocut had pinned there", .0.display())]
pub struct Gone(pub(crate) PathBuf);

/// Refuses to touch a link that runs neither the program that is pinned beside it nor one of that name, which an
/// interrupted upgrade leaves.
pub(super) fn expect_ours(link: &Path, program: &Path) -> Result<(), Foreign> {
    let id = |pin: &Path| pinned_program(pin).ok().flatten();
    let Some(runs) = id(link).filter(|runs| id(program) != Some(*runs)) else { return Ok(()) };
    // Takes CAP_SYS_ADMIN.
    let found = program_name(runs).unwrap_or_else(|_| format!("of number {runs}"));
    if program.file_name().is_some_and(|name| name == found.as_str()) {
        return Ok(());
    }
    Err(Foreign { pin: link.into(), found })
}

/// A pinned program, as people may want to tell it from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: &'static str,
    /// The kernel's number for it.
    pub id: u32,
    /// A hash of its code.
    pub tag: u64,
}

/// The programs that are pinned.
pub(super) fn running(pins: &Path) -> anyhow::Result<Vec<Running>> {
    let names = [LOOKUP, ACCOUNT, REGISTER, SCAN].into_iter().chain(tc::programs());
    let there = names.filter(|name| pins.join(name).exists());
    there
        .map(|name| {
            let info =
                ProgramInfo::from_pin(pins.join(name)).with_context(|| format!("open program {name}"))?;
            Ok(Running { name, id: info.id(), tag: info.tag() })
        })
        .collect()
}

/// Whether anything is pinned.
pub(super) fn exist(pins: &Path) -> bool {
    pins.exists()
}

/// Whether everything is pinned, of this version, and at work. Pins of a namespace that is gone, whose inode number has
/// come back, are removed, and so is the pin of a link that somebody took off its hook, which works no more.
pub(super) fn is_complete(pins: &Path, netns: &Netns) -> anyhow::Result<bool> {
    let Some(settings) = settings(pins)? else { return Ok(false) };
    let of_another = settings.abi_version != 0 && settings.netns_cookie != netns.cookie.unwrap_or(0);
    // Where a namespace has a cookie, it is this one, and its link was taken off.
    if of_another || netns.cookie.is_none() && is_dead(pins) {
        expect_this_version(pins, &settings)?;
        remove(pins)?;
        return Ok(false);
    }
    for link in [LOOKUP_LINK, ACCOUNT_LINK].map(|link| pins.join(link)) {
        if target_of_link(&link).is_ok_and(|target| target == 0) {
            fs::remove_file(&link).with_context(|| format!("unpin {}", link.display()))?;
        }
    }
    are_all_there(pins, netns, &settings)
}

/// Whether everything is pinned, for this namespace, and of this version.
pub(super) fn are_there(pins: &Path, netns: &Netns) -> anyhow::Result<bool> {
    settings(pins)?.map_or(Ok(false), |settings| are_all_there(pins, netns, &settings))
}

fn are_all_there(pins: &Path, netns: &Netns, settings: &Settings) -> anyhow::Result<bool> {
    expect_this_version(pins, settings)?;
    let is_there = |name: &str| pins.join(name).exists();
    let mut names = maps::PINNED.into_iter().chain([LOOKUP, ACCOUNT, LOOKUP_LINK, ACCOUNT_LINK]);
    let is_ours = settings.abi_version != 0 && settings.netns_cookie == netns.cookie.unwrap_or(0);
    let can_register = is_there(REGISTER) || is_there(SCAN);
    Ok(is_ours && can_register && names.all(is_there) && tables::is_complete(pins))
}

fn expect_this_version(pins: &Path, settings: &Settings) -> Result<(), OtherVersion> {
    match settings.abi_version {
        0 | ABI_VERSION => Ok(()),
        found => Err(OtherVersion { pins: pins.into(), found }),
    }
}

pub(super) fn settings(pins: &Path) -> anyhow::Result<Option<Settings>> {
    let path = pins.join(maps::SETTINGS);
    if !path.exists() {
        return Ok(None);
    }
    let map = Map::from_map_data(MapData::from_pin(&path).context("open the pinned settings")?)?;
    let settings: Array<MapData, Settings> =
        map.try_into().with_context(|| format!("{} is not a map of wocut's", path.display()))?;
    Ok(Some(settings.get(&0, 0).context("read the pinned settings")?))
}

/// Whether the namespace that these are of is gone: where it has no cookie, its link alone tells.
pub(super) fn is_dead(pins: &Path) -> bool {
    target_of_link(&pins.join(LOOKUP_LINK)).is_ok_and(|inode| inode == 0)
}

/// Takes away what is left of network namespaces that are gone, and of loads that were killed: the kernel runs no more
/// than 64 programs of one kind on a cgroup.
pub(super) fn sweep(except: &Path) -> anyhow::Result<()> {
    let Some(all) = except.parent() else { return Ok(()) };
    for entry in fs::read_dir(all).with_context(|| format!("list {}", all.display()))? {
        let pins = entry?.path();
        let is_live = target_of_link(&pins.join(LOOKUP_LINK)).is_ok_and(|inode| inode != 0);
        // A trial beside them is no reason to take away what is here, however incomplete.
        let is_here = pins.file_name().is_some_and(|name| name.to_str() == current_inode().ok().as_deref());
        if pins != except && !is_live && !is_here {
            remove(&pins)?;
        }
    }
    Ok(())
}

/// Takes everything away: the links first, so that traffic goes its old way before anything else is gone.
pub(super) fn remove(pins: &Path) -> anyhow::Result<()> {
    let absent = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for link in [LOOKUP_LINK, ACCOUNT_LINK] {
        // An older kernel takes it off a little after the pin is gone.
        let _later = detach_link(&pins.join(link));
        absent(fs::remove_file(pins.join(link))).with_context(|| format!("unpin {link}"))?;
    }
    tc::detach(pins)?;
    absent(fs::remove_dir_all(pins)).with_context(|| format!("remove {}", pins.display()))?;
    // The directory of all namespaces goes with the last one.
    let _in_use = pins.parent().map(fs::remove_dir);
    Ok(())
}
