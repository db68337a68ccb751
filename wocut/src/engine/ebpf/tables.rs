//! Slot tables: one a service, and spare ones.
//!
//! No table is written that a program may be reading. A change fills a spare one and points the service at it, by one
//! store into `current`; the table that the service had is retired. When there is no spare one left, the kernel is asked
//! to wait until every program that runs now has ended (10 to 40 ms), and what was retired is spare from then on. So most
//! changes wait for nothing.
//!
//! Where a table is pinned says what it is: `spare` has those that no program can see, `tables` the others, each under
//! its index into `slots`.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData};
use wocut_common::{
    Current, Table, TableId,
    maps::{CURRENT, MAX_SERVICES, MAX_TABLES, SLOTS},
};

use crate::sys::{
    bpf::{create_array, put_maps, take_maps},
    shared_array::SharedArray,
};

const SEEN: &str = "tables";
const SPARE: &str = "spare";

/// Tables beside those of services, once there were some changes in a row.
const POOL: usize = 16;
/// Tables that are made at one time, where many services change at once.
const MOST: usize = 64;

pub(super) struct Tables {
    pins: PathBuf,
    current: SharedArray,
    slots: MapData,
    spare: Vec<u16>,
}

impl Tables {
    pub(super) fn open(pins: &Path) -> anyhow::Result<Self> {
        let open = |name: &str| {
            let pin = pins.join(name);
            MapData::from_pin(&pin).with_context(|| format!("open map {}", pin.display()))
        };
        let current = open(CURRENT)?;
        let row = size_of::<Current>() / size_of::<TableId>();
        let current = SharedArray::map(current.fd().as_fd(), MAX_SERVICES, row).context("map current")?;
        Ok(Self { pins: pins.into(), current, slots: open(SLOTS)?, spare: listed(&pins.join(SPARE))? })
    }

    /// Whether a service goes by a table that was made from this plan.
    pub(super) fn is_current(&self, service: u32, fingerprint: u64) -> bool {
        TableId(self.current.get(service as usize)).is_of(fingerprint)
    }

    /// Has a service go by a new table, in one step. A pick that began before may end by the old one after this
    /// returns: see [`settle`](Self::settle). `more` services are swapped after this one.
    pub(super) fn swap(
        &mut self,
        service: u32,
        fingerprint: u64,
        table: &Table,
        more: usize,
    ) -> anyhow::Result<()> {
        if self.spare.is_empty() {
            self.refill(more + 1)?;
        }
        let index = self.spare.pop().context("no spare slot table")?;
        // From here on it counts as seen, so whoever is killed after this loses a spare one, and no more.
        self.move_pin(index, SPARE, SEEN)?;
        let map = Map::from_map_data(MapData::from_pin(self.pin(SEEN, index))?)?;
        let mut map: Array<MapData, Table> = map.try_into()?;
        map.set(0, table, 0).context("write a slot table")?;
        self.current.set(service as usize, TableId::new(index, fingerprint).0);
        Ok(())
    }

    /// Takes the tables of services that are gone.
    pub(super) fn keep(&mut self, services: &BTreeSet<u32>) -> anyhow::Result<()> {
        let gone = |(service, current): &(usize, u64)| {
            *current != 0 && !u32::try_from(*service).is_ok_and(|service| services.contains(&service))
        };
        for (service, _) in self.current.values().enumerate().filter(gone) {
            self.current.set(service, 0);
        }
        let mut extra: Vec<(&str, u16)> = self.retired()?.into_iter().map(|index| (SEEN, index)).collect();
        extra.extend(self.spare.iter().map(|index| (SPARE, *index)));
        if extra.len() <= 2 * POOL {
            return Ok(());
        }
        extra.truncate(extra.len() - POOL);
        // A table that is pinned is taken to be in `slots`, so it goes from there last.
        for (kind, index) in &extra {
            fs::remove_file(self.pin(kind, *index)).context("unpin a slot table")?;
        }
        self.spare.retain(|index| !extra.contains(&(SPARE, *index)));
        let indices: Vec<u32> = extra.iter().map(|(_, index)| u32::from(*index)).collect();
        take_maps(self.slots.fd().as_fd(), &indices).context("remove slot tables")
    }

