//! Makes the maps hold what is wanted, whatever they held before.
//!
//! The order is what keeps every moment right for traffic: what a pick may lead to is there before it can be picked,
//! and goes only when it cannot be picked any more. A slot table is swapped in one step, and the kernel returns from
//! that when no program sees the old one. A service whose table is being swapped carries fingerprint 0, so a kill in
//! between makes the next command build it again.

use std::{collections::BTreeSet, os::fd::AsFd as _, path::Path};

use anyhow::Context as _;
use aya::maps::{MapData, MapError};
use wocut_common::{CounterKey, Counters, Service, ServiceKey, maps};

use super::{
    maps::{Maps, TableMap, rows},
    register,
    rows::{Rows, table},
};
use crate::{
    model::{self, Name},
    sys,
};

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

/// Returns what could not be done for single instances.
pub(super) fn sync(
    maps: &mut Maps,
    pins: &Path,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Vec<String>> {
    let wanted = Rows::of(services);
    let before = rows(&maps.services)?;

    for (id, instance) in &wanted.instances {
        maps.instances.insert(id, instance, 0).context("write map instances")?;
    }
    for key in &wanted.counters {
        add_counters(maps, *key)?;
    }
    let ports = rows(&maps.ports)?;
    for (key, ids) in wanted.ports.iter().filter(|(key, ids)| ports.get(key) != Some(ids)) {
        maps.ports.insert(key, ids, 0).context("write map ports")?;
    }
    let warnings = register::register(maps, pins, services)?;

    // A place that moves to another service, or to none, leaves its old service first.
    for (key, old) in &before {
        if wanted.services.get(key).is_none_or(|new| new.index != old.index) {
            maps.services.remove(key).context("remove a row of map services")?;
        }
    }
    for (_, service) in services {
        swap_table(maps, service, &wanted, &before)?;
    }

    let ids: BTreeSet<u32> = wanted.instances.keys().copied().collect();
    remove_rest(maps, pins, &wanted, &ids, services)?;
    Ok(warnings)
}

/// Replaces the slot table of a service if it is not the wanted one, and lists the service where it listens.
fn swap_table(
    maps: &mut Maps,
    service: &model::Service,
    wanted: &Rows,
    before: &std::collections::BTreeMap<ServiceKey, Service>,
) -> anyhow::Result<()> {
    let mine = || wanted.services.iter().filter(|(_, row)| row.index == service.index);
    if mine().all(|(key, row)| before.get(key) == Some(row)) {
        return Ok(());
    }
    let current = |row: &Service| before.values().any(|old| old == row);
    if !mine().any(|(_, row)| current(row)) {
        for (key, row) in
            mine().filter(|(key, row)| before.get(key).is_some_and(|old| old.index == row.index))
        {
            let swapping = Service { fingerprint: 0, ..*row };
            maps.services.insert(key, swapping, 0).context("write map services")?;
        }
        let mut inner = TableMap::create(1, 0).context("create a slot table")?;
        inner.set(0, *table(service), 0).context("write a slot table")?;
        maps.slots.set(service.index, &inner, 0).context("swap the slot table")?;
    }
    for (key, row) in mine() {
        maps.services.insert(key, row, 0).context("write map services")?;
    }
    Ok(())
}

fn add_counters(maps: &mut Maps, key: CounterKey) -> anyhow::Result<()> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::Error::new(error).context(file))?;
    let zero = vec![Counters::default(); cpus].try_into().context("make a row of counters")?;
    match maps.counters.insert(key, zero, IF_ABSENT) {
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other.context("write map counters"),
    }
}

/// Removes the rows of what is not wanted any more; nothing can pick it now.
fn remove_rest(
    maps: &mut Maps,
    pins: &Path,
    wanted: &Rows,
    ids: &BTreeSet<u32>,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<()> {
    for key in rows(&maps.ports)?.keys().filter(|key| !wanted.ports.contains_key(key)) {
        maps.ports.remove(key).context("remove a row of map ports")?;
    }
    for key in maps.listening()?.iter().filter(|key| !ids.contains(&key.instance)) {
        match maps.listeners.remove(key) {
            // Its daemon closed it in the meantime.
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            other => other.context("remove a row of map listeners")?,
        }
    }
    for id in rows(&maps.instances)?.keys().filter(|id| !ids.contains(id)) {
        maps.instances.remove(id).context("remove a row of map instances")?;
    }
    let counters: Vec<CounterKey> =
        maps.counters.keys().collect::<Result<_, _>>().context("read map counters")?;
    let mut gone = BTreeSet::new();
    for key in counters.iter().filter(|key| !wanted.counters.contains(key)) {
        maps.counters.remove(key).context("remove a row of map counters")?;
        if key.instance == 0 && !services.iter().any(|(_, service)| service.index == key.service) {
            gone.insert(key.service);
        }
    }
    if !gone.is_empty() {
        let slots = MapData::from_pin(pins.join(maps::SLOTS)).context("open map slots")?;
        for index in gone {
            match sys::bpf::delete_element(slots.fd().as_fd(), index) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                    return Err(error).context("remove a slot table");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What [`sync`] would do, a line each. `None`: the engine is not loaded.
pub(super) fn describe(
    maps: Option<&Maps>,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Vec<String>> {
    let wanted = Rows::of(services);
    let mut lines = Vec::new();
    let (before, instances) = match maps {
        Some(maps) => (rows(&maps.services)?, rows(&maps.instances)?),
        None if services.is_empty() => return Ok(lines),
        None => {
            lines.push("load programs lookup, account, register".into());
            Default::default()
        }
    };
    if services.is_empty() {
        lines.push("unload programs lookup, account, register".into());
        return Ok(lines);
    }
    for (name, service) in services {
        for instance in &service.instances {
            match (instances.get(&instance.id), wanted.instances.get(&instance.id)) {
                (None, Some(_)) => lines.push(format!("{name}: instance {} comes", instance.spec)),
                (Some(old), Some(new)) if old != new => {
                    lines.push(format!("{name}: instance {} changes", instance.spec));
                }
                _ => {}
            }
        }
        let mine = wanted.services.iter().filter(|(_, row)| row.index == service.index);
        if mine.clone().any(|(key, row)| before.get(key) != Some(row)) {
            lines.push(format!(
                "{name}: swap the slot table ({} instances can be picked)",
                service.eligible().count()
            ));
        }
    }
    for old in instances.iter().filter(|(id, _)| !wanted.instances.contains_key(id)) {
        lines.push(format!("instance on port {} goes", old.1.port));
    }
    for key in before.keys().filter(|key| !wanted.services.contains_key(key)) {
        lines.push(format!("port {} is listened on no more", key.port));
    }
    Ok(lines)
}
