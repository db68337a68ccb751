//! `wocut attach NAME LISTEN... to INSTANCE...`

use clap::Args;

use super::{Context, DryRun};
use crate::{
    error::Usage,
    model::{HookChoice, InstanceSpec, Listen, Name, OnEmpty, Options, Policy, StickyPrefix},
    verb::{NewService, Verb},
};

/// Put a service on a port and hand its new connections to instances
///
/// LISTEN is [ADDR:]PORT/tcp|udp, INSTANCE is [NAME=][ADDR:]PORT[*WEIGHT].
#[derive(Args, Debug)]
#[command(override_usage = "wocut attach [OPTIONS] NAME LISTEN... to INSTANCE...")]
#[command(after_long_help = "Examples:
  wocut attach web 80/tcp to 8001 8002*3 canary=127.0.0.1:8003
  wocut attach dns 53/udp 53/tcp to 5301 5302 --policy sticky
  wocut attach web 80/tcp to 8001 8002 --guard --dry-run")]
pub(super) struct Attach {
    /// Name of the service
    name: Name,
    /// Where it takes connections, the word `to`, and who serves them
    #[arg(required = true, value_name = "LISTEN... to INSTANCE")]
    words: Vec<String>,
    #[command(flatten)]
    options: Flags,
    /// Take the place of a different service of that name, and go on in spite of conflicts
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

/// How a service works.
#[derive(Args, Debug)]
pub(super) struct Flags {
    /// How an instance is picked: `random`, `round-robin`, `least-conn`, `least-backlog` or `sticky`
    #[arg(long, default_value_t)]
    policy: Policy,
    /// How many leading bits of an address make one client for `sticky`: of IPv4, and after a comma of IPv6
    #[arg(long, default_value_t, value_name = "N")]
    sticky_prefix: StickyPrefix,
    /// When nobody can serve: `pass` to whatever listens on the service port itself, `drop` or `reject`
    #[arg(long, default_value_t, value_name = "WHAT")]
    on_empty: OnEmpty,
    /// Refuse remote clients of the instances' own ports
    #[arg(long)]
    guard: bool,
    /// Which eBPF hook picks for TCP: `auto`, `sk_lookup` or `tc`
    #[arg(long, default_value_t)]
    hook: HookChoice,
    /// Let an engine that cannot do all this do less
    #[arg(long)]
    allow_degraded: bool,
}

impl From<Flags> for Options {
    fn from(flags: Flags) -> Self {
        let Flags { policy, sticky_prefix, on_empty, guard, hook, allow_degraded } = flags;
        Self { policy, sticky_prefix, on_empty, guard, hook, allow_degraded, slow_start: None }
    }
}

impl Attach {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, words, options, force, dry_run } = self;
        let (listen, instances) = parse(&words)?;
        let (options, engine) = (options.into(), context.global.engine);
        context.change(Verb::Attach(NewService { name, listen, instances, options, engine }), force, &dry_run)
    }
}

fn parse(words: &[String]) -> anyhow::Result<(Vec<Listen>, Vec<InstanceSpec>)> {
    let Some(to) = words.iter().position(|word| word == "to") else {
        let example = "`wocut attach web 80/tcp to 8001 8002`";
        return Err(
            Usage(format!("the word `to` stands between LISTEN and INSTANCE, as in {example}")).into()
        );
    };
    let listen = words[..to].iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    let instances = words[to + 1..].iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    Ok((listen, instances))
}