    /// Has a table ready for the first service.
    pub(super) fn reserve(&mut self) -> anyhow::Result<()> {
        if self.spare.is_empty() { self.refill(1) } else { Ok(()) }
    }

    /// Waits until no pick goes by a table that was swapped before.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let Some(&any) = listed(&self.pins.join(SEEN))?.first() else { return Ok(()) };
        let pin = self.pin(SEEN, any);
        let table = MapData::from_pin(&pin).with_context(|| format!("open {}", pin.display()))?;
        put_maps(self.slots.fd().as_fd(), &[(any.into(), table.fd().as_fd())]).context("wait for programs")
    }

    /// Makes spare tables of the retired ones, and new ones where those are too few for the changes at hand, or for as
    /// many changes as there have been.
    fn refill(&mut self, needed: usize) -> anyhow::Result<()> {
        let retired = self.retired()?;
        let enough = needed.min(MOST).max(POOL.min(2 * (retired.len() + 1)));
        let taken: BTreeSet<u16> = self.used().chain(retired.iter().copied()).collect();
        let free = (1..).take(MAX_TABLES - 1).filter(|index| !taken.contains(index));
        let new: Vec<u16> = free.take(enough.saturating_sub(retired.len())).collect();
        if new.is_empty() {
            self.settle()?;
        } else {
            let size = u32::try_from(size_of::<Table>())?;
            let made = new.iter().map(|_| create_array(size)).collect::<Result<Vec<_>, _>>();
            let made = made.context("create slot tables")?;
            let places: Vec<_> =
                new.iter().zip(&made).map(|(index, map)| (u32::from(*index), map.as_fd())).collect();
            put_maps(self.slots.fd().as_fd(), &places).context("add slot tables")?;
            for (index, map) in new.iter().zip(made) {
                MapData::from_fd(map)?.pin(self.pin(SPARE, *index)).context("pin a slot table")?;
            }
        }
        for index in &retired {
            self.move_pin(*index, SEEN, SPARE)?;
        }
        self.spare.extend(new);
        self.spare.extend(retired);
        Ok(())
    }

    /// What services go by.
    fn used(&self) -> impl Iterator<Item = u16> {
        self.current.values().filter_map(|table| TableId(table).index().try_into().ok())
    }

    /// What no service goes by any more, but a program that began before may still see.
    fn retired(&self) -> anyhow::Result<Vec<u16>> {
        let used: BTreeSet<u16> = self.used().collect();
        let mut retired = listed(&self.pins.join(SEEN))?;
        retired.retain(|index| !used.contains(index));
        Ok(retired)
    }

    fn pin(&self, kind: &str, index: u16) -> PathBuf {
        self.pins.join(kind).join(index.to_string())
    }

    fn move_pin(&self, index: u16, from: &str, to: &str) -> anyhow::Result<()> {
        fs::rename(self.pin(from, index), self.pin(to, index)).context("move the pin of a slot table")
    }
}

/// Makes the directories of the pins. Tables that are in no `slots`, because somebody removed a pin, are forgotten.
pub(super) fn prepare(pins: &Path) -> anyhow::Result<()> {
    let is_whole = is_complete(pins);
    for directory in [SEEN, SPARE].map(|name| pins.join(name)) {
        if !is_whole {
            absent(fs::remove_dir_all(&directory))?;
        }
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    }
    if !is_whole {
        for map in [CURRENT, SLOTS] {
            absent(fs::remove_file(pins.join(map)))?;
        }
    }
    Ok(())
}

/// Whether everything is pinned.
pub(super) fn is_complete(pins: &Path) -> bool {
    [CURRENT, SLOTS, SEEN, SPARE].iter().all(|name| pins.join(name).exists())
}

fn absent(removed: std::io::Result<()>) -> anyhow::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("unpin slot tables"),
        _ => Ok(()),
    }
}

/// The tables that are pinned in a directory.
fn listed(directory: &Path) -> anyhow::Result<Vec<u16>> {
    let context = || format!("list {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<u16>().ok()));
    }
    Ok(found)
}
