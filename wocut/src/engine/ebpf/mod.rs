//! The eBPF engine: programs, links and maps pinned in the BPF file system, and nothing that needs to keep running.
//!
//! `load` brings the programs up, `rows` works out what the maps must hold, `sync` makes them hold it, `tables` swaps
//! slot tables, `register` finds the listeners that were there before, `observe` reads counters, `connections` finds
//! open ones, `drift` finds what something else changed, `events` are what programs tell, `trace` watches
//! picks, `inventory` is what is pinned, for people.

mod connections;
mod drift;
pub mod events;
pub mod explain;
mod flows;
mod hook;
mod inventory;
mod load;
mod maps;
mod observe;
mod offsets;
mod pins;
mod register;
mod rows;
mod sync;
mod tables;
mod tc;
pub mod trace;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wocut_common::CounterKey;

pub use self::hook::SK_LOOKUP;
pub use self::inventory::TELLING;
pub use self::pins::{Foreign, Gone, OtherVersion, Running};
use super::{Engine, ObservedService};
use crate::{
    model::{Instance, Name, OnEmpty, Options, Policy, Protocol, Service},
    sys::{bpffs, capabilities, netns::Netns},
};

/// The engine in one network namespace.
pub struct Ebpf<'a> {
    netns: &'a Netns,
    pins: PathBuf,
}

impl<'a> Ebpf<'a> {
    /// In this process' namespace.
    pub fn new(netns: &'a Netns) -> Self {
        let pins = PathBuf::from(bpffs::ROOT).join("wocut").join(netns.inode.to_string());
        Self { netns, pins }
    }

    /// Where it keeps what belongs to this namespace.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Whether what is pinned here is of a namespace that is gone, whose inode number has come back.
    pub fn is_of_a_namespace_that_is_gone(&self) -> bool {
        pins::is_dead(&self.pins)
    }

    /// Tries whether this host runs the engine, by loading it. What it loads stays, for [`Engine::apply`] to use.
    pub fn probe(&self) -> anyhow::Result<()> {
        self.load().map(drop)
    }

    /// Tries whether this host runs the engine, beside what is loaded, and leaves nothing behind.
    pub fn try_out(&self) -> anyhow::Result<()> {
        let scratch = Self { netns: self.netns, pins: self.pins.with_file_name("trial") };
        pins::remove(&scratch.pins)?;
        let result = scratch.probe();
        pins::remove(&scratch.pins)?;
        result
    }

    /// Why this engine cannot carry a service, if it cannot.
    pub fn cannot_serve(service: &Service) -> Option<String> {
        let mut datagrams = service.listen.iter().filter(|listen| listen.protocol == Protocol::Udp);
        let udp = datagrams.clone().next()?;
        let Options { policy, on_empty, .. } = service.options;
        if matches!(policy, Policy::LeastConn | Policy::LeastBacklog) {
            return Some(format!("{udp} has no connections or queues to pick by `{policy}`"));
        }
        if on_empty == OnEmpty::Reject {
            return Some(format!(
                "programs cannot refuse the datagrams of {udp}; `--on-empty drop` drops them"
            ));
        }
        // Only ports of datagrams are written.
        datagrams.find_map(|udp| {
            let is_elsewhere = |instance: &&Instance| {
                instance.spec.address.is_some_and(|address| udp.address != Some(address))
            };
            let elsewhere = service.instances.iter().find(is_elsewhere)?;
            Some(format!(
                "datagrams to {udp} do not get to another address, that of instance {}",
                elsewhere.spec
            ))
        })
    }

    /// Puts this version's programs in the place of those that run, each in one step; maps, and with them traffic,
    /// stay. Returns those before and those after, and warnings.
    pub fn upgrade(&self) -> anyhow::Result<(Vec<Running>, Vec<Running>, Vec<String>)> {
        // Programs of another layout are not touched.
        pins::is_complete(&self.pins, self.netns)?;
        let before = pins::running(&self.pins)?;
        load::load(&self.pins, self.netns)?;
        let warnings =
            if tc::is_loaded(&self.pins) { tc::attach(&self.pins, self.netns, true)? } else { Vec::new() };
        Ok((before, pins::running(&self.pins)?, warnings))
    }

    /// Loads what is not loaded yet, and opens the maps. On failure nothing new stays.
    fn load(&self) -> anyhow::Result<maps::Maps> {
        if !pins::is_complete(&self.pins, self.netns)? {
            let before = pins::exist(&self.pins);
            if let Err(error) = load::load(&self.pins, self.netns) {
                if !before {
                    pins::remove(&self.pins)?;
                }
                let missing = capabilities::missing_for_ebpf();
                if missing.is_empty() {
                    return Err(error);
                }
                return Err(error.context(format!("{} missing", missing.join(", "))));
            }
        }
        maps::Maps::open(&self.pins)
    }
}

impl Engine for Ebpf<'_> {
    fn apply(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        if services.is_empty() {
            pins::remove(&self.pins).context("unload the ebpf engine")?;
            return Ok(Vec::new());
        }
        for (name, service) in services {
            if let Some(reason) = Self::cannot_serve(service) {
                anyhow::bail!("service {name}: {reason}");
            }
        }
        let mut maps = self.load().context("load the ebpf engine")?;
        sync::sync(&mut maps, &self.pins, self.netns, services)
            .context("bring the ebpf engine's maps up to date")
    }

    fn dry_run(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        let now = if pins::exist(&self.pins) { Some(maps::Maps::open(&self.pins)?) } else { None };
        sync::describe(now.as_ref(), tc::is_loaded(&self.pins), services)
    }

    fn drift(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        if services.is_empty() { self.dry_run(services) } else { drift::find(self, services) }
    }

    fn observe(&self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<ObservedService>> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let maps = maps::Maps::open(&self.pins).context("open the ebpf engine's maps")?;
        observe::observe(&maps, &self.pins, self.netns, services)
    }

    fn picked(&self, _: &Name, service: &Service) -> anyhow::Result<Vec<Option<u64>>> {
        let maps = maps::Maps::open(&self.pins).context("open the ebpf engine's maps")?;
        let row = |instance| maps.count(CounterKey { service: service.index, instance });
        service.instances.iter().map(|instance| Ok(row(instance.id)?.map(|row| row.picked))).collect()
    }

    fn open(&self, service: &Service, _others: &[&Service]) -> anyhow::Result<usize> {
        connections::count(&self.pins, service)
    }

    fn kill(&self, service: &Service, _others: &[&Service]) -> anyhow::Result<usize> {
        connections::kill(&self.pins, service)
    }

    fn settle(&self) -> anyhow::Result<()> {
        tables::Tables::open(&self.pins)?.settle()
    }
}
