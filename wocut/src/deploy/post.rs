//! The service that processes come into and leave.

use anyhow::Context as _;

use super::ports::PortRange;
use crate::{
    conflicts::Ask,
    departure::Leaving,
    host::{Done, Host},
    model::{Claim, Definition, EngineChoice, InstanceSpec, Name, ProcessId, Wanted},
    plan::{Change, Entry},
    propose::{self, Terms},
    sys::pidfd::{identify, lives},
};

/// A service of processes, as it is to be.
#[derive(Debug)]
pub struct Post {
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
}

impl Post {
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
        self.rehearse(&spec).inspect_err(|_| drop(self.give_back(&spec)))?;
        Ok(spec)
    }

    /// What was started there is ended by whatever command comes next, should this process be killed before it is an
    /// instance.
    pub fn note(&self, spec: &InstanceSpec, process: ProcessId) -> anyhow::Result<Done> {
        let claim = Claim { by: own()?, process: Some(process) };
        self.change(|_| Change::Claim(spec.port, claim))
    }

    /// No instance is started there.
    pub fn give_back(&self, spec: &InstanceSpec) -> anyhow::Result<Done> {
        self.change(|_| Change::Unclaim(spec.port))
    }

    /// Fails where an instance there could not come into the service. Changes nothing.
    fn rehearse(&self, spec: &InstanceSpec) -> anyhow::Result<()> {
        let nobody = ProcessId { pid: 0, started: 0 };
        self.come(spec, nobody, &[], true).map(drop)
    }

    /// It gets new connections from here on, and `leaving` get none, in one step.
    pub fn enter(
        &self,
        spec: &InstanceSpec,
        process: ProcessId,
        leaving: &[ProcessId],
    ) -> anyhow::Result<Done> {
        let done = self.come(spec, process, leaving, false)?;
        if !leaving.is_empty() {
            self.settle()?;
        }
        Ok(done)
    }

    fn come(
        &self,
        spec: &InstanceSpec,
        process: ProcessId,
        leaving: &[ProcessId],
        dry_run: bool,
    ) -> anyhow::Result<Done> {
        let terms = Terms { engine: self.engine, prune: false, dry_run, ask: self.ask };
        self.host.change(dry_run, false, |host, wanted| {
            let (_, gone) = processes(wanted, self.name());
            let service = self.service.clone().into();
            let entering = vec![(spec.clone(), process)];
            propose::entry(host, wanted, &Entry { service, entering, leaving: leaving.into(), gone }, terms)
        })
    }

    /// They get no new connections from here on.
    pub fn retire(&self, leaving: &[ProcessId]) -> anyhow::Result<Done> {
        let done = self.change(|name| Change::Retire(name, leaving.into()))?;
        self.settle()?;
        Ok(done)
    }

    /// They have ended.
    pub fn exit(&self, gone: &[ProcessId]) -> anyhow::Result<Done> {
        self.change(|name| Change::Exit(name, gone.into()))
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
