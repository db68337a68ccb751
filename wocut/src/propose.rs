//! From services as files and clients want them to one change: finds an engine for each, and looks for what is in the
//! way, before anything is changed.

use crate::{
    conflicts::{self, Ask},
    engine::{ebpf::Ebpf, iptables::Iptables},
    host::{Host, Proposal, put_on, service},
    model::{Definition, EngineChoice, EngineKind, Name, Service, Wanted},
    plan::{Assigned, Change, Entry},
    verb::NewService,
};

/// How definitions are made wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Goes before what a definition says of its engine, unless it is `auto`.
    pub engine: EngineChoice,
    /// Whether services go that are none of these.
    pub prune: bool,
    /// Whether nothing is to be left of a trial.
    pub dry_run: bool,
    /// How conflicts are looked for.
    pub ask: Ask,
}

/// The change that makes definitions wanted. `note` is told of each service that is not on eBPF, and why.
pub fn definitions(
    host: &Host,
    wanted: &Wanted,
    definitions: Vec<Definition>,
    terms: Terms,
    note: impl Fn(&str),
) -> anyhow::Result<Proposal> {
    let prune = terms.prune;
    // What cannot be on any engine is refused before one is tried.
    let draft = definitions.iter().cloned().map(|definition| stay(wanted, definition)).collect();
    Change::Apply { services: draft, prune }.apply(&mut wanted.clone())?;
    let mut engines = Engines { host, wanted, terms, note, found: Vec::new() };
    let services = definitions.into_iter().map(|definition| engines.assign(definition));
    let change = Change::Apply { services: services.collect::<anyhow::Result<_>>()?, prune };
    let mut after = wanted.clone();
    change.clone().apply(&mut after)?;
    let warnings = conflicts::check(host.netns(), wanted, &after, terms.ask)?;
    Ok(Proposal { change, warnings, notes: Vec::new() })
}

/// The change that attaches a service.
pub fn attach(
    host: &Host,
    wanted: &Wanted,
    new: &NewService,
    ask: Ask,
    dry_run: bool,
) -> anyhow::Result<Proposal> {
    let terms = Terms { engine: new.engine, prune: false, dry_run, ask };
    one(host, wanted, &new.name, terms, |engine, reason| new.on(engine, reason, ask.force))
}

/// The change by which processes come into their service, which is attached if it is not there.
pub fn entry(host: &Host, wanted: &Wanted, entry: &Entry, terms: Terms) -> anyhow::Result<Proposal> {
    one(host, wanted, &entry.service.definition.name, terms, |engine, engine_reason| {
        let definition = entry.service.definition.clone();
        let service = Assigned { definition, engine, engine_reason };
        Change::Enter(Entry { service, ..entry.clone() }.into())
    })
}

/// The change that makes one service what it is to be, on an engine that is found for it if it is new.
fn one(
    host: &Host,
    wanted: &Wanted,
    name: &Name,
    terms: Terms,
    on: impl Fn(EngineKind, Option<String>) -> Change,
) -> anyhow::Result<Proposal> {
    let Terms { engine: choice, dry_run, ask, .. } = terms;
    // Said twice, it stays on the engine that it is on.
    let old = wanted.services.get(name).filter(|old| choice.allows(old.engine));
    // What makes no sense on any engine, and what is in the way, is refused before one is tried.
    let mut draft = wanted.clone();
    on(old.map_or(EngineKind::Ebpf, |old| old.engine), None).apply(&mut draft)?;
    let first = match old {
        Some(old) => old.engine,
        None => Host::first_choice(choice, service(&draft, name)?),
    };
    put_on(&mut draft, name, first);
    let mut warnings = conflicts::check(host.netns(), wanted, &draft, ask)?;
    let (engine, engine_reason) = match old {
        Some(old) => (old.engine, old.engine_reason.clone()),
        None => host.choose(choice, service(&draft, name)?, wanted, dry_run)?,
    };
    if engine != first {
        // Others are in the way of this one.
        put_on(&mut draft, name, engine);
        warnings = conflicts::check(host.netns(), wanted, &draft, ask)?;
    }
    let notes = engine_reason.iter().map(|reason| format!("engine {engine}: {reason}")).collect();
    Ok(Proposal { change: on(engine, engine_reason), warnings, notes })
}

/// On the engine that it is on.
fn stay(wanted: &Wanted, definition: Definition) -> Assigned {
    let old = wanted.services.get(&definition.name).map(|old| old.engine);
    let usual = Assigned::from(definition);
    Assigned { engine: old.unwrap_or(usual.engine), ..usual }
}

/// Finds an engine for each service.
struct Engines<'a, N> {
    host: &'a Host,
    wanted: &'a Wanted,
    terms: Terms,
    note: N,
    /// What was found for others. A host is tried once for all services that ask the same of it.
    found: Vec<(Needs, (EngineKind, Option<String>))>,
}

/// All that a service's engine depends on, beside the host.
#[derive(PartialEq)]
struct Needs {
    choice: EngineChoice,
    not_on_ebpf: Option<String>,
    short_on_iptables: Option<String>,
    allow_degraded: bool,
}

impl Needs {
    fn of(choice: EngineChoice, service: &Service) -> Self {
        Self {
            choice,
            not_on_ebpf: Ebpf::cannot_serve(service),
            short_on_iptables: Iptables::falls_short(service),
            allow_degraded: service.options.allow_degraded,
        }
    }

    /// Whether a service like that may stay on an engine.
    fn allow(&self, engine: EngineKind) -> bool {
        self.choice.allows(engine)
            && match engine {
                EngineKind::Ebpf => self.not_on_ebpf.is_none(),
                EngineKind::Iptables => self.short_on_iptables.is_none() || self.allow_degraded,
            }
    }
}

impl<N: Fn(&str)> Engines<'_, N> {
    fn assign(&mut self, definition: Definition) -> anyhow::Result<Assigned> {
        let choice = match self.terms.engine {
            EngineChoice::Auto => definition.engine,
            only @ EngineChoice::Only(_) => only,
        };
        let Assigned { definition, engine, .. } = definition.into();
        let draft = definition.draft(engine);
        let needs = Needs::of(choice, &draft);
        if let Some(old) = self.wanted.services.get(&definition.name).filter(|old| needs.allow(old.engine)) {
            return Ok(Assigned { definition, engine: old.engine, engine_reason: old.engine_reason.clone() });
        }
        let known = self.found.iter().find(|(others, _)| *others == needs).map(|(_, found)| found.clone());
        let (engine, engine_reason) = match known {
            Some(found) => found,
            None => self
                .host
                .choose(choice, &draft, self.wanted, self.terms.dry_run)
                .map_err(|error| error.context(format!("service `{}`", definition.name)))?,
        };
        if let Some(reason) = &engine_reason {
            (self.note)(&format!("{}: engine {engine}: {reason}", definition.name));
        }
        self.found.push((needs, (engine, engine_reason.clone())));
        Ok(Assigned { definition, engine, engine_reason })
    }
}
