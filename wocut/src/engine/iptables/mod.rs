//! The engine for kernels that will not run the eBPF one: rules in the mangle and nat tables.
//!
//! A new connection to a service is marked in mangle, as the policy says, and translated in nat by its mark; conntrack
//! then keeps it where it is, whatever becomes of the rules. Everything is in chains named `WOCUT` and `WOCUT-…`.
//! PREROUTING and OUTPUT have one jump each to them, and so has INPUT where something is refused or dropped. Rules of
//! others are neither touched nor counted.
//!
//! In reading order: `rules` makes rule text, `pick` that of a pick (by `random`, `turns` or `sticky`, a file a policy),
//! `guard` and `vacant` that of INPUT: who is refused, and who is dropped to try again because an instance has died.
//! `save` reads what is there, `diff` makes the one out of the other, `exec` runs the tools. Of connections, `release` sees
//! to UDP flows of instances that are gone, `connections` to the open ones of one service, and `linger` to all of them
//! when the last rule goes. Both flavours of iptables will do, whichever is in PATH.

mod chain;
mod connections;
mod conntrack;
mod diff;
mod exec;
mod family;
mod guard;
mod linger;
mod mark;
mod observe;
mod pick;
mod place;
mod probe;
mod random;
mod release;
mod rule;
mod rules;
mod save;
mod sticky;
#[cfg(test)]
mod tests;
mod turns;
mod vacant;

use anyhow::{Context as _, bail};
pub(crate) use chain::is_own;
use diff::Input;
pub use exec::ToolError;
use family::Family;
pub(crate) use mark::MASK;
pub use probe::{Extension, extensions};
use release::Release;
pub(crate) use rule::words;
use rules::{Doors, Entry};
use save::Saved;

use super::{Engine, ObservedService};
use crate::{
    model::{Name, Policy, Service},
    sys::netlink,
};

/// The engine. It holds nothing: the kernel does.
#[derive(Debug, Default)]
pub struct Iptables;

/// What is to be done to one family's tables, and what they hold.
struct Step {
    family: Family,
    saved: Saved,
    input: Input,
    release: Release,
    /// Nothing stays.
    is_last: bool,
}

impl Step {
    fn new(family: Family, saved: Saved, services: &[(&Name, &Service)]) -> anyhow::Result<Self> {
        check(family, &saved, services)?;
        let input = input(family, &saved, services)?;
        let release = Release::new(family, &saved, services);
        let is_last = guards(family, services).is_empty()
            && !services.iter().any(|(_, service)| family.listens(service).next().is_some());
        Ok(Self { family, saved, input, release, is_last })
    }

    fn is_nothing(&self) -> bool {
        self.input == Input::default()
    }

    /// Returns warnings.
    fn run(&self) -> Result<Vec<String>, ToolError> {
        let Input { first, last } = &self.input;
        if !self.is_last && self.release.is_empty() {
            exec::restore(self.family, &[first.as_str(), last].concat())?;
            return Ok(Vec::new());
        }
        if !first.is_empty() {
            exec::restore(self.family, first)?;
        }
        let warnings = self.between();
        if !last.is_empty() {
            exec::restore(self.family, last)?;
        }
        Ok(warnings)
    }

    /// When no pick leads any more to what goes.
    fn between(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_last && !self.input.last.is_empty() {
            let cut = linger::wait(self.family, &self.saved);
            linger::forget(self.family, &self.saved);
            if cut > 0 {
                warnings.push(format!(
                    "{cut} {} connections were open when the last rule went; the kernel keeps them only if other \
                     rules use conntrack",
                    self.family
                ));
            }
        }
        if !self.release.is_empty()
            && let Err(error) = self.release.run(self.family)
        {
            warnings.push(format!(
                "{} UDP flows stay on instances that are gone until they are idle: cannot use conntrack: {error}",
                self.family
            ));
        }
        warnings
    }
}

impl Iptables {
    /// Makes the engine; nothing is tried yet.
    pub fn new() -> Self {
        Self
    }

    /// Tries whether this host can run the engine, and says what is missing. Nothing is changed.
    ///
    /// IPv4 is what counts: without IPv6, the engine serves IPv4 and says so.
    pub fn probe() -> anyhow::Result<()> {
        Ok(probe::family(Family::V4)?)
    }

    /// Does what takes `CAP_SYS_MODULE`, for who gives that up and may need the engine later.
    pub fn load_modules() -> std::io::Result<()> {
        exec::load_modules()
    }

    /// What of a service this engine cannot do, if anything: it does the rest under `--allow-degraded`.
    pub fn falls_short(service: &Service) -> Option<String> {
        let policy = service.options.policy;
        let unknown = match policy {
            Policy::Random | Policy::RoundRobin | Policy::Sticky => return None,
            Policy::LeastConn => "how many connections are open",
            Policy::LeastBacklog => "how long an accept queue is",
        };
        Some(format!("no rule knows {unknown}: instead of `{policy}` it picks at random"))
    }

    /// Why IPv6 cannot be served, if so.
    pub fn ipv6_lacks() -> Option<String> {
        probe::family(Family::V6).err().map(|error| error.to_string())
    }

    fn steps(services: &[(&Name, &Service)]) -> anyhow::Result<(Vec<Step>, Vec<String>)> {
        let (mut steps, mut warnings) = (Vec::new(), Vec::new());
        for (family, saved) in save_all() {
            match saved {
                Ok(saved) => steps.push(Step::new(family, saved, services)?),
                Err(error) => warnings.extend(do_without(family, services, error)?),
            }
        }
        steps.retain(|step| !step.is_nothing());
        Ok((steps, warnings))
    }
}

