//! `cargo xtask demo`: wocut at work on two network namespaces and four real web servers.

mod chart;
mod client;
mod stage;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::client::Tally;
use self::stage::{SERVICE, Stage};
use crate::apt::{self, Program};
use crate::command;
use crate::say::say;
use crate::workspace::Workspace;

const PROGRAMS: [Program; 4] = [
    Program::new("ip", "iproute2", "network namespaces"),
    Program::new("nsenter", "util-linux", "run a command in a network namespace"),
    Program::new("python3", "python3", "web servers"),
    Program::new("iptables", "iptables", "the second engine"),
];

/// Show wocut at work on four web servers, then take everything down
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show this wocut, instead of building one
    #[arg(long, value_name = "PROGRAM")]
    wocut: Option<PathBuf>,
}

/// Runs the demonstration, as root.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let build = || workspace.program(&["build", "--locked", "--package", "wocut"], "wocut");
    // Before sudo: cargo under it would leave root's files in the checkout.
    let wocut = args.wocut.clone().map_or_else(build, Ok)?;
    if !rustix::process::geteuid().is_root() {
        say("network namespaces take root: once more through sudo");
        let this = std::env::current_exe().context("find this program")?;
        let mut again = apt::as_root("env")?;
        again.args(kept_variables()).arg(this).args(["demo", "--wocut"]).arg(wocut);
        return command::run(&mut again);
    }
    apt::ensure(workspace, &PROGRAMS)?;

    let mut stage = Stage::set(wocut)?;
    say("\nfour web servers on ports 8001 to 8004, one service on port 80:");
    stage.wocut(&["attach", "web", "80/tcp", "to", "8001", "8002", "8003", "8004"])?;
    say("\n4,000 connections from the other namespace:");
    chart::print(&spread(&stage, 4000)?);
    stage.wocut(&["stats", "web"])?;

    say("\nunder load, server 8002 is killed with kill -9:");
    let (tally, after) = kill_under_load(&mut stage)?;
    say(format_args!(
        "{} connections in the second after the kill, spread over the other three:",
        after.total()
    ));
    chart::print(&after);
    say(format_args!("connections refused or timed out, before and after: {}", tally.unconnected));
    say(format_args!("answers that were lost inside the killed server: {}", tally.unanswered));
    ensure!(tally.unconnected == 0, "{} connections failed", tally.unconnected);

    say("\n8002 is started again: listen(2) alone puts it back, no wocut runs:");
    stage.serve(8002)?;
    chart::print(&spread(&stage, 1000)?);

    say("\n8004 is drained:");
    stage.wocut(&["drain", "web", "8004"])?;
    chart::print(&spread(&stage, 1000)?);
    stage.wocut(&["status", "web"])?;

    say("\nthe same service on iptables rules:");
    stage.wocut(&["detach", "web"])?;
    stage
        .wocut(&["--engine", "iptables", "attach", "web", "80/tcp", "to", "8001", "8002", "8003", "8004"])?;
    chart::print(&spread(&stage, 1000)?);
    stage.wocut(&["status", "web"])?;
    say("\ntaking everything down:");
    Ok(())
}

/// sudo hands no variables on, and cargo's own are needed to build.
fn kept_variables() -> Vec<String> {
    let kept =
        ["PATH", "HOME", "CARGO", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR"];
    kept.into_iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?))).collect()
}

/// Makes that many connections, one after the other in four threads.
fn spread(stage: &Stage, connections: u64) -> Result<Tally> {
    let left = AtomicU64::new(connections);
    let more = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
    let tally = clients(stage, &more)?;
    ensure!(
        tally.unconnected + tally.unanswered == 0,
        "{} of {connections} connections failed",
        tally.failed()
    );
    Ok(tally)
}

fn clients(stage: &Stage, more: &(dyn Fn() -> bool + Sync)) -> Result<Tally> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| client::run(stage.client(), SERVICE, more))).collect();
        let mut sum = Tally::default();
        for thread in threads {
            sum.add(&thread.join().ok().context("a client thread ended early")??);
        }
        Ok(sum)
    })
}

/// What all clients saw, and what those saw that started after the kill.
fn kill_under_load(stage: &mut Stage) -> Result<(Tally, Tally)> {
    let going = AtomicBool::new(true);
    let mut server = stage.take(8002)?;
    let stage = &*stage;
    thread::scope(|scope| {
        let load = scope.spawn(|| clients(stage, &|| going.load(Ordering::Relaxed)));
        let second = |since: Instant| move || since.elapsed() < Duration::from_secs(1);
        let before = clients(stage, &second(Instant::now()));
        let killed = server.kill().context("kill server 8002").and_then(|()| Ok(server.wait()?));
        let after = clients(stage, &second(Instant::now()));
        going.store(false, Ordering::Relaxed);
        let mut sum = load.join().ok().context("the load ended early")??;
        killed?;
        let after = after?;
        sum.add(&before?);
        sum.add(&after);
        Ok((sum, after))
    })
}
