//! The pinned maps, typed.

use std::{collections::BTreeMap, os::fd::AsFd as _, path::Path};

use anyhow::Context as _;
use aya::{
    Pod,
    maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, SockHash},
};
use wocut_common::{
    CounterKey, Counters, Instance, InstanceIds, ListenerKey, Load, Picks, PortKey, Service, ServiceKey, maps,
};

use super::{
    pins::{self, Gone},
    tables::Tables,
};
use crate::sys;

/// All maps that commands read and write.
pub(super) struct Maps {
    pub(super) services: HashMap<MapData, ServiceKey, Service>,
    pub(super) tables: Tables,
    pub(super) instances: HashMap<MapData, u32, Instance>,
    pub(super) listeners: SockHash<MapData, ListenerKey>,
    pub(super) ports: HashMap<MapData, PortKey, InstanceIds>,
    pub(super) picks: PerCpuArray<MapData, Picks>,
    pub(super) counters: PerCpuHashMap<MapData, CounterKey, Counters>,
    pub(super) loads: Array<MapData, Load>,
}

impl Maps {
    /// Opens the pins.
    pub(super) fn open(pins: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(pins::exist(pins), Gone(pins.to_owned()));
        Ok(Self {
            services: open(pins, maps::SERVICES)?,
            tables: Tables::open(pins)?,
            instances: open(pins, maps::INSTANCES)?,
            listeners: open(pins, maps::LISTENERS)?,
            ports: open(pins, maps::PORTS)?,
            picks: open(pins, maps::PICKS)?,
            counters: open(pins, maps::COUNTERS)?,
            loads: open(pins, maps::LOADS)?,
        })
    }

    /// A service's picks, summed over the CPUs.
    pub(super) fn picks(&self, service: u32) -> anyhow::Result<Picks> {
        let per_cpu = self.picks.get(&service, 0).context("read map picks")?;
        let mut sum = Picks::default();
        per_cpu.iter().for_each(|cpu| sum.add(cpu));
        Ok(sum)
    }

    /// A row of counters, summed over the CPUs; `None` if there is none.
    pub(super) fn count(&self, key: CounterKey) -> anyhow::Result<Option<Counters>> {
        let per_cpu = match self.counters.get(&key, 0) {
            Err(MapError::KeyNotFound) => return Ok(None),
            other => other.context("read counters")?,
        };
        let mut sum = Counters::default();
        per_cpu.iter().for_each(|cpu| sum.add(cpu));
        Ok(Some(sum))
    }

    /// How many connections an instance has.
    pub(super) fn open_connections(&self, instance: u32) -> anyhow::Result<u64> {
        let load = self.loads.get(&Load::place(instance), 0).context("read map loads")?;
        Ok(if load.instance == instance { load.open } else { 0 })
    }

    /// Every listening socket that can be picked, by what it is picked as.
    pub(super) fn listening(&self) -> anyhow::Result<Vec<ListenerKey>> {
        self.listeners.keys().collect::<Result<_, _>>().context("read map listeners")
    }
}

fn open<M>(pins: &Path, name: &str) -> anyhow::Result<M>
where
    M: TryFrom<Map, Error: std::error::Error + Send + Sync + 'static>,
{
    let path = pins.join(name);
    let data = MapData::from_pin(&path).with_context(|| format!("open map {}", path.display()))?;
    Map::from_map_data(data)?.try_into().with_context(|| format!("map {} is of another type", path.display()))
}

/// All rows of a map.
pub(super) fn rows<K: Pod + Ord, V: Pod>(map: &HashMap<MapData, K, V>) -> anyhow::Result<BTreeMap<K, V>> {
    let rows = sys::bpf::rows(map.map().fd().as_fd()).context("read a map")?;
    Ok(rows.into_iter().collect())
}