/// A host without IPv6 tables still serves IPv4, with a warning. Without tools there is nothing to take away.
fn do_without(
    family: Family,
    services: &[(&Name, &Service)],
    error: ToolError,
) -> anyhow::Result<Option<String>> {
    if services.is_empty() && matches!(error, ToolError::Absent { .. }) {
        return Ok(None);
    }
    let needed = services.iter().any(|(_, service)| family.is_named_by(service));
    if family == Family::V4 || needed || matches!(error, ToolError::NotPermitted { .. }) {
        return Err(error).with_context(|| format!("balance {family} connections with iptables"));
    }
    let wanted = services.iter().any(|(_, service)| family.listens(service).next().is_some());
    Ok(wanted.then(|| format!("{family} connections are not balanced: {error}")))
}

impl Engine for Iptables {
    fn apply(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        let (steps, mut warnings) = Self::steps(services)?;
        for (step, result) in in_parallel(&steps, Step::run) {
            match result {
                Ok(said) => warnings.extend(said),
                Err(error) if step.family == Family::V6 && probe::family(Family::V6).is_err() => {
                    warnings.extend(do_without(step.family, services, error)?);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("change the {} rules of wocut", step.family));
                }
            }
        }
        Ok(warnings)
    }

    fn dry_run(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        let (steps, _warnings) = Self::steps(services)?;
        let lines = |step: &Step| {
            let tool = step.family.restore();
            let Input { first, last } = &step.input;
            first.lines().chain(last.lines()).map(|line| format!("{tool}: {line}")).collect::<Vec<_>>()
        };
        Ok(steps.iter().flat_map(lines).collect())
    }

    fn drift(&mut self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
        let (steps, _warnings) = Self::steps(services)?;
        let lines = |step: &Step| {
            let Input { first, last } = &step.input;
            let rules = first.lines().chain(last.lines()).filter(|line| line.starts_with('-')).count();
            format!("{}: {rules} rules are not as wanted", step.family.restore())
        };
        Ok(steps.iter().map(lines).collect())
    }

    fn observe(&self, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<ObservedService>> {
        let mut all = Vec::new();
        for (family, saved) in save_all() {
            match saved {
                Ok(saved) => all.push(saved),
                Err(error) if family == Family::V4 => {
                    return Err(error).context("read the counters of the iptables rules");
                }
                // Without IPv6 there are no connections to count.
                Err(_) => {}
            }
        }
        Ok(services.iter().map(|(name, service)| observe::service(&all, name, service)).collect())
    }

    fn open(&self, service: &Service, others: &[&Service]) -> anyhow::Result<usize> {
        connections::count(service, others)
    }

    fn kill(&self, service: &Service, others: &[&Service]) -> anyhow::Result<usize> {
        connections::kill(service, others)
    }
}

/// The restore input that makes one family's tables carry the services; empty if they do.
fn input(family: Family, saved: &Saved, services: &[(&Name, &Service)]) -> anyhow::Result<Input> {
    let served = services.iter().filter(|(_, service)| family.listens(service).next().is_some());
    let entries: Vec<Entry<'_>> = served
        .map(|&(name, service)| {
            let instances: Vec<_> =
                service.instances.iter().filter(|instance| family.reaches(instance)).collect();
            Entry { name, service, marks: mark::assign(&instances, &observe::marks(saved, name)) }
        })
        .collect();
    let all: Vec<&Service> = services.iter().map(|(_, service)| *service).collect();
    let doors = Doors { vacant: vacant::chain(family, saved, &all)?, guard: guards(family, services) };
    Ok(diff::input(family, saved, &entries, &doors))
}

/// What refuses at the instances' own ports: a daemon may listen for a family that its service does not.
fn guards(family: Family, services: &[(&Name, &Service)]) -> Vec<String> {
    guard::rules(family, services.iter().map(|(_, service)| *service))
}

/// Refuses an instance that has no rule yet and that none could lead to. One that has is let be, so that a change of
/// the host does not bar every other change.
fn check(family: Family, saved: &Saved, services: &[(&Name, &Service)]) -> anyhow::Result<()> {
    for &(name, service) in services.iter().filter(|(_, service)| family.listens(service).next().is_some()) {
        let held = observe::marks(saved, name);
        let new = service.instances.iter().filter(|instance| !held.contains_key(&instance.id));
        for instance in new.filter(|instance| family.reaches(instance)) {
            if let Some(why) = place::refusal(family, service, instance) {
                bail!("service {name}: the iptables engine cannot serve instance {}: {why}", instance.spec);
            }
        }
    }
    Ok(())
}

fn save_all() -> Vec<(Family, Result<Saved, ToolError>)> {
    in_parallel(&Family::ALL, |family| exec::save(*family))
        .into_iter()
        .map(|(family, saved)| (*family, saved))
        .collect()
}

/// Runs both families' tools at once. A thread is in the network namespace of the one that started it.
fn in_parallel<'a, T: Sync, R: Send>(items: &'a [T], run: impl Fn(&T) -> R + Sync) -> Vec<(&'a T, R)> {
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = items.iter().map(|item| (item, scope.spawn(move || run(item)))).collect();
        let join = |(item, thread): (&'a T, std::thread::ScopedJoinHandle<'_, R>)| match thread.join() {
            Ok(result) => (item, result),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}
