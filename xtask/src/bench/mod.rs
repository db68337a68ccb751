//! `cargo xtask bench`: wocut beside everything else that could do its work, in one run.
//!
//! A suite measures its cases in turn, A B C A B C…, so that a busy moment of the machine hits them alike, and what
//! is compared is each round's figure with the same round's of direct connections. Servers and what is before them are
//! pinned to one core, clients to another, ahead of what else the machine runs; each peer has two network namespaces of
//! its own, with a cable between them. Nothing is installed: a peer whose program is missing is left out, and named.

mod core;
mod figures;
mod interrupt;
mod load;
mod machine;
mod measure;
mod nothing;
mod peer;
mod place;
mod programs;
mod report;
mod results;
mod rounds;
mod server;
mod suite;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::gettid;

use self::core::PacketThreads;
use self::interrupt::Interrupt;
use self::machine::Machine;
use self::place::Namespaces;
pub(crate) use self::report::check;
use self::results::Results;
use self::suite::Suite;
use crate::say::say;
use crate::test::build_wocut;
use crate::workspace::Workspace;

/// Compare wocut with everything else that could do its work, in one run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which suites to run; all of them if none is named
    suites: Vec<Suite>,
    /// Three short rounds, for a look
    #[arg(long)]
    quick: bool,
    /// Measure this wocut, instead of building one
    #[arg(long, value_name = "PROGRAM")]
    wocut: Option<PathBuf>,
    /// Write the results there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing: write docs/benchmarks.md, its plots and README's table from these results
    #[arg(long, value_name = "FILE", conflicts_with_all = ["suites", "quick", "wocut", "json"])]
    report: Option<PathBuf>,
}

/// What every suite is given.
struct Bench {
    wocut: PathBuf,
    /// For configuration files of peers; goes with the value.
    folder: PathBuf,
    quick: bool,
    interrupt: Interrupt,
}

impl Bench {
    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 9 }
    }

    /// How long one figure is measured, of what is given for a full run.
    fn window(&self, full: Duration) -> Duration {
        if self.quick { full / 4 } else { full }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _absent = fs::remove_dir_all(&self.folder);
    }
}

/// Runs the suites, as root, or writes the report.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if let Some(file) = &args.report {
        return report::write(workspace, file);
    }
    ensure!(rustix::process::geteuid().is_root(), "network namespaces take root");
    let interrupt = Interrupt::listen()?;
    let wocut = match &args.wocut {
        Some(program) => program.clone(),
        None => build_wocut(workspace)?,
    };
    Namespaces::sweep(&wocut)?;
    let bench = Bench { wocut, folder: folder()?, quick: args.quick, interrupt };
    let _raised = PacketThreads::raise()?;
    // This thread, so that commands and peers are too.
    core::first_in_line(gettid())?;
    let mut results = Results::new(Machine::here()?, args.quick);
    say(&results.machine);
    let chosen = if args.suites.is_empty() { Suite::all() } else { args.suites.clone() };
    for suite in chosen {
        let started = Instant::now();
        say(format_args!("\n{suite}: {}", suite.what()));
        let measured = suite.run(&bench).with_context(|| format!("measure {suite}"))?;
        table::print(&measured);
        say(format_args!("({} s)", started.elapsed().as_secs()));
        results.suites.push(measured);
        // After each suite, so that an interrupted run leaves those that were complete.
        if let Some(file) = &args.json {
            write(&results, file)?;
        }
    }
    let notes = results.suites.iter().flat_map(|measured| &measured.notes);
    let ours: Vec<&str> = notes.filter(|note| note.starts_with("wocut")).map(String::as_str).collect();
    ensure!(ours.is_empty(), "{}", ours.join("\n"));
    Ok(())
}

fn folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("wocut-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn write(results: &Results, file: &Path) -> Result<()> {
    fs::write(file, results.json()?).with_context(|| format!("write {}", file.display()))
}
