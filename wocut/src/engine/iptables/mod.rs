//! The engine for kernels that will not run the eBPF one: rules in the mangle and nat tables.
//!
//! A new connection to a service is marked in mangle, at random and by weight, and translated in nat by its mark;
//! conntrack then keeps it where it is, whatever becomes of the rules. Everything is in chains named `WOCUT` and
//! `WOCUT-…`, to which PREROUTING and OUTPUT have one jump each. Rules of others are neither touched nor counted.
//!
//! In reading order: `rules` and `pick` make rule text, `save` reads what is there, `diff` makes the one out of the
//! other, `exec` runs the tools, `linger` sees to open connections when the last rule goes,
//! `connections` to those of one service. Both flavours of iptables
//! will do, whichever is in PATH.

mod chain;
mod connections;
mod conntrack;
mod diff;
mod exec;
mod family;
mod linger;
mod mark;
mod observe;
mod pick;
mod place;
mod probe;
mod rule;
mod rules;
mod save;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, bail};
pub(crate) use chain::is_own;
pub use exec::ToolError;
use family::Family;
pub(crate) use mark::MASK;
pub use probe::{Extension, extensions};
pub(crate) use rule::words;
use rules::Entry;
use save::Saved;

use super::{Engine, ObservedService};
use crate::{
    model::{Name, Options, Policy, Service},
    sys::netlink,
};

/// The engine. It holds nothing: the kernel does.
#[derive(Debug, Default)]
pub struct Iptables;

/// What is to be done to one family's tables, and what they hold.
struct Step {
    family: Family,
    saved: Saved,
    input: Vec<String>,
    /// Nothing stays.
    is_last: bool,
}

impl Step {
    fn new(family: Family, saved: Saved, services: &[(&Name, &Service)]) -> anyhow::Result<Self> {
        check(family, &saved, services)?;
        let input = input(family, &saved, services);
        let is_last = !services.iter().any(|(_, service)| family.listens(service).next().is_some());
        Ok(Self { family, saved, input, is_last })
    }

    /// Returns how many open connections have lost their translation.
    fn run(&self) -> Result<usize, ToolError> {
        if !self.is_last {
            return exec::restore(self.family, &self.input.concat()).map(|()| 0);
        }
        let is_mangle = |section: &&String| section.starts_with("*mangle");
        let marks: String = self.input.iter().filter(is_mangle).map(String::as_str).collect();
        let rest: String =
            self.input.iter().filter(|section| !is_mangle(section)).map(String::as_str).collect();
        if !marks.is_empty() {
            exec::restore(self.family, &marks)?;
        }
        if rest.is_empty() {
            return Ok(0);
        }
        let cut = linger::wait(self.family, &self.saved);
        linger::forget(self.family, &self.saved);
        exec::restore(self.family, &rest).map(|()| cut)
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

    /// What of a service this engine cannot do, if anything: it does the rest under `--allow-degraded`.
    pub fn falls_short(service: &Service) -> Option<String> {
        let Options { policy, guard, .. } = service.options;
        if policy != Policy::Random {
            return Some(format!("rules cannot pick by `{policy}`"));
        }
        guard.then(|| "no guard".into())
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
        steps.retain(|step| !step.input.is_empty());
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
                Ok(0) => {}
                Ok(cut) => warnings.push(format!(
                    "{cut} {} connections were open when the last rule went; the kernel keeps them only if other \
                     rules use conntrack",
                    step.family
                )),
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
            step.input.concat().lines().map(|line| format!("{tool}: {line}")).collect::<Vec<_>>()
        };
        Ok(steps.iter().flat_map(lines).collect())
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

/// The restore input that makes one family's tables carry the services; none if they do.
fn input(family: Family, saved: &Saved, services: &[(&Name, &Service)]) -> Vec<String> {
    let served = services.iter().filter(|(_, service)| family.listens(service).next().is_some());
    let entries: Vec<Entry<'_>> = served
        .map(|&(name, service)| {
            let instances: Vec<_> =
                service.instances.iter().filter(|instance| family.reaches(instance)).collect();
            Entry { name, service, marks: mark::assign(&instances, &observe::marks(saved, name)) }
        })
        .collect();
    diff::input(family, saved, &entries)
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
