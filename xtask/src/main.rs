//! `cargo xtask`: what the project does besides compiling, one file a subcommand.

mod apt;
mod bench;
mod build;
mod cargo_tool;
mod check;
mod check_ebpf;
mod command;
mod debian;
mod demo;
mod deny;
mod dist;
mod ebpf;
mod lan;
mod rust_src;
mod say;
mod strip;
mod sysroot;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about, version)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Build(build::Args),
    /// Check format, lints and the checked-in eBPF object, as CI does before it runs a test
    Check,
    CheckEbpf(check_ebpf::Args),
    Test(test::Args),
    Vm(vm::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Dist(dist::Args),
    Deny(deny::Args),
}

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Build(args) => build::run(&workspace, &args),
        Task::Check => check::run(&workspace),
        Task::CheckEbpf(args) => check_ebpf::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::Vm(args) => vm::run(&workspace, &args),
        Task::Demo(args) => demo::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Dist(args) => dist::run(&workspace, &args),
        Task::Deny(args) => deny::run(&workspace, &args),
    }
}
