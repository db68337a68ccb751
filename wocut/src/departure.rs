//! Instances that leave once nobody is connected to them: who they are, and what becomes of them.

use std::slice;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use crate::{
    error::Usage,
    host::{Host, service},
    model::{Admin, Instance, Name, ProcessId, Service, Wanted},
    plan::{Change, ChangeError},
};

/// Who is to have no connections any more, and what becomes of them then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// An instance stays, drained.
    Drain(Name, Name),
    /// Instances are removed.
    Remove(Name, Vec<Name>),
    /// A service is detached, or all.
    Detach(Option<Name>),
}

/// Services, each with the instances whose connections are to go.
#[derive(Debug, Default)]
pub struct Leaving(Vec<(Name, Service)>);

/// What a look at those who leave found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// One who was made ready meanwhile.
    pub ready: Option<String>,
    /// Open connections.
    pub open: usize,
}

impl Departure {
    /// Who leaves.
    pub fn leaving(&self, wanted: &Wanted) -> Result<Leaving, ChangeError> {
        match self {
            Self::Drain(name, instance) => Leaving::instances(wanted, name, slice::from_ref(instance)),
            Self::Remove(name, instances) => Leaving::instances(wanted, name, instances),
            Self::Detach(name) => Leaving::services(wanted, name.as_ref()),
        }
    }

    /// The change that keeps new connections off.
    pub(crate) fn first(&self, wanted: &Wanted) -> Result<Change, ChangeError> {
        let leaving = self.leaving(wanted)?;
        if let Some(end) = self.end() {
            // What cannot come to an end is not begun.
            end.apply(&mut wanted.clone())?;
        }
        Ok(match self {
            Self::Drain(name, instance) => Change::Admin(name.clone(), instance.clone(), Admin::Drain),
            _ => leaving.drain(),
        })
    }

    /// The change that comes when nobody is connected any more. `rehearsed`: nobody was drained before.
    pub(crate) fn last(&self, wanted: &Wanted, rehearsed: bool) -> anyhow::Result<Change> {
        match self.leaving(wanted)?.ready().filter(|_| !rehearsed) {
            Some(ready) => Err(made_ready(&ready)),
            None => self.end().ok_or_else(|| Usage("an instance that is drained stays".into()).into()),
        }
    }

    /// Whether something is changed at the end as well.
    pub fn has_end(&self) -> bool {
        self.end().is_some()
    }

    fn end(&self) -> Option<Change> {
        match self.clone() {
            Self::Drain(..) => None,
            Self::Remove(name, instances) => Some(Change::Remove(name, instances)),
            Self::Detach(name) => Some(name.map_or(Change::DetachAll, Change::Detach)),
        }
    }

    /// Looks at those who leave. Those that others have removed meanwhile are looked at all the same.
    pub fn look(&self, host: &Host, leaving: &Leaving) -> anyhow::Result<Seen> {
        let ready = self.leaving(&host.wanted()?).ok().and_then(|now| now.ready());
        Ok(Seen { ready, open: leaving.open(host)? })
    }
}

impl Leaving {
    /// A process of a service; nobody, if it is no instance any more.
    pub fn process(wanted: &Wanted, name: &Name, process: ProcessId) -> Self {
        let mut service = wanted.services.get(name).cloned();
        if let Some(service) = &mut service {
            service.instances.retain(|instance| instance.process == Some(process));
        }
        Self(
            service
                .filter(|service| !service.instances.is_empty())
                .map(|it| (name.clone(), it))
                .into_iter()
                .collect(),
        )
    }

    fn instances(wanted: &Wanted, name: &Name, leaving: &[Name]) -> Result<Self, ChangeError> {
        let mut service = service(wanted, name)?.clone();
        if let Some(unknown) = leaving.iter().find(|leaving| service.instance(leaving).is_none()) {
            return Err(ChangeError::NoInstance(name.clone(), (*unknown).clone()));
        }
        service.instances.retain(|instance| leaving.contains(&instance.spec.name));
        Ok(Self(vec![(name.clone(), service)]))
    }

    fn services(wanted: &Wanted, name: Option<&Name>) -> Result<Self, ChangeError> {
        Ok(Self(match name {
            Some(name) => vec![(name.clone(), service(wanted, name)?.clone())],
            None => wanted.services.clone().into_iter().collect(),
        }))
    }

    fn drain(&self) -> Change {
        let names = |service: &Service| service.instances.iter().map(|i| i.spec.name.clone()).collect();
        Change::Drain(self.0.iter().map(|(name, service)| (name.clone(), names(service))).collect())
    }

    fn ready(&self) -> Option<String> {
        self.all().find(|(_, instance)| instance.admin == Admin::Ready).map(|(name, _)| name)
    }

    /// `SERVICE/INSTANCE` of each.
    pub fn names(&self) -> String {
        self.all().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    fn all(&self) -> impl Iterator<Item = (String, &Instance)> {
        self.0.iter().flat_map(|(name, service)| {
            service.instances.iter().map(move |instance| (format!("{name}/{}", instance.spec.name), instance))
        })
    }

    /// How many connections are open.
    pub fn open(&self, host: &Host) -> anyhow::Result<usize> {
        let count = || self.0.iter().map(|(name, service)| host.open(name, service)).sum();
        match count()? {
            // A list that changes while it is read may miss a connection once.
            0 => count(),
            open => Ok(open),
        }
    }

    /// Ends them.
    pub fn kill(&self, host: &Host) -> anyhow::Result<usize> {
        self.0.iter().map(|(name, service)| host.kill(name, service)).sum()
    }
}

/// Somebody wants it after all.
pub fn made_ready(instance: &str) -> anyhow::Error {
    anyhow!("{instance} was made ready while its connections were to go: it is left as it is")
}
