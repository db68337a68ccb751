//! What the kernel counts for wocut's programs in one namespace, and what their maps take.

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use aya::sys::{Stats, enable_stats};

use super::place::Place;

/// Runs of one program.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Runs {
    pub(super) program: String,
    pub(super) count: u64,
    pub(super) nanoseconds: u64,
}

/// While this lives, the kernel counts; it ends by itself, however this process does.
pub(super) struct Counting(OwnedFd);

impl Counting {
    pub(super) fn start() -> Result<Self> {
        enable_stats(Stats::RunTime).map(Self).context("have the kernel count runs of programs")
    }

    /// What each program of a place has run until now.
    pub(super) fn runs(&self, place: &Place) -> Result<Vec<Runs>> {
        let mut all = Vec::new();
        for pin in pins(place)? {
            let object = opened(&pin)?;
            if field(&fields(object.fd().as_fd())?, "prog_type").is_some() {
                let program = pin.file_name().unwrap_or_default().display().to_string();
                all.push(self.of(program, object.fd().as_fd())?);
            }
        }
        Ok(all)
    }

    /// What one program has run until now.
    pub(super) fn of(&self, program: String, fd: impl AsFd) -> Result<Runs> {
        let Self(_counting) = self;
        let fields = fields(fd.as_fd())?;
        let read = |key| field(&fields, key).unwrap_or_default();
        Ok(Runs { program, count: read("run_cnt"), nanoseconds: read("run_time_ns") })
    }
}

/// What ran between two readings.
pub(super) fn between(before: &[Runs], after: &[Runs]) -> Vec<Runs> {
    let ran = |after: &Runs| {
        let before = before.iter().find(|before| before.program == after.program)?;
        Some(Runs {
            program: after.program.clone(),
            count: after.count.checked_sub(before.count)?,
            nanoseconds: after.nanoseconds.checked_sub(before.nanoseconds)?,
        })
    };
    after.iter().filter_map(ran).collect()
}

/// Bytes that the kernel holds for the maps of a place.
pub(super) fn map_bytes(place: &Place) -> Result<u64> {
    let mut bytes = 0;
    for pin in pins(place)? {
        let fields = fields(opened(&pin)?.fd().as_fd())?;
        if field(&fields, "map_type").is_some() {
            bytes += field(&fields, "memlock").unwrap_or_default();
        }
    }
    Ok(bytes)
}

fn pins(place: &Place) -> Result<Vec<PathBuf>> {
    let netns = format!("/run/netns/{}", place.lan.server);
    let inode = fs::metadata(&netns).with_context(|| format!("look at {netns}"))?.ino();
    let mut pins = Vec::new();
    let mut folders = vec![PathBuf::from(format!("/sys/fs/bpf/wocut/{inode}"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry.context("read a pin")?.path();
            if path.is_dir() { &mut folders } else { &mut pins }.push(path);
        }
    }
    Ok(pins)
}

/// Whatever is pinned there: aya opens it without asking whether it is a map.
fn opened(pin: &Path) -> Result<MapData> {
    MapData::from_pin(pin).with_context(|| format!("open {}", pin.display()))
}

/// What the kernel says about a program or a map.
fn fields(object: BorrowedFd<'_>) -> Result<String> {
    let path = format!("/proc/self/fdinfo/{}", object.as_raw_fd());
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

fn field(fields: &str, key: &str) -> Option<u64> {
    let value = fields.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Runs, between, field};

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let fields = "prog_type:\t30\nmemlock:\t8192\nrun_time_ns:\t120\nrun_cnt:\t3\n";
        assert_eq!(field(fields, "run_cnt"), Some(3));
        assert_eq!(field(fields, "run"), None);
    }

    #[test]
    fn only_what_ran_meanwhile_counts() {
        let runs = |count, nanoseconds| Runs { program: "lookup".into(), count, nanoseconds };
        assert_eq!(between(&[runs(10, 1000)], &[runs(12, 1200)]), [runs(2, 200)]);
        assert_eq!(between(&[], &[runs(12, 1200)]), []);
    }
}
