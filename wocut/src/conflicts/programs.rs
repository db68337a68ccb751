//! Other programs that pick sockets: the kernel runs all of a network namespace, and the last that picks one wins.

use std::{collections::BTreeSet, fs, os::fd::AsFd as _, path::Path};

use super::{Kind, Newcomer, Report};
use crate::{
    engine::ebpf::Ebpf,
    sys::{
        bpf::{self, Hook},
        netns::Netns,
    },
};

pub(super) fn look(newcomers: &[Newcomer<'_>], netns: &Netns, report: &mut Report) {
    let found = match bpf::programs_on(Hook::Lookup(netns.file.as_fd())) {
        Ok(found) if found.is_empty() => return,
        Ok(found) => found,
        // A kernel that has no such programs runs none.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
        Err(error) => return report.unread("programs that pick sockets", &error),
    };
    let own = own(Ebpf::new(netns).pins());
    for id in found.into_iter().filter(|id| !own.contains(id)) {
        for new in newcomers.iter().filter(|new| !new.listens.is_empty()) {
            let what = "another program picks sockets in this network namespace, and of two that pick for the same \
                        port the kernel takes the one that was attached last";
            report.conflicts.push(new.conflict(Kind::SkLookup, what.into(), describe("sk_lookup", id)));
        }
    }
}

/// The programs that wocut has pinned for this namespace, or pinned a link of.
pub(super) fn own(pins: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir(pins).into_iter().flatten().flatten();
    entries.filter_map(|entry| bpf::pinned_program(&entry.path()).ok().flatten()).collect()
}

/// A program, by name where that can be known.
pub(super) fn describe(kind: &str, id: u32) -> String {
    match bpf::program_name(id) {
        Ok(name) if !name.is_empty() => format!("{kind} program `{name}`, id {id}"),
        _ => format!("{kind} program of id {id}"),
    }
}
