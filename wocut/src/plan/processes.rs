//! Instances that `run` and `cluster` start and end: they come and go in steps that clients do not see.

use super::{
    Assigned, ChangeError,
    apply::put,
    change::{find, join},
    validate::validate,
};
use crate::model::{Admin, Instance, InstanceSpec, Member, Name, ProcessId, Service, Wanted};

/// Processes that come into a service, and what becomes of others in the same step.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The service as it is to be, but for its instances. It is attached if it is not there.
    pub service: Assigned,
    /// Who comes.
    pub entering: Vec<Entrant>,
    /// Who gets no new connections from here on.
    pub leaving: Vec<ProcessId>,
    /// Who has ended.
    pub gone: Vec<ProcessId>,
}

/// A process that becomes an instance.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// As an instance.
    pub spec: InstanceSpec,
    /// As a process.
    pub process: ProcessId,
    /// Its number among the workers of a cluster.
    pub worker: Option<u32>,
}

pub(super) fn enter(entry: Entry, wanted: &mut Wanted) -> Result<String, ChangeError> {
    let Entry { mut service, entering, leaving, gone } = entry;
    let name = service.definition.name.clone();
    let mut stay = Vec::new();
    if let Some(old) = wanted.services.get_mut(&name) {
        if let Some(other) = old.instances.iter().find(|instance| instance.process.is_none()) {
            return Err(by_hand(&name, other));
        }
        // A port that comes back is another instance's.
        old.instances.retain(|instance| !is_one_of(instance, &gone));
        stay = old.instances.iter().map(|instance| remain(instance, &leaving)).collect();
    }
    let comes = entering.iter().map(|entrant| Member::from(entrant.spec.clone()));
    service.definition.instances = stay.into_iter().chain(comes).collect();
    put(service, wanted)?;
    for Entrant { spec, process, worker } in &entering {
        let instance = find(wanted, &name, &spec.name)?;
        (instance.process, instance.worker) = (Some(*process), *worker);
        wanted.claims.remove(&spec.port);
    }
    validate(wanted, &name)?;
    Ok(format!("{name} has {}", join(entering.iter().map(|entrant| &entrant.spec))))
}

/// An instance is in the way that nobody here started.
pub fn by_hand(name: &Name, other: &Instance) -> ChangeError {
    let what = format!(
        "service `{name}` is attached with instance `{}`, which neither `wocut run` nor `wocut cluster` started",
        other.spec.name
    );
    ChangeError::Conflict { what, forceable: false }
}

/// Processes are ended by who started them: without their service nobody would know of them.
pub(super) fn expect_none(wanted: &Wanted, name: &Name) -> Result<(), ChangeError> {
    if !wanted.services.get(name).is_some_and(Service::is_of_processes) {
        return Ok(());
    }
    let what = format!(
        "service `{name}` has instances that wocut started: `wocut run --release {name}` or `wocut cluster stop {name}` ends them"
    );
    Err(ChangeError::Conflict { what, forceable: false })
}

fn remain(instance: &Instance, leaving: &[ProcessId]) -> Member {
    let leaves = is_one_of(instance, leaving) && instance.admin == Admin::Ready;
    Member { admin: Some(if leaves { Admin::Drain } else { instance.admin }), ..instance.into() }
}

/// They get no new connections. Those that are gone meanwhile are passed over.
pub(super) fn retire(name: &Name, leaving: &[ProcessId], wanted: &mut Wanted) -> String {
    let mut retired = Vec::new();
    let instances = wanted.services.get_mut(name).into_iter().flat_map(|service| &mut service.instances);
    for instance in instances.filter(|instance| is_one_of(instance, leaving)) {
        if instance.admin == Admin::Ready {
            instance.admin = Admin::Drain;
            retired.push(format!("{name}/{}", instance.spec.name));
        }
    }
    if retired.is_empty() { "nothing to drain".into() } else { format!("drained {}", join(retired)) }
}

/// They are instances no more, and the service goes with its last one. Those that are gone are passed over.
pub(super) fn exit(name: &Name, gone: &[ProcessId], wanted: &mut Wanted) -> String {
    let Some(service) = wanted.services.get_mut(name) else { return format!("{name} is gone already") };
    let before = service.instances.len();
    service.instances.retain(|instance| !is_one_of(instance, gone));
    let (left, removed) = (service.instances.len(), before - service.instances.len());
    if left == 0 && removed > 0 {
        wanted.services.remove(name);
        return format!("detached {name}");
    }
    format!("removed {removed} of {before} from {name}")
}

fn is_one_of(instance: &Instance, processes: &[ProcessId]) -> bool {
    instance.process.is_some_and(|process| processes.contains(&process))
}

#[cfg(test)]
mod tests {
    use super::{Entrant, Entry};
    use crate::{
        model::{Admin, Definition, EngineChoice, Name, Options, ProcessId, Wanted},
        plan::{Change, ChangeError},
    };

    fn process(pid: u32) -> ProcessId {
        ProcessId { pid, started: 7 }
    }

