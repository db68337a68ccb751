//! `wocut apply FILE... [--prune]`

use std::path::PathBuf;

use clap::Args;

use super::{Context, DryRun};
use crate::{
    config::{Config, Problem},
    conflicts,
    engine::{ebpf::Ebpf, iptables::Iptables},
    error::Usage,
    host::{Host, Proposal},
    model::{Definition, EngineChoice, EngineKind, Service, Wanted},
    plan::{Assigned, Change},
};

/// Make what files say wanted: all of it, or nothing where one of them makes no sense
///
/// FILE is TOML, or NAME.wocut of the original wocut, or a directory of such files, or `-` for standard input.
#[derive(Args, Debug)]
pub(super) struct Apply {
    /// Files, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Detach services that are in none of the files
    #[arg(long)]
    prune: bool,
    /// Go on where something else is in the way
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Apply {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { files, prune, force, dry_run } = self;
        let Config { services, warnings, .. } = Config::read(&files).sound()?;
        if prune && services.is_empty() {
            let what = "no service is in the files: `wocut detach --all` detaches everything";
            return Err(Usage(what.into()).into());
        }
        let verbose = context.global.verbose > 0;
        let mut done = context.host.change(dry_run.dry_run, verbose, |host, wanted| {
            // What cannot be on any engine is refused before one is tried.
            let draft = services.iter().cloned().map(|definition| stay(wanted, definition)).collect();
            Change::Apply { services: draft, prune }.apply(&mut wanted.clone())?;
            let mut engines = Engines { host, wanted, context, dry_run: dry_run.dry_run, found: Vec::new() };
            let services = services.into_iter().map(|definition| engines.assign(definition));
            let change = Change::Apply { services: services.collect::<anyhow::Result<_>>()?, prune };
            let mut after = wanted.clone();
            change.clone().apply(&mut after)?;
            let warnings = conflicts::check(host.netns(), wanted, &after, context.ask(force))?;
            Ok(Proposal { change, warnings })
        })?;
        done.warnings.splice(0..0, warnings.iter().map(Problem::brief));
        context.printer.change(&done, dry_run.dry_run)
    }
}

/// On the engine that it is on.
fn stay(wanted: &Wanted, definition: Definition) -> Assigned {
    let old = wanted.services.get(&definition.name).map(|old| old.engine);
    let usual = Assigned::from(definition);
    Assigned { engine: old.unwrap_or(usual.engine), ..usual }
}

/// Finds an engine for each service.
struct Engines<'a> {
    host: &'a Host,
    wanted: &'a Wanted,
    context: &'a Context<'a>,
    dry_run: bool,
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

impl Engines<'_> {
    fn assign(&mut self, definition: Definition) -> anyhow::Result<Assigned> {
        let choice = match self.context.global.engine {
            EngineChoice::Auto => definition.engine,
            // What the command line says goes before what a file says.
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
                .choose(choice, &draft, self.wanted, self.dry_run)
                .map_err(|error| error.context(format!("service `{}`", definition.name)))?,
        };
        if let Some(reason) = &engine_reason {
            self.context.printer.note(&format!("{}: engine {engine}: {reason}", definition.name));
        }
        self.found.push((needs, (engine, engine_reason.clone())));
        Ok(Assigned { definition, engine, engine_reason })
    }
}
