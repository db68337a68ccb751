//! `cargo xtask test`: every test, including those that need root, network namespaces and real daemons.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt::{self, Program};
use crate::command;
use crate::dist::{self, deb};
use crate::say::say;
use crate::workspace::Workspace;

/// Run the unit tests and the integration tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests with one of these texts in their names
    filter: Vec<String>,
    /// Run the unit tests only: no root, nothing to install
    #[arg(long)]
    unit: bool,
}

/// What the integration tests run.
pub(crate) const PROGRAMS: &[Program] = &[
    Program::new("ip", "iproute2", "network namespaces and links"),
    Program::new("ss", "iproute2", "looks at sockets"),
    Program::new("nsenter", "util-linux", "runs a program inside a namespace"),
    Program::new("setpriv", "util-linux", "takes capabilities away"),
    Program::new("capsh", "libcap2-bin", "shows capabilities"),
    Program::new("iptables", "iptables", "the iptables engine, both flavours"),
    Program::new("nft", "nftables", "rules of others, in conflict with a service"),
    Program::new("tc", "iproute2", "filters of others"),
    Program::new("conntrack", "conntrack", "looks at and deletes connection tracking entries"),
    Program::new("bpftool", "bpftool", "looks at programs and maps, as users do"),
    Program::new("python3", "python3", "instances that misbehave in a chosen way"),
    Program::new("curl", "curl", "an HTTP client"),
    Program::new("wrk", "wrk", "HTTP clients in great number"),
    Program::new("socat", "socat", "UDP, and odd sockets"),
    Program::new("openssl", "openssl", "TLS instances and clients"),
    Program::new("nginx", "nginx-light", "a daemon that reloads and uses SO_REUSEPORT"),
    Program::new("ethtool", "ethtool", "network cards that sum up and cut packets, or do not"),
    Program::new("openvpn", "openvpn", "UDP servers of one thread, and clients that keep their session"),
    Program::new("dnsmasq", "dnsmasq-base", "DNS servers"),
    Program::new("node", "nodejs", "servers of one thread"),
    Program::new("go", "golang-go", "servers that listen with MPTCP"),
    Program::new("tmux", "tmux", "a terminal for `wocut top`"),
    Program::new("zsh", "zsh", "a shell that completes"),
    Program::new("fish", "fish", "another one"),
    Program::new("promtool", "prometheus", "looks at metrics and alerts as Prometheus does"),
    Program::new("chromium", "chromium", "a browser, for the page of `wocut serve`"),
    Program::new("dpkg", "dpkg", "installs wocut's package"),
    Program::new("buildah", "buildah", "builds an image for containers, and starts one"),
    Program::new("crun", "crun", "what it starts them with"),
    Program::new("systemd-analyze", "systemd", "reads units as systemd does"),
    Program::new("haproxy", "haproxy", "a daemon to balance, and one to compare with"),
    Program::new("useradd", "passwd", "a user for what documentation has users do"),
    Program::new("pkill", "procps", "ends daemons, as documentation does"),
    Program::new("tcpdump", "tcpdump", "shows packets, as documentation does"),
    Program::new("gunicorn", "gunicorn", "Python applications"),
    Program::new("pgbouncer", "pgbouncer", "pools of connections, of one thread"),
    Program::new("pg_ctlcluster", "postgresql", "a database behind them"),
    Program::new("psql", "postgresql-client", "its clients"),
    Program::new("redis-server", "redis-server", "servers of one thread"),
    Program::new("redis-cli", "redis-tools", "their clients"),
    Program::new("stunnel4", "stunnel4", "TLS in front of servers"),
    Program::new("dig", "bind9-dnsutils", "DNS clients"),
];

/// Variables that a test looks at; sudo hands none on.
pub(crate) const HANDED_ON: [&str; 5] = ["CI", "PATH", "RUST_BACKTRACE", "RUST_LOG", "WOCUT_PICTURES"];

/// Tests with this in their names install the package.
const OF_PACKAGE: &str = "package";
/// Tests with this in their names build an image of the static build, which there is for one kind of machine.
const OF_CONTAINER: &str = "container";

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    unit(workspace, args)?;
    if args.unit {
        return Ok(());
    }
    apt::ensure(workspace, PROGRAMS)?;
    let (wocut, tests) = (build_wocut(workspace)?, build_tests(workspace)?);
    let package = args.asks_for(OF_PACKAGE).then(|| {
        deb::build(workspace, &wocut, &workspace.target.join("debian"), deb::Effort::Fast)
            .context("make the package")
    });
    let package = package.transpose()?;
    let context = (args.asks_for(OF_CONTAINER) && cfg!(target_arch = "x86_64"))
        .then(|| workspace.target.join("container"));
    // It takes one exact Rust and packages of Debian: all other tests go without.
    let context = context.filter(|context| match dist::context(workspace, context) {
        Ok(()) => true,
        Err(error) => {
            say(format_args!("no image of a container is tested: {error:#}"));
            false
        }
    });
    let made = [("WOCUT_DEB", package), ("WOCUT_CONTEXT", context)];
    let made = made.into_iter().filter_map(|(name, path)| Some(assignment(name, path?.as_os_str())));
    integration(workspace, args, &wocut, &tests, made).context("run the integration tests")?;
    if args.asks_for("bench") {
        bench(workspace, &wocut).context("measure for a moment")?;
    }
    Ok(())
}

impl Args {
    fn asks_for(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|filter| filter.contains(name))
    }
}

/// Builds the command that the integration tests run.
pub(crate) fn build_wocut(workspace: &Workspace) -> Result<PathBuf> {
    workspace.program(&["build", "--locked", "--release", "-p", "wocut"], "wocut")
}

/// Builds the integration tests, one program.
pub(crate) fn build_tests(workspace: &Workspace) -> Result<PathBuf> {
    workspace.program(&["test", "--locked", "-p", "wocut-tests", "--test", "it", "--no-run"], "it")
}

fn unit(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace"]);
    cargo.args(["--exclude=wocut-ebpf", "--exclude=wocut-tests", "--"]).args(&args.filter);
    command::run(&mut cargo)
}

/// Runs the test program itself, as cargo would, because cargo under sudo would leave root's files in the checkout.
fn integration(
    workspace: &Workspace,
    args: &Args,
    wocut: &Path,
    tests: &Path,
    made: impl Iterator<Item = OsString>,
) -> Result<()> {
    let mut command = apt::as_root("env")?;
    for name in HANDED_ON {
        command.args(env::var_os(name).map(|value| assignment(name, &value)));
    }
    command.arg(assignment("WOCUT_BIN", wocut.as_os_str()));
    command.args(made);
    command.arg(tests).arg("--test-threads=1").args(&args.filter);
    command::run(command.current_dir(workspace.root.join("tests")))
}

/// Whether every path of wocut's own can still be measured; what the figures are is not looked at.
fn bench(workspace: &Workspace, wocut: &Path) -> Result<()> {
    let mut command = apt::as_root("env")?;
    for name in HANDED_ON {
        command.args(env::var_os(name).map(|value| assignment(name, &value)));
    }
    command.arg(assignment("CARGO_MANIFEST_DIR", workspace.root.join("xtask").as_os_str()));
    command.arg(env::current_exe().context("find this program")?);
    command.args(["bench", "connect", "--quick", "--wocut"]).arg(wocut);
    command::run(&mut command)
}

fn assignment(name: &str, value: &OsStr) -> OsString {
    [OsStr::new(name), OsStr::new("="), value].into_iter().collect()
}
