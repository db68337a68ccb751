//! Hands every new connection on one service port to one of many local instances, in the kernel.
//!
//! In reading order:
//!
//! * [`model`]: what a user asks for, as types.
//! * [`plan`]: what a change makes of the wanted state, and the slot tables. Pure.
//! * [`engine`]: makes the kernel match, in eBPF or in iptables rules, and reads back what it counted.
//! * [`conflicts`]: what else on this host wants what a service is about to take.
//! * [`host`]: one command from lock to kernel and back; the state file.
//! * [`propose`]: from what files and clients want to one change.
//! * [`verb`]: what a command asks for, of this process or of the daemon; [`departure`]: who leaves when nobody is
//!   connected to it any more.
//! * [`health`]: whether an instance answers, and what its answers say of it.
//! * [`status`]: wanted state and what the kernel says of it, as one picture.
//! * [`doctor`]: what this host can run.
//! * [`cluster`]: a master that keeps N workers of one command.
//! * [`bugreport`]: all that a maintainer asks for, and nothing secret.
//! * [`config`]: files that say what is wanted, and the way back.
//! * [`deploy`]: starts instances, and ends them when nobody is connected to them any more.
//! * [`daemon`]: what `wocut serve` does, beside its API.
//! * [`api`]: the HTTP API of the daemon.
//! * [`metrics`]: figures for Prometheus.
//! * [`cli`]: one file a command; `printer` decides every byte written.
//! * [`error`]: exit codes and hints.
//! * [`sys`]: calls of the operating system.

pub mod api;
pub mod bugreport;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod conflicts;
pub mod daemon;
pub mod departure;
pub mod deploy;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod health;
pub mod host;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod propose;
pub mod status;
pub mod sys;
pub mod verb;