    fn entry(port: u32, leaving: &[u32], gone: &[u32]) -> Change {
        let definition = Definition {
            name: "web".parse().unwrap(),
            listen: vec!["80/tcp".parse().unwrap()],
            instances: Vec::new(),
            options: Options::default(),
            engine: EngineChoice::Auto,
            description: None,
            check: None,
        };
        let spec = port.to_string().parse().unwrap();
        let entering = vec![Entrant { spec, process: process(port), worker: None }];
        let processes = |pids: &[u32]| pids.iter().copied().map(process).collect();
        let (leaving, gone) = (processes(leaving), processes(gone));
        Change::Enter(Entry { service: definition.into(), entering, leaving, gone }.into())
    }

    fn states(wanted: &Wanted) -> Vec<(u16, Admin)> {
        let instances = wanted.services.values().flat_map(|service| &service.instances);
        instances.map(|instance| (instance.spec.port, instance.admin)).collect()
    }

    #[test]
    fn next_generation_comes_in_the_step_in_which_the_last_one_leaves() {
        let mut wanted = Wanted::empty(None);
        entry(40400, &[], &[]).apply(&mut wanted).unwrap();
        entry(40401, &[40400], &[]).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted), [(40400, Admin::Drain), (40401, Admin::Ready)]);
        let web = || -> Name { "web".parse().unwrap() };
        Change::Exit(web(), vec![process(40400)]).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted), [(40401, Admin::Ready)]);
        Change::Retire(web(), vec![process(40401)]).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted), [(40401, Admin::Drain)]);
        Change::Exit(web(), vec![process(40401)]).apply(&mut wanted).unwrap();
        assert!(wanted.services.is_empty());
    }

    #[test]
    fn process_stays_one_on_another_engine() {
        let mut wanted = Wanted::empty(None);
        entry(40400, &[], &[]).apply(&mut wanted).unwrap();
        let Change::Enter(mut moved) = entry(40401, &[40400], &[]) else { unreachable!() };
        moved.service.engine = crate::model::EngineKind::Iptables;
        Change::Enter(moved).apply(&mut wanted).unwrap();
        let web: Name = "web".parse().unwrap();
        assert!(wanted.services[&web].instances.iter().all(|instance| instance.process.is_some()));
        assert!(matches!(Change::Detach(web.clone()).apply(&mut wanted), Err(ChangeError::Conflict { .. })));
        Change::Exit(web, vec![process(40400)]).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted), [(40401, Admin::Ready)]);
    }

    #[test]
    fn port_that_comes_back_is_another_instances() {
        let mut wanted = Wanted::empty(None);
        entry(40400, &[], &[]).apply(&mut wanted).unwrap();
        entry(40401, &[40400], &[]).apply(&mut wanted).unwrap();
        let id = |wanted: &Wanted| wanted.services.values().next().unwrap().instances.last().unwrap().id;
        let before = id(&wanted);
        let Change::Enter(mut again) = entry(40400, &[40401], &[40400]) else { unreachable!() };
        again.entering[0].process = process(9);
        Change::Enter(again).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted), [(40401, Admin::Drain), (40400, Admin::Ready)]);
        assert!(id(&wanted) > before);
        // The end of the one that had the port before is not this one's.
        Change::Exit("web".parse().unwrap(), vec![process(40400)]).apply(&mut wanted).unwrap();
        assert_eq!(states(&wanted).len(), 2);
    }

    #[test]
    fn files_neither_take_its_instances_nor_prune_it() {
        let mut wanted = Wanted::empty(None);
        entry(40400, &[], &[]).apply(&mut wanted).unwrap();
        let before = wanted.clone();
        let web: Name = "web".parse().unwrap();
        let mut same = Definition::of(&web, &wanted.services[&web]);
        let apply = |services: Vec<Definition>, wanted: &mut Wanted| {
            let services = services.into_iter().map(Into::into).collect();
            Change::Apply { services, prune: true }.apply(wanted)
        };
        apply(Vec::new(), &mut wanted).unwrap();
        apply(vec![same.clone()], &mut wanted).unwrap();
        assert_eq!(wanted, before);
        same.instances.clear();
        let refused = apply(vec![same], &mut wanted);
        assert!(matches!(refused, Err(ChangeError::Conflict { .. })), "{refused:?}");
        // They are not there after a boot.
        assert_eq!(crate::config::export(&before), "");
    }

    #[test]
    fn service_that_was_attached_by_hand_is_left_alone() {
        let mut wanted = Wanted::empty(None);
        entry(40400, &[], &[]).apply(&mut wanted).unwrap();
        Change::Add("web".parse().unwrap(), vec!["8001".parse().unwrap()]).apply(&mut wanted).unwrap();
        let refused = entry(40401, &[40400], &[]).apply(&mut wanted.clone());
        assert!(matches!(refused, Err(ChangeError::Conflict { .. })), "{refused:?}");
    }
}
