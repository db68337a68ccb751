//! The service that processes come into and leave.

use std::{cell::Cell, collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, bail};

use super::ports::PortRange;
use crate::{
    conflicts::Ask,
    departure::Leaving,
    error::one_line,
    host::{Done, Host},
    model::{Claim, Definition, EngineChoice, InstanceSpec, Name, ProcessId, Wanted},
    plan::{Change, Entrant, Entry, by_hand},
    propose::{self, Terms},
    sys::{
        connections,
        pidfd::{identify, lives},
    },
};

/// A service of processes, as it is to be.
#[derive(Debug)]
pub struct Pool {
    /// Where it is.
    pub host: Host,
    /// The service, without instances.
    pub service: Definition,
    /// What may carry it.
    pub engine: EngineChoice,
    /// How conflicts are looked for.
    pub ask: Ask,
    /// Where instances are started.
    pub ports: PortRange,
    /// Whether it was tried out that an instance could come into the service.
    pub rehearsed: Cell<bool>,
}

impl Pool {
    /// What its service is called.
    pub fn name(&self) -> &Name {
        &self.service.name
    }

    /// A port to start an instance on, which is nobody else's as long as this process lives: [`enter`](Self::enter) or
    /// [`give_back`](Self::give_back) ends that.
    pub fn claim(&self) -> anyhow::Result<InstanceSpec> {
        let claim = Claim { by: own()?, process: None };
        let mut found = 0;
        self.host.change(false, false, |_, wanted| {
            found = self.ports.free(wanted, &self.service.listen)?;
            Ok(Change::Claim(found, claim))
        })?;
        let spec = found.to_string().parse()?;
        if !self.rehearsed.get() {
            self.rehearse(&spec).inspect_err(|_| drop(self.give_back(&spec)))?;
            self.rehearsed.set(true);
        }
        Ok(spec)
    }

    /// Fails where so many instances could not be started and come into the service. Changes nothing.
    pub fn expect_room(&self, workers: usize) -> anyhow::Result<()> {
        self.ports.expect_room(&self.host.wanted()?, self.name(), &self.service.listen, workers)
    }

    /// Writes down what is started there: it is ended by whatever command comes next, should this process be killed
    /// before it is an instance.
    pub fn note(&self, spec: &InstanceSpec) -> impl FnOnce(ProcessId) -> anyhow::Result<()> + Send {
        let (host, port) = (&self.host, spec.port);
        move |process| host.note(port, Claim { by: own()?, process: Some(process) })
    }

    /// No instance is started there.
    pub fn give_back(&self, spec: &InstanceSpec) -> anyhow::Result<Done> {
        let own = own()?;
        self.change(|_| Change::Unclaim(spec.port, own))
    }

    /// Fails where an instance there could not come into the service. Changes nothing.
    fn rehearse(&self, spec: &InstanceSpec) -> anyhow::Result<()> {
        let nobody = ProcessId { pid: 0, started: 0 };
        self.come(Entrant { spec: spec.clone(), process: nobody, worker: None }, Some(&[]), true).map(drop)
    }

    /// It gets new connections from here on, and `leaving` get none, in one step; `None` is all others. Returns who left.
    pub fn enter(
        &self,
        spec: &InstanceSpec,
        process: ProcessId,
        worker: Option<u32>,
        leaving: Option<&[ProcessId]>,
    ) -> anyhow::Result<(Done, Vec<ProcessId>)> {
        if !lives(process) {
            bail!("process {process} has ended");
        }
        let entrant = Entrant { spec: spec.clone(), process, worker };
        let (mut done, left) = self.come(entrant, leaving, false)?;
        // It has come in, whatever becomes of this. Nobody who leaves is ended within the next second.
        if let Err(error) = self.settle() {
            done.warnings.push(format!("picks that are under way were not waited for: {}", one_line(&error)));
        }
        Ok((done, left))
    }

    fn come(
        &self,
        entrant: Entrant,
        leaving: Option<&[ProcessId]>,
        dry_run: bool,
    ) -> anyhow::Result<(Done, Vec<ProcessId>)> {
        let terms = Terms { engine: self.engine, prune: false, dry_run, ask: self.ask };
        let mut left = Vec::new();
        let done = self.host.change(dry_run, false, |host, wanted| {
            let (others, gone) = processes(wanted, self.name());
            left = leaving.map_or(others, Into::into);
            let service = self.service.clone().into();
            let entering = vec![entrant];
            propose::entry(host, wanted, &Entry { service, entering, leaving: left.clone(), gone }, terms)
        })?;
        Ok((done, left))
    }

    /// They get no new connections from here on.
    pub fn retire(&self, leaving: &[ProcessId]) -> anyhow::Result<Done> {
        let done = self.change(|name| Change::Retire(name, leaving.into()))?;
        self.settle()?;
        Ok(done)
    }

    /// They have ended. Whoever else has goes with them.
    pub fn exit(&self, gone: &[ProcessId]) -> anyhow::Result<Done> {
        self.host.change(false, false, |_, wanted| {
            let (_, ended) = processes(wanted, self.name());
            Ok(Change::Exit(self.name().clone(), [gone, &ended].concat()))
        })
    }

    /// Fails where an instance of the service was started by nobody here.
    pub fn expect_processes(&self) -> anyhow::Result<()> {
        let wanted = self.host.wanted()?;
        let service = wanted.services.get(self.name());
        let mut instances = service.into_iter().flat_map(|service| &service.instances);
        match instances.find(|instance| instance.process.is_none()) {
            Some(other) => Err(by_hand(self.name(), other).into()),
            None => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(Name) -> Change) -> anyhow::Result<Done> {
        self.host.change(false, false, |_, _| Ok(change(self.name().clone())))
    }

    /// Waits for picks that were under way.
    fn settle(&self) -> anyhow::Result<()> {
        self.host.settle(self.host.wanted()?.services.get(self.name()).into_iter())
    }

    /// Every process that is an instance of the service and has not ended.
    pub fn processes(&self) -> anyhow::Result<Vec<ProcessId>> {
        Ok(processes(&self.host.wanted()?, self.name()).0)
    }

    /// The clients that are at a handshake with the service, which may be with a process of it.
    pub fn handshakes(&self, process: ProcessId) -> anyhow::Result<BTreeSet<SocketAddr>> {
        let wanted = self.host.wanted()?;
        let Some(service) = wanted.services.get(self.name()) else { return Ok(BTreeSet::new()) };
        let listens = service.listen.iter().map(|listen| listen.port);
        // On iptables it is at the instance's own port.
        let own = service.instances.iter().filter(|instance| instance.process == Some(process));
        connections::handshakes(&listens.chain(own.map(|instance| instance.spec.port)).collect())
    }

    /// How many connections a process has that came through the service.
    pub fn open(&self, process: ProcessId) -> anyhow::Result<usize> {
        Leaving::process(&self.host.wanted()?, self.name(), process).open(&self.host)
    }
}

/// Who this process is.
fn own() -> anyhow::Result<ProcessId> {
    identify(std::process::id()).context("find out who this process is")
}

/// Every process that is noted as an instance of a service: those that live, and those that have ended.
fn processes(wanted: &Wanted, name: &Name) -> (Vec<ProcessId>, Vec<ProcessId>) {
    let instances = wanted.services.get(name).into_iter().flat_map(|service| &service.instances);
    let all = instances.filter_map(|instance| instance.process);
    all.partition(|process| lives(*process))
}
