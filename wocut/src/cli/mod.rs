//! The command line: global flags and the list of commands. One file a command.
//!
//! Nouns read, verbs write. A verb can be said twice; only `detach` and `remove` miss what is gone.

mod admin;
mod apply;
mod attach;
mod bugreport;
mod check;
mod cluster;
mod completions;
mod detach;
mod doctor;
mod duration;
mod explain;
mod export;
mod leave;
mod list;
mod man;
mod members;
mod printer;
mod relay;
mod remote;
mod run;
mod serve;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod top;
mod trace;
mod upgrade;
mod weight;

use std::{env, process::ExitCode};

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{
    printer::{Color, Printer},
    remote::Remote,
};
use crate::{
    conflicts::Ask,
    departure::{Departure, Leaving, Seen},
    error::{Ended, exit_code},
    host::{Done, Host},
    model::{EngineChoice, Name, Wanted},
    status::Status,
    verb::{Order, Verb},
};

/// Hand every new connection on one service port to one of many local instances
#[derive(Debug, Parser)]
#[command(name = "wocut", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = "Examples:
  wocut attach web 80/tcp to 8001 8002 8003
  wocut status web
  wocut drain web 8001 --wait 30s
  wocut detach web")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Print JSON
    #[arg(short, long, global = true)]
    json: bool,
    /// What carries new services: `auto`, `ebpf` or `iptables`
    #[arg(long, global = true, value_name = "ENGINE", default_value_t)]
    engine: EngineChoice,
    /// Network namespace to work in: a name, a path or a process
    #[arg(long, global = true, value_name = "NAME|PATH|PID")]
    netns: Option<String>,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say what is done to the kernel
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Attach(attach::Attach),
    Detach(detach::Detach),
    Add(members::Add),
    Remove(members::Remove),
    Weight(weight::Weight),
    Drain(admin::Drain),
    Ready(admin::Ready),
    Maint(admin::Maint),
    List(list::List),
    Status(status::Status),
    Stats(stats::Stats),
    Top(top::Top),
    Explain(explain::Explain),
    Trace(trace::Trace),
    Doctor(doctor::Doctor),
    Bugreport(bugreport::Bugreport),
    Upgrade(upgrade::Upgrade),
    Check(check::Check),
    Apply(apply::Apply),
    Export(export::Export),
    Serve(Box<serve::Serve>),
    Run(Box<run::RunCommand>),
    Cluster(Box<cluster::ClusterCommand>),
    #[command(name = crate::cluster::output::RELAY, hide = true)]
    Relay(relay::Relay),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Reads the command line. Where it makes no sense, or asks for help, that is said and the process ends.
    pub fn read() -> Self {
        let color = Color::asked(env::args_os());
        let read = Self::command().color(color.into()).get_matches();
        Self::from_arg_matches(&read).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let Self { global, command } = self;
        let printer = Printer::new(global.json, global.quiet, global.color);
        let asks_daemon = global.netns.is_none() && command.is_daemons();
        let result = Host::enter(global.netns.as_deref()).and_then(|host| {
            let daemon = if asks_daemon { Remote::find(host.netns(), &printer) } else { None };
            dispatch(Context { host, daemon, printer: &printer, global: &global }, command)
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // A program that was run for somebody has told what went wrong itself.
                if !error.is::<Ended>() {
                    printer.error(&error);
                }
                ExitCode::from(exit_code(&error))
            }
        }
    }
}

impl Command {
    /// Whether a daemon can do it. To end connections is left to root.
    fn is_daemons(&self) -> bool {
        match self {
            Self::Drain(drain) => !drain.leave.kills(),
            Self::Remove(remove) => !remove.leave.kills(),
            Self::Detach(detach) => !detach.leave.kills(),
            Self::Attach(_)
            | Self::Add(_)
            | Self::Weight(_)
            | Self::Ready(_)
            | Self::Maint(_)
            | Self::List(_)
            | Self::Status(_)
            | Self::Stats(_)
            | Self::Top(_)
            | Self::Export(_) => true,
            Self::Explain(_)
            | Self::Trace(_)
            | Self::Doctor(_)
            | Self::Bugreport(_)
            | Self::Upgrade(_)
            | Self::Check(_)
            | Self::Apply(_)
            | Self::Serve(_)
            | Self::Run(_)
            | Self::Cluster(_)
            | Self::Relay(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

fn dispatch(context: Context<'_>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Attach(command) => command.run(&context),
        Command::Detach(command) => command.run(&context),
        Command::Add(command) => command.run(&context),
        Command::Remove(command) => command.run(&context),
        Command::Weight(command) => command.run(&context),
        Command::Drain(command) => command.run(&context),
        Command::Ready(command) => command.run(&context),
        Command::Maint(command) => command.run(&context),
        Command::List(command) => command.run(&context),
        Command::Status(command) => command.run(&context),
        Command::Stats(command) => command.run(&context),
        Command::Top(command) => command.run(&context),
        Command::Explain(command) => command.run(&context),
        Command::Trace(command) => command.run(&context),
        Command::Upgrade(command) => command.run(&context),
        Command::Doctor(command) => command.run(&context),
        Command::Bugreport(command) => command.run(&context),
        Command::Check(command) => command.run(&context),
        Command::Apply(command) => command.run(&context),
        Command::Export(command) => command.run(&context),
        Command::Serve(command) => command.run(context),
        Command::Run(command) => command.run(context),
        Command::Cluster(command) => command.run(context),
        Command::Relay(command) => command.run(),
        Command::Completions(command) => command.run(&context),
        Command::Man(command) => command.run(&context),
    }
}

/// What every command gets.
struct Context<'a> {
    host: Host,
    /// Asked in the place of the host.
    daemon: Option<Remote>,
    printer: &'a Printer,
    global: &'a Global,
}

/// The flag of every verb.
#[derive(Args, Debug)]
struct DryRun {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Context<'_> {
    /// How conflicts are looked for.
    fn ask(&self, force: bool) -> Ask {
        Ask { force, verbose: self.global.verbose > 0 }
    }

    /// Carries out a verb and says what it did.
    fn change(&self, verb: Verb, force: bool, dry_run: &DryRun) -> anyhow::Result<()> {
        let done = self.carry_out(self.order(verb, force, dry_run.dry_run))?;
        self.printer.change(&done, dry_run.dry_run)
    }

    fn order(&self, verb: Verb, force: bool, dry_run: bool) -> Order {
        Order { verb, force, dry_run, verbose: self.global.verbose > 0 }
    }

    fn carry_out(&self, order: Order) -> anyhow::Result<Done> {
        match &self.daemon {
            Some(daemon) => daemon.carry_out(&order),
            None => order.carry_out(&self.host),
        }
    }

    fn look(&self, departure: &Departure, leaving: &Leaving) -> anyhow::Result<Seen> {
        match &self.daemon {
            Some(daemon) => daemon.look(departure),
            None => departure.look(&self.host, leaving),
        }
    }

    fn wanted(&self) -> anyhow::Result<Wanted> {
        match &self.daemon {
            Some(daemon) => daemon.wanted(),
            None => self.host.wanted(),
        }
    }

    fn status(&self, only: Option<&Name>) -> anyhow::Result<Status> {
        match &self.daemon {
            Some(daemon) => daemon.status(only),
            None => Status::read(&self.host, only),
        }
    }
}
