//! Makes the maps hold what is wanted, whatever they held before.
//!
//! The order is what keeps every moment right for traffic: what a pick may lead to is there before it can be picked,
//! and goes only when it cannot be picked any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use aya::{
    Pod,
    maps::{MapError, PerCpuValues},
};
use wocut_common::{
    CounterKey, HOOK_SK_LOOKUP, Instance, InstanceIds, ListenerKey, Load, PortKey, Service, ServiceKey,
};

use super::{
    hook,
    maps::{Maps, rows},
    register::{self, Registered},
    rows::{Rows, fingerprint, table},
    tc,
};
use crate::{
    model::{self, Name},
    sys::{netns::Netns, rtnetlink::has_nat},
};

/// A second in all, for the kernel to make rows.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);

/// What the maps held before.
struct Before {
    services: BTreeMap<ServiceKey, Service>,
    instances: BTreeMap<u32, Instance>,
    ports: BTreeMap<PortKey, InstanceIds>,
    counters: BTreeSet<CounterKey>,
}

impl Before {
    fn read(maps: &Maps) -> anyhow::Result<Self> {
        Ok(Self {
            services: rows(&maps.services)?,
            instances: rows(&maps.instances)?,
            ports: rows(&maps.ports)?,
            counters: maps.counters.keys().collect::<Result<_, _>>().context("read map counters")?,
        })
    }

    /// Whether there was a service of this index.
    fn has(&self, index: u32) -> bool {
        self.services.values().any(|row| row.index == index)
            || self.instances.values().any(|instance| instance.service == index)
    }

    /// Whether a service is gone, and another one has its index.
    fn is_reused(&self, index: u32, wanted: &Rows) -> bool {
        let stays = |(id, old): (&u32, &Instance)| {
            old.service == index && wanted.instances.get(id).is_some_and(|new| new.service == index)
        };
        let has_index = |instance: &Instance| instance.service == index;
        self.instances.values().any(has_index)
            && wanted.instances.values().any(has_index)
            && !self.instances.iter().any(stays)
    }
}

/// Returns what could not be done for single instances.
pub(super) fn sync(
    maps: &mut Maps,
    pins: &Path,
    netns: &Netns,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Vec<String>> {
    let mut before = Before::read(maps)?;
    let mut wanted = Rows::of(services, &BTreeMap::new());
    forget_strangers(maps, &wanted, &mut before)?;
    add_rows(maps, &wanted, &before)?;
    let Registered { mut warnings, kept_out } = register::register(maps, pins, services)?;
    let hooks = hook::choose(services, &kept_out, &before.services);
    wanted = Rows::of(services, &hooks);
    for (_, service) in
        services.iter().filter(|(_, service)| hooks.get(&service.index) == Some(&HOOK_SK_LOOKUP))
    {
        for instance in service.instances.iter().filter(|instance| kept_out.contains(&instance.id)) {
            warnings.push(format!(
                "instance {} gets no connections: {}, and `--hook sk_lookup` allows no other way",
                instance.spec,
                register::KEPT_OUT
            ));
        }
    }
    let handing_over = services.iter().filter(|(_, service)| hook::hands_over(service, &hooks));
    if handing_over.clone().next().is_some() && has_nat() {
        // In `nf_nat_inet_port_was_mangled` the client's port is not that of a listener, which has none.
        let warning =
            |(name, _): &(&Name, _)| format!("{name}: {}; `--engine iptables` serves it", hook::TAKEN_BACK);
        warnings.extend(handing_over.map(warning));
    }
    if hook::wants_tc(services, &hooks) {
        warnings.extend(tc::attach(pins, netns, false)?);
    }
    // A place that moves to another service is its old one's until it is written anew; but not where the index of that
    // one is a new service's.
    for (key, old) in &before.services {
        let leaves = |new: &Service| new.index != old.index && before.is_reused(old.index, &wanted);
        if wanted.services.get(key).is_none_or(leaves) {
            maps.services.remove(key).context("remove a row of map services")?;
        }
    }
    for (key, guard) in wanted.services.iter().filter(|(_, row)| row.index == Service::GUARD) {
        if before.services.get(key) != Some(guard) {
            when_made(|| maps.services.insert(key, guard, 0)).context("write map services")?;
        }
    }
    swap_tables(maps, services)?;
    for (key, row) in wanted.services.iter().filter(|(_, row)| row.index != Service::GUARD) {
        if before.services.get(key) != Some(row) {
            when_made(|| maps.services.insert(key, row, 0)).context("write map services")?;
        }
    }
    remove_rows(maps, &wanted, &before)?;
    maps.tables.keep(&services.iter().map(|(_, service)| service.index).collect())?;
    if !hook::wants_tc(services, &hooks) {
        tc::detach(pins)?;
    }
    Ok(warnings)
}

/// Takes away listeners and counters of ids that are another instance's now: the state file was lost, and counting
/// began anew.
fn forget_strangers(maps: &mut Maps, wanted: &Rows, before: &mut Before) -> anyhow::Result<()> {
    let place = |instance: &Instance| (instance.service, instance.address, instance.port, instance.family);
    let is_stranger = |id: u32| match (before.instances.get(&id), wanted.instances.get(&id)) {
        (Some(old), Some(new)) => place(old) != place(new),
        _ => false,
    };
    if before.instances.keys().any(|id| is_stranger(*id)) {
        for key in maps.listening()?.iter().filter(|key| is_stranger(key.instance)) {
            remove_listener(maps, *key)?;
        }
    }
    let counters: Vec<CounterKey> =
        before.counters.iter().copied().filter(|key| is_stranger(key.instance)).collect();
    for key in counters {
        maps.counters.remove(&key).context("remove a row of map counters")?;
        before.counters.remove(&key);
    }
    Ok(())
}

fn remove_listener(maps: &mut Maps, key: ListenerKey) -> anyhow::Result<()> {
    match maps.listeners.remove(&key) {
        // Its daemon closed it in the meantime.
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.context("remove a row of map listeners"),
    }
}

/// Adds the rows of what a new slot table may lead to.
fn add_rows(maps: &mut Maps, wanted: &Rows, before: &Before) -> anyhow::Result<()> {
    for (id, new) in wanted.instances.iter().filter(|(id, new)| before.instances.get(id) != Some(new)) {
        when_made(|| maps.instances.insert(id, new, 0)).context("write map instances")?;
    }
    for id in wanted.instances.keys().filter(|id| !before.instances.contains_key(id)) {
        let load = Load { open: 0, instance: *id, told: 0 };
        maps.loads.set(Load::place(*id), load, 0).context("write map loads")?;
    }
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::Error::new(error).context(file))?;
    for key in wanted.counters.difference(&before.counters) {
        when_made(|| maps.counters.insert(key, zero(cpus)?, 0)).context("write map counters")?;
    }
    let is_new =
        |index: &u32| *index != Service::GUARD && (!before.has(*index) || before.is_reused(*index, wanted));
    let indices: BTreeSet<u32> = wanted.services.values().map(|row| row.index).collect();
    for index in indices.into_iter().filter(is_new) {
        maps.picks.set(index, zero(cpus)?, 0).context("write map picks")?;
    }
    for (key, new) in wanted.ports.iter().filter(|(key, new)| before.ports.get(key) != Some(new)) {
        when_made(|| maps.ports.insert(key, new, 0)).context("write map ports")?;
    }
    for key in before.ports.keys().filter(|key| !wanted.ports.contains_key(key)) {
        maps.ports.remove(key).context("remove a row of map ports")?;
    }
    Ok(())
}

