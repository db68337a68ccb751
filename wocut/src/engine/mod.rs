//! Engines make the kernel match a plan, and say what the kernel does.

pub mod ebpf;
pub mod iptables;

use crate::model::{Name, Service};

/// What an engine can do with the services that it carries.
pub trait Engine {
    /// Makes the kernel hold exactly these services of this engine, whatever it held before; with none, leaves
    /// nothing behind. Each service changes in one step. Open connections stay, and a pick that is under way may end
    /// as if before: see [`settle`](Self::settle).
    ///
    /// Returns warnings: what could not be done for single instances or families.
    fn apply(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>>;

    /// What [`apply`](Self::apply) would do, for people: a line each, nothing if all is as wanted.
    fn dry_run(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>>;

    /// What something else has taken away or changed of what the kernel must hold, for people: a line each, nothing if
    /// all is as wanted. [`apply`](Self::apply) puts it right.
    fn drift(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        self.dry_run(services)
    }

    /// What the kernel says of these services, in their order.
    fn observe(&self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<ObservedService>>;

    /// How often each instance of a service was picked, in their order. `None`: this engine cannot know.
    fn picked(&self, name: &Name, service: &Service) -> anyhow::Result<Vec<Option<u64>>> {
        let seen = self.observe(&[(name, service)])?;
        Ok(seen.into_iter().flat_map(|service| service.instances).map(|instance| instance.picked).collect())
    }

    /// How many connections are open that clients made to the service and that went to one of the instances it has
    /// here, which may be some of its own, or have been removed since. A handshake is none yet, `TIME_WAIT` none any
    /// more. `others` are the engine's other services.
    fn open(&self, service: &Service, others: &[&Service]) -> anyhow::Result<usize>;

    /// Ends those connections, each client with a reset, and no others. Returns how many.
    fn kill(&self, service: &Service, others: &[&Service]) -> anyhow::Result<usize>;

    /// Waits until every pick that was under way has ended.
    fn settle(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What an engine knows of a service. `None`: this engine cannot know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedService {
    /// The eBPF hook that picks.
    pub hook: Option<&'static str>,
    /// Picks made.
    pub picks: Option<u64>,
    /// Picks that found no instance.
    pub unserved: Option<u64>,
    /// In the order of the service's instances.
    pub instances: Vec<ObservedInstance>,
}

/// What an engine knows of an instance. `None`: this engine cannot know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedInstance {
    /// Picks that chose it.
    pub picked: Option<u64>,
    /// Picks that passed it over because it could not take the connection.
    pub failovers: Option<u64>,
    /// Connections open now.
    pub active: Option<u64>,
    /// Connections since it was added.
    pub connections: Option<u64>,
    /// Bytes from clients, on connections that have ended.
    pub received_bytes: Option<u64>,
    /// Bytes to clients, on connections that have ended.
    pub sent_bytes: Option<u64>,
    /// Why a daemon that listens gets no connections all the same.
    pub refused: Option<String>,
}
