//! One command, from lock to kernel.
//!
//! Lock, read what is wanted, change it, write it, make the kernel match; an error puts both back. A kill at any
//! point leaves a state file that says what is wanted and that the kernel may not match; whichever command comes
//! next makes it match first.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        Engine, ObservedService,
        ebpf::{Ebpf, Running},
        iptables::Iptables,
    },
    error::{FallsShort, NotAttached, one_line},
    model::{Claim, EngineChoice, EngineKind, Name, Service, Wanted},
    plan::{Change, ChangeError},
    sys::{
        lock::DirLock,
        netns::Netns,
        pidfd::{kill_with_group, lives},
        reserved_ports, state_file,
    },
};

/// Where the state files are, one a network namespace.
pub const RUN: &str = "/run/wocut";

/// This host, as seen from one network namespace.
#[derive(Debug)]
pub struct Host {
    netns: Netns,
}

/// A change, and what to warn of before it is made.
#[derive(Debug)]
pub struct Proposal {
    /// The change.
    pub change: Change,
    /// What was found on the way.
    pub warnings: Vec<String>,
    /// What is worth to be known of it.
    pub notes: Vec<String>,
}

impl From<Change> for Proposal {
    fn from(change: Change) -> Self {
        Self { change, warnings: Vec::new(), notes: Vec::new() }
    }
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One line that says what changed, or that nothing did.
    pub line: String,
    /// What could not be done for single instances.
    pub warnings: Vec<String>,
    /// What is worth to be known of it.
    pub notes: Vec<String>,
    /// What a dry run would do to the kernel, or a verbose change did.
    pub steps: Vec<String>,
    /// Of open connections, where they mattered.
    pub connections: Option<Connections>,
}

/// What was not in the kernel as it was wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// A line each; nothing, if all was as wanted.
    pub found: Vec<String>,
    /// What could not be put right.
    pub left: Vec<String>,
    /// What could not be done for single instances.
    pub warnings: Vec<String>,
}

/// What became of open connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// How many are open still.
    pub left: usize,
    /// How many were ended.
    pub killed: usize,
}