/// Writes a row of a map whose rows the kernel makes ahead, some at a time: when none is left, its worker may have had no
/// turn to make more (`ENOMEM`), as on a busy host where a thousand rows are written at once.
fn when_made(mut write: impl FnMut() -> Result<(), MapError>) -> Result<(), MapError> {
    for _ in 0..TRIES {
        match write() {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOMEM) => {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
    write()
}

/// Nothing counted on any CPU.
fn zero<T: Pod + Default>(cpus: usize) -> io::Result<PerCpuValues<T>> {
    vec![T::default(); cpus].try_into()
}

/// Gives each service whose plan has changed a new slot table.
fn swap_tables(maps: &mut Maps, services: &[(&Name, &model::Service)]) -> anyhow::Result<()> {
    let changed = |service: &&model::Service| !maps.tables.is_current(service.index, fingerprint(service));
    let changed: Vec<&model::Service> =
        services.iter().map(|(_, service)| *service).filter(changed).collect();
    for (n, service) in changed.iter().enumerate() {
        let more = changed.len() - n - 1;
        maps.tables.swap(service.index, fingerprint(service), &table(service), more)?;
    }
    Ok(())
}

/// Removes the rows of what is not wanted any more; nothing can pick it now.
fn remove_rows(maps: &mut Maps, wanted: &Rows, before: &Before) -> anyhow::Result<()> {
    let gone: Vec<u32> =
        before.instances.keys().copied().filter(|id| !wanted.instances.contains_key(id)).collect();
    if !gone.is_empty() {
        for key in maps.listening()?.iter().filter(|key| !wanted.instances.contains_key(&key.instance)) {
            remove_listener(maps, *key)?;
        }
    }
    for id in gone {
        maps.instances.remove(&id).context("remove a row of map instances")?;
    }
    for key in before.counters.difference(&wanted.counters) {
        maps.counters.remove(key).context("remove a row of map counters")?;
    }
    Ok(())
}

/// What [`sync`] would do, a line each. `None`: the engine is not loaded.
pub(super) fn describe(
    maps: Option<&Maps>,
    is_on_tc: bool,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Vec<String>> {
    let (before, instances) = match maps {
        Some(maps) => (rows(&maps.services)?, rows(&maps.instances)?),
        None => Default::default(),
    };
    let hooks = hook::choose(services, &BTreeSet::new(), &before);
    let wanted = Rows::of(services, &hooks);
    let mut lines = Vec::new();
    if maps.is_none() {
        if services.is_empty() {
            return Ok(lines);
        }
        lines.push("load programs lookup and account, and what registers listeners".into());
    }
    if hook::wants_tc(services, &hooks) && !is_on_tc {
        lines.push("put programs wocut_ingress and wocut_egress on every interface".into());
    }
    if services.is_empty() {
        lines.push("unload every program".into());
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
        if maps.is_none_or(|maps| !maps.tables.is_current(service.index, fingerprint(service))) {
            lines.push(format!(
                "{name}: swap the slot table ({} instances can be picked)",
                service.takers().count()
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
