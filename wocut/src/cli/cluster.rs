//! `wocut cluster NAME --listen LISTEN... -n N -- COMMAND...`, and `wocut cluster reload|status|scale|stop NAME`.

use std::{
    ffi::OsString,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{
    Context,
    duration::{duration, period},
    printer::{Align, Printer, Style, Table, complain},
    run::Deploy,
};
use crate::{
    cluster::{
        control::{self, Answer, Request, Status},
        master::{self, Cluster, Outfit},
        output::Output,
        pin::Cpus,
        place::Place,
        rules::{RetireRate, Rules},
        size::{Percents, Size},
    },
    model::Name,
};

/// Keep N workers of one command on a service
///
/// Each worker is COMMAND on a port of its own, as with `wocut run`, with its index from 0 to N-1 as `WOCUT_WORKER`.
/// One that ends is started again. SIGHUP replaces all workers one after the other, SIGUSR1 kills those that are
/// retired. Workers outlive a master that is killed: the next one finds them and replaces them.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "wocut cluster [OPTIONS] NAME --listen LISTEN... -n N -- COMMAND...\n       \
                      wocut cluster reload|status|stop NAME\n       \
                      wocut cluster scale N NAME",
    after_long_help = "Examples:
  wocut cluster web --listen 80/tcp -n 8 --pin -- node server.js
  wocut cluster web --listen 443/tcp -n 4 --policy sticky --memory 512M --watchdog 10s -- server --port {port}
  wocut cluster reload web
  wocut cluster scale 16 web"
)]
pub(super) struct ClusterCommand {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    keep: Keep,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Replace all workers, one after the other
    #[command(after_long_help = "Examples:\n  wocut cluster reload web")]
    Reload {
        /// Name of the cluster
        name: Name,
    },
    /// Show the workers
    #[command(after_long_help = "Examples:\n  wocut cluster status web\n  wocut cluster status web --json")]
    Status {
        /// Name of the cluster
        name: Name,
    },
    /// Have so many workers
    #[command(after_long_help = "Examples:\n  wocut cluster scale 16 web")]
    Scale {
        /// How many
        #[arg(value_name = "N", value_parser = workers)]
        workers: NonZeroU32,
        /// Name of the cluster
        name: Name,
    },
    /// End all workers and their master
    #[command(after_long_help = "Examples:\n  wocut cluster stop web")]
    Stop {
        /// Name of the cluster
        name: Name,
    },
}

#[derive(Args, Debug)]
struct Keep {
    /// Name of the service
    #[arg(required = true)]
    name: Option<Name>,
    #[command(flatten)]
    deploy: Deploy,
    /// How many workers
    #[arg(short = 'n', long, value_name = "N", required = true, value_parser = workers)]
    workers: Option<NonZeroU32>,
    /// How many a reload replaces at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    at_once: NonZeroUsize,
    /// A worker that uses more is retired: `512M`
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// What all workers together may use: `4G`
    #[arg(long, value_name = "SIZE")]
    total_memory: Option<Size>,
    /// Over the second mark, in percent of that, workers are retired until under the first
    #[arg(long, value_name = "LOW,HIGH", default_value_t, requires = "total_memory")]
    total_marks: Percents,
    /// How nice retired workers are
    #[arg(long, value_name = "NICE", default_value = "10", value_parser = clap::value_parser!(i32).range(-20..=19),
          allow_negative_numbers = true)]
    retire_nice: i32,
    /// How long the last connections of a retired worker may take to end
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1m")]
    retire_timeout: Duration,
    /// How many workers are retired for what they do, at most
    #[arg(long, value_name = "N/DURATION", default_value_t)]
    retire_rate: RetireRate,
    /// An index is given up after so many failures in a row
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..))]
    give_up: u32,
    /// Retire a worker that does not say `WATCHDOG=1` this often, as with `sd_notify(3)`
    #[arg(long, value_name = "DURATION", value_parser = period)]
    watchdog: Option<Duration>,
    /// Give each worker a CPU
    #[arg(long)]
    pin: bool,
    /// Where the output of workers goes
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    output: Output,
    /// Take the workers over from the master that there is
    #[arg(long)]
    replace: bool,
    /// Go on in spite of conflicts
    #[arg(short, long)]
    force: bool,
    /// What to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl ClusterCommand {
    pub(super) fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        match self.verb {
            Some(verb) => verb.run(&context),
            None => self.keep.run(context),
        }
    }
}

