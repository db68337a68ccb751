//! `cargo xtask vm`: the integration tests on kernels of other Debian releases, in virtual machines.
//!
//! A machine has no disk and no network. Its whole system is the archive that the kernel unpacks into memory when it
//! starts: the programs of this machine ([`system`]), the kernel's modules ([`kernel`]), wocut and its tests
//! ([`guest`]); with `--debian`, a bare Debian ([`bare`]). So it takes no root, and leaves nothing behind.

mod accel;
mod bare;
mod cpio;
mod guest;
mod kernel;
mod memory;
mod qemu;
mod quick;
mod system;

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt::{self, Program};
use crate::dist::musl;
use crate::say::say;
use crate::test;
use crate::workspace::Workspace;

use accel::Accel;
use cpio::Archive;
use guest::Job;
use kernel::Kernel;
use memory::Memory;
use qemu::Machine;

/// Run the integration tests on other kernels, in virtual machines.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernels to run on [default: 5.10 newest; with --debian: 6.1]
    #[arg(value_enum)]
    kernels: Vec<Kernel>,
    /// Install the package on a bare Debian of that kernel's release instead, and try what systemd does with it
    #[arg(long, conflicts_with_all = ["quick", "run", "is_static", "with"])]
    debian: bool,
    /// Run the few tests that say most about a kernel
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Run a shell command instead of the tests
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["quick", "filter"])]
    run: Option<String>,
    /// Take this wocut (with --debian: this package), and build none
    #[arg(long, value_name = "FILE")]
    wocut: Option<PathBuf>,
    /// Take the static build of a release
    #[arg(long = "static", conflicts_with = "wocut")]
    is_static: bool,
    /// Put this file into the machine too, in the folder that wocut is in
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// End a machine that runs for longer than this
    #[arg(long, value_name = "MINUTES", default_value_t = 120)]
    limit: u64,
    /// What the test program is to run: texts in the names of tests, or options of its own. With --debian: checks of
    /// tests/debian, by their names
    #[arg(last = true)]
    filter: Vec<String>,
}

impl Args {
    fn kernels(&self) -> &[Kernel] {
        match (self.kernels.as_slice(), self.debian) {
            ([], true) => &[Kernel::V6_1],
            ([], false) => &[Kernel::V5_10, Kernel::Newest],
            (named, _) => named,
        }
    }

    fn task(&self, workspace: &Workspace) -> Result<Task> {
        let given = self.wocut.clone();
        if self.debian {
            ensure!(
                !self.kernels.contains(&Kernel::V5_10),
                "the package takes a newer C library than Debian of 5.10 has"
            );
            apt::ensure(workspace, bare::HOST)?;
            return given
                .map_or_else(|| bare::package(workspace), Ok)
                .map(|package| Task::Bare(package, self.filter.clone()));
        }
        apt::ensure(workspace, test::PROGRAMS)?;
        let build = if self.is_static { musl::build } else { test::build_wocut };
        let wocut = given.map_or_else(|| build(workspace), Ok)?;
        let mut job = match &self.run {
            Some(command) => Job::command(command),
            None => self.tests(&test::build_tests(workspace)?)?,
        };
        job.add("wocut", &wocut);
        for file in &self.with {
            let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
            job.add(name, file);
        }
        Ok(Task::Here(job))
    }

    fn tests(&self, program: &Path) -> Result<Job> {
        let quick = self.quick.then(|| quick::arguments(program)).transpose()?;
        Ok(Job::tests(program, quick.as_deref().unwrap_or(&self.filter)))
    }
}

/// What a machine is for.
enum Task {
    /// A job among the programs of this machine.
    Here(Job),
    /// Checks of a package, on a bare Debian.
    Bare(PathBuf, Vec<String>),
}

/// What would fill the memory of a machine, and what only tests of packages take.
const LEFT_OUT: &[&str] = &[
    "buildah",
    "chromium",
    "crun",
    "dpkg",
    "fish",
    "go",
    "node",
    "promtool",
    "systemd-analyze",
    "zsh",
    // Of the documentation, no page of which is read there.
    "useradd",
    "pkill",
    "tcpdump",
    "gunicorn",
    "pgbouncer",
    "pg_ctlcluster",
    "psql",
    "redis-server",
    "redis-cli",
    "stunnel4",
    "dig",
];

/// What this needs here, besides what the tests need.
const HOST: &[Program] = &[
    Program::new("qemu-system-x86_64", "qemu-system-x86", "the machine"),
    Program::new("modprobe", "kmod", "finds and loads a kernel's modules"),
    Program::new("setpriv", "util-linux", "ends the machine with this program"),
];

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    apt::ensure(workspace, HOST)?;
    let task = args.task(workspace)?;
    let accel = Accel::best()?;
    let mut failed = Vec::new();
    for &kernel in args.kernels() {
        let start = Instant::now();
        let outcome = boot(workspace, kernel, accel, &task, Duration::from_secs(60 * args.limit));
        let seconds = start.elapsed().as_secs();
        match outcome {
            Ok(()) => say(format_args!("kernel {kernel}: passed in {seconds} s")),
            Err(error) => {
                say(format_args!("kernel {kernel}: failed in {seconds} s: {error:#}"));
                failed.push(kernel.to_string());
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed on kernel {}", failed.join(", "));
    }
    Ok(())
}

fn boot(workspace: &Workspace, kernel: Kernel, accel: Accel, task: &Task, limit: Duration) -> Result<()> {
    let files = kernel.files(workspace)?;
    let system = Memory::new("system")?;
    let mut archive = Archive::new(BufWriter::new(system.file()));
    match task {
        Task::Here(job) => {
            let programs: Vec<_> =
                test::PROGRAMS.iter().filter(|program| !LEFT_OUT.contains(&program.name)).collect();
            system::write(&mut archive, &programs).context("copy this machine's programs")?;
            job.write(workspace, &mut archive).context("copy wocut and its tests")?;
        }
        Task::Bare(package, checks) => bare::write(workspace, kernel, package, checks, &mut archive)?,
    }
    files.write_modules(&mut archive).context("copy the kernel's modules")?;
    archive.finish().context("write the archive")?;
    Machine { accel: accel.options(kernel), kernel: &files.image, system: &system }.run(limit)
}