impl Host {
    /// Enters the namespace, if one is given.
    pub fn enter(netns: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self { netns: Netns::enter(netns)? })
    }

    /// The network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What is wanted here.
    pub fn wanted(&self) -> anyhow::Result<Wanted> {
        let Some(wanted) = state_file::read::<Wanted>(&self.state_path(), Wanted::SCHEMA)? else {
            return Ok(Wanted::empty(self.netns.cookie));
        };
        // The inode number of a namespace that is gone has come back.
        let is_ours = wanted.netns_cookie == self.netns.cookie
            && (self.netns.cookie.is_some() || !Ebpf::new(&self.netns).is_of_a_namespace_that_is_gone());
        Ok(if is_ours { wanted } else { Wanted::empty(self.netns.cookie) })
    }

    /// Makes a change, or says what it would do. `change` sees the wanted state that it will be made on; `verbose`
    /// also asks for the steps of a real change.
    pub fn change<C: Into<Proposal>>(
        &self,
        dry_run: bool,
        verbose: bool,
        change: impl FnOnce(&Self, &Wanted) -> anyhow::Result<C>,
    ) -> anyhow::Result<Done> {
        let _lock = DirLock::wait(Path::new(RUN))?;
        let mut before = self.wanted()?;
        if before.unfinished && !dry_run {
            self.reach(&before, before.clone()).context("finish what an interrupted command began")?;
            before = self.wanted()?;
        }
        if !dry_run {
            before.claims.retain(|_, claim| lives(claim.by) || give_up(*claim));
        }
        let mut after = before.clone();
        let proposal = change(self, &before).map_err(|error| self.unclaim(&before, error))?;
        let Proposal { change, warnings: found, notes } = proposal.into();
        if matches!(change, Change::DetachAll) {
            // Whatever the state file says, or said before it was lost.
            after.engines.insert(EngineKind::Ebpf);
            after.engines.extend(Iptables::probe().is_ok().then_some(EngineKind::Iptables));
        }
        let line = change.apply(&mut after).map_err(|error| self.unclaim(&before, error.into()))?;
        after.engines.extend(after.services.values().map(|service| service.engine));
        let steps = if dry_run || verbose { self.dry_run(&after)? } else { Vec::new() };
        if dry_run {
            return Ok(Done { line, warnings: found, notes, steps, connections: None });
        }
        let mut warnings = found;
        let reached =
            self.reach(&before, after).map_err(|error| match self.reach(&before, before.clone()) {
                Ok(_) => error,
                Err(again) => {
                    error.context(format!("and the state before could not be restored: {}", one_line(&again)))
                }
            })?;
        warnings.extend(reached);
        Ok(Done { line, warnings, notes, steps, connections: None })
    }

    /// Writes down what is claimed, and no more: what was started is to be known at once.
    pub fn note(&self, port: u16, claim: Claim) -> anyhow::Result<()> {
        let _lock = DirLock::wait(Path::new(RUN))?;
        let mut wanted = self.wanted()?;
        wanted.claims.insert(port, claim);
        self.write(&wanted)
    }

    /// Writes down what is wanted and makes the kernel match, coming from what was wanted before.
    fn reach(&self, before: &Wanted, mut wanted: Wanted) -> anyhow::Result<Vec<String>> {
        let ports = wanted.kept_ports();
        let stale: BTreeSet<u16> = wanted.reserved_ports.difference(&ports).copied().collect();
        // What is claimed here is taken back later, so it is written before it is done, and struck out after.
        let missing = reserved_ports::missing(&ports);
        wanted.reserved_ports.extend(missing.as_ref().into_iter().flatten());
        wanted.unfinished = true;
        self.write(&wanted)?;

        let mut warnings = Vec::new();
        let gains = |kind: EngineKind| {
            let held = |name: &Name| before.services.get(name).is_some_and(|old| old.engine == kind);
            wanted.on(kind).iter().any(|(name, _)| !held(name))
        };
        // A service that moves is on its new engine before it leaves the old one.
        let mut order: Vec<EngineKind> = wanted.engines.iter().copied().collect();
        order.sort_by_key(|&kind| !gains(kind));
        for kind in order {
            warnings.extend(self.engine(kind).apply(&wanted.on(kind))?);
        }
        // A container may not write this setting; the service works without.
        if let Err(error) = missing.and_then(|missing| reserved_ports::change(&missing, &stale)) {
            warnings.push(format!("ports are not reserved: {}", one_line(&error)));
        }
        if let Err(error) = self.note_shares(before, &mut wanted) {
            warnings.push(format!("`wocut stats` is not exact from here: {}", one_line(&error)));
        }

        wanted.reserved_ports.retain(|port| ports.contains(port));
        wanted.engines = wanted.services.values().map(|service| service.engine).collect();
        wanted.unfinished = false;
        self.write(&wanted)?;
        Ok(warnings)
    }

    /// Puts right what something else took away or changed in the kernel.
    pub fn repair(&self) -> anyhow::Result<Repair> {
        let _lock = DirLock::wait(Path::new(RUN))?;
        let wanted = self.wanted()?;
        let found = self.drift(&wanted)?;
        if found.is_empty() && !wanted.unfinished {
            return Ok(Repair::default());
        }
        let warnings = self.reach(&wanted, wanted.clone())?;
        Ok(Repair { found, left: self.drift(&wanted)?, warnings })
    }

    /// What is not in the kernel as it is wanted, a line each.
    fn drift(&self, wanted: &Wanted) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for &kind in &wanted.engines {
            found.extend(self.engine(kind).drift(&wanted.on(kind))?);
        }
        let unreserved = reserved_ports::missing(&wanted.kept_ports()).unwrap_or_default();
        found.extend(unreserved.iter().map(|port| format!("port {port} is not reserved")));
        Ok(found)
    }

    fn dry_run(&self, after: &Wanted) -> anyhow::Result<Vec<String>> {
        let mut steps = Vec::new();
        for &kind in &after.engines {
            steps.extend(self.engine(kind).dry_run(&after.on(kind))?);
        }
        Ok(steps)
    }

    /// Notes how often each instance had been picked when its service's shares changed: `stats` counts from there.
    fn note_shares(&self, before: &Wanted, wanted: &mut Wanted) -> anyhow::Result<()> {
        let shares = |service: &Service| -> Vec<(u32, u16)> {
            service.takers().map(|(instance, weight)| (instance.id, weight)).collect()
        };
        for (name, service) in &mut wanted.services {
            if before.services.get(name).is_some_and(|old| shares(old) != shares(service)) {
                let picked = self.engine(service.engine).picked(name, service)?;
                for (instance, picked) in service.instances.iter_mut().zip(picked) {
                    instance.picked_before = picked.unwrap_or(0);
                }
            }
        }
        Ok(())
    }

    /// What the kernel says of the wanted services, in their order.
    pub fn observe(&self, wanted: &Wanted) -> anyhow::Result<Vec<ObservedService>> {
        let mut observed = Vec::new();
        for kind in [EngineKind::Ebpf, EngineKind::Iptables] {
            let services = wanted.on(kind);
            if !services.is_empty() {
                let found = self.engine(kind).observe(&services)?;
                observed.extend(services.into_iter().map(|(name, _)| name).zip(found));
            }
        }
        observed.sort_by_key(|(name, _)| *name);
        Ok(observed.into_iter().map(|(_, service)| service).collect())
    }

    /// How many connections are open that came through the service to its instances: see [`Engine::open`].
    pub fn open(&self, name: &Name, service: &Service) -> anyhow::Result<usize> {
        let wanted = self.wanted()?;
        let context = || format!("count the open connections of {name}");
        self.engine(service.engine).open(service, &others(&wanted, name, service)).with_context(context)
    }

    /// Ends them: see [`Engine::kill`].
    pub fn kill(&self, name: &Name, service: &Service) -> anyhow::Result<usize> {
        let wanted = self.wanted()?;
        let context = || format!("end the open connections of {name}");
        self.engine(service.engine).kill(service, &others(&wanted, name, service)).with_context(context)
    }

    /// Waits until every pick that was under way has ended: see [`Engine::settle`].
    pub fn settle<'a>(&self, services: impl Iterator<Item = &'a Service>) -> anyhow::Result<()> {
        // Another command's change moves the tables that this one waits by.
        let _lock = DirLock::wait(Path::new(RUN))?;
        let engines: BTreeSet<EngineKind> = services.map(|service| service.engine).collect();
        let mut engines = engines.into_iter().map(|kind| self.engine(kind));
        engines.try_for_each(|engine| engine.settle()).context("wait for picks that are under way")
    }

    /// The engine that [`choose`](Self::choose) tries first.
    pub fn first_choice(choice: EngineChoice, service: &Service) -> EngineKind {
        match choice {
            EngineChoice::Only(kind) => kind,
            EngineChoice::Auto if Ebpf::cannot_serve(service).is_some() => EngineKind::Iptables,
            EngineChoice::Auto => EngineKind::Ebpf,
        }
    }

    /// The engine for a new service, and why it is not eBPF if that was tried. What a trial loads stays for the change
    /// that follows, and is written down before; a dry run leaves nothing.
    pub fn choose(
        &self,
        choice: EngineChoice,
        service: &Service,
        wanted: &Wanted,
        dry_run: bool,
    ) -> anyhow::Result<(EngineKind, Option<String>)> {
        let ebpf = || {
            if let Some(reason) = Ebpf::cannot_serve(service) {
                return Err(anyhow!(reason));
            }
            if dry_run {
                return Ebpf::new(&self.netns).try_out();
            }
            let mut claimed = Wanted { unfinished: true, ..wanted.clone() };
            claimed.engines.insert(EngineKind::Ebpf);
            self.write(&claimed)?;
            Ebpf::new(&self.netns).probe()
        };
        let iptables = || match Iptables::falls_short(service) {
            Some(reason) if !service.options.allow_degraded => Err(FallsShort(reason).into()),
            _ => Iptables::probe(),
        };
        match choice {
            EngineChoice::Only(EngineKind::Ebpf) => {
                ebpf().context("the ebpf engine does not work here")?;
                Ok((EngineKind::Ebpf, None))
            }
            EngineChoice::Only(EngineKind::Iptables) => {
                iptables().context("the iptables engine cannot carry it")?;
                Ok((EngineKind::Iptables, None))
            }
            EngineChoice::Auto => {
                let Err(refused) = ebpf() else { return Ok((EngineKind::Ebpf, None)) };
                let refused = one_line(&refused);
                match iptables() {
                    Ok(()) => Ok((EngineKind::Iptables, Some(refused))),
                    Err(error) => {
                        Err(error.context(format!("no engine works here: ebpf: {refused}; iptables")))
                    }
                }
            }
        }
    }

    /// After a change that failed before it began: takes back what [`choose`](Self::choose) claimed.
    fn unclaim(&self, before: &Wanted, error: anyhow::Error) -> anyhow::Error {
        if !self.wanted().is_ok_and(|now| now.unfinished) {
            return error;
        }
        let mut claimed = before.clone();
        claimed.engines.insert(EngineKind::Ebpf);
        match self.reach(before, claimed) {
            Ok(_) => error,
            Err(again) => {
                error.context(format!("and what was tried could not be taken back: {}", one_line(&again)))
            }
        }
    }

    /// Swaps the eBPF engine's programs for this version's: see [`Ebpf::upgrade`].
    pub fn upgrade(&self) -> anyhow::Result<(Vec<Running>, Vec<Running>, Vec<String>)> {
        let _lock = DirLock::wait(Path::new(RUN))?;
        let wanted = self.wanted()?;
        if wanted.on(EngineKind::Ebpf).is_empty() {
            return Err(NotAttached("nothing to upgrade: no service is on the ebpf engine".into()).into());
        }
        let upgraded = Ebpf::new(&self.netns).upgrade().context("upgrade the ebpf engine")?;
        // Whatever else an older version left undone.
        self.reach(&wanted, wanted.clone())?;
        Ok(upgraded)
    }

    /// Tries whether the eBPF engine runs here, while no command changes anything.
    pub fn try_ebpf(&self) -> anyhow::Result<()> {
        let _lock = DirLock::wait(Path::new(RUN))?;
        Ebpf::new(&self.netns).try_out()
    }

    fn engine(&self, kind: EngineKind) -> Box<dyn Engine + '_> {
        match kind {
            EngineKind::Ebpf => Box::new(Ebpf::new(&self.netns)),
            EngineKind::Iptables => Box::new(Iptables::new()),
        }
    }

    /// The file that says what is wanted.
    pub fn state_path(&self) -> PathBuf {
        Path::new(RUN).join(format!("{}.json", self.netns.inode))
    }

    /// Replaces the state file in one step, or removes it when nothing is wanted or held any more.
    fn write(&self, wanted: &Wanted) -> anyhow::Result<()> {
        let path = self.state_path();
        let is_empty = wanted.services.is_empty() && wanted.claims.is_empty();
        if is_empty && wanted.engines.is_empty() && wanted.reserved_ports.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove state file {}", path.display()))
                }
                _ => Ok(()),
            };
        }
        state_file::write(&path, wanted)
    }
}

/// A claim whose holder was killed. What it had started has no connections, and would never have any.
fn give_up(claim: Claim) -> bool {
    if let Some(process) = claim.process {
        let _gone = kill_with_group(process);
    }
    false
}

/// What else is on the engine of a service.
fn others<'a>(wanted: &'a Wanted, name: &Name, service: &Service) -> Vec<&'a Service> {
    let all = wanted.on(service.engine).into_iter();
    all.filter(|(other, _)| *other != name).map(|(_, other)| other).collect()
}

/// Puts the service of that name on an engine.
pub fn put_on(wanted: &mut Wanted, name: &Name, engine: EngineKind) {
    if let Some(service) = wanted.services.get_mut(name) {
        service.engine = engine;
    }
}

/// The service of that name.
pub fn service<'a>(wanted: &'a Wanted, name: &Name) -> Result<&'a Service, ChangeError> {
    wanted.services.get(name).ok_or_else(|| ChangeError::NoService(name.clone()))
}