impl Keep {
    fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        self.deploy.has_listen()?;
        // They are required, but for a verb.
        let name = self.name.context("a cluster has a name")?;
        let workers = self.workers.context("a cluster has workers")?;
        let quiet = context.global.quiet;
        let (pool, launch, kill_after) = self.deploy.parts(context, name, self.command, self.force);
        let rules = Rules {
            at_once: self.at_once,
            memory: self.memory.map(Size::bytes),
            total: self.total_memory.map(|total| self.total_marks.of(total)),
            retire_rate: self.retire_rate,
            retire_timeout: self.retire_timeout,
            kill_after,
            give_up: self.give_up,
            ..Rules::default()
        };
        let cpus = self.pin.then(Cpus::allowed).transpose().context("find the CPUs of this process")?;
        let outfit =
            Outfit { output: self.output, cpus, watchdog: self.watchdog, retire_nice: self.retire_nice };
        let say = if quiet { |_: &str| {} } else { complain };
        master::run(Cluster { pool, launch, outfit, workers, rules, replace: self.replace, say })
    }
}

impl Verb {
    fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let (name, request) = match self {
            Self::Reload { name } => (name, Request::Reload),
            Self::Status { name } => (name, Request::Status),
            Self::Scale { workers, name } => (name, Request::Scale { workers }),
            Self::Stop { name } => (name, Request::Stop),
        };
        let printer = context.printer;
        let place = Place::new(context.host.netns().inode, name);
        let each = |answer| {
            if let Answer::News(news) = answer {
                printer.note(&news);
            }
            Ok(())
        };
        match control::ask(&place, &request, each)? {
            Answer::Status(status) => show(printer, &status),
            Answer::Done(line) => done(printer, &line),
            Answer::News(_) | Answer::Error(_) => Ok(()),
        }
    }
}

fn workers(text: &str) -> Result<NonZeroU32, String> {
    let few = |number: &NonZeroU32| usize::try_from(number.get()).is_ok_and(|number| number <= master::MOST);
    let number = text.parse().ok().filter(few);
    number.ok_or_else(|| format!("it is a number from 1 to {}", master::MOST))
}

pub(super) fn done(printer: &Printer, line: &str) -> anyhow::Result<()> {
    if printer.json() {
        return printer.object(&serde_json::json!({ "schema": 1, "change": line }));
    }
    printer.said(line)
}

pub(super) fn show(printer: &Printer, status: &Status) -> anyhow::Result<()> {
    if printer.json() {
        let mut object = serde_json::to_value(status).context("print JSON")?;
        object["schema"] = 1.into();
        return printer.object(&object);
    }
    let columns = [
        ("WORKER", Align::Right),
        ("STATE", Align::Left),
        ("PORT", Align::Right),
        ("PID", Align::Right),
        ("GENERATION", Align::Right),
        ("MEMORY", Align::Right),
        ("STATUS", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for worker in &status.workers {
        let style = match worker.state.as_str() {
            _ if worker.cause.is_some() => Style::Bad,
            "serving" => Style::Plain,
            _ => Style::Off,
        };
        table.styled_row(
            style,
            [
                worker.index.to_string(),
                worker.state.clone(),
                worker.port.to_string(),
                worker.pid.to_string(),
                worker.generation.to_string(),
                Size::of(worker.memory).map_or_else(|| "-".into(), |size| size.to_string()),
                worker.status.clone().unwrap_or_default(),
            ],
        );
    }
    printer.table(&table)
}
